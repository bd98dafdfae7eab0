"""What commands that use a model have in common: the model of a certain kind, and the texts to use it on."""

import sys
from collections.abc import Mapping, Sequence
from typing import Any

from trifold.cli.option import READING, Option, Request
from trifold.errors import UsageError

__all__ = [
    "INPUT",
    "PRECISION",
    "TEXTS",
    "given_rows",
    "place_given",
    "reading_of",
    "require_task",
    "row_options",
    "text_in",
    "trained_columns",
    "tuned_for",
]

TEXTS = Option(name="text", positional=True, many=True, help="option_texts")
INPUT = (Option(name="input", help="option_input"), *READING)
PRECISION = Option(name="precision", choices=("float32", "bfloat16", "int8"), default="float32")


def given_rows(request: Request, texts: Sequence[str], *, keep_blank: bool = False) -> list[Any]:
    """The texts of the command line and the rows of `--input`; standard input for `-`, or where there are neither.

    Raises:
        UsageError: there are neither, and standard input is a terminal, where nothing would come.
        DataError: the file is missing or damaged.
    """
    from trifold.data.rows import Row, read_rows

    file, options = request.values.input, row_options(request, keep_blank=keep_blank)
    if list(texts) == ["-"] or (not texts and file is None):
        if not texts and sys.stdin.isatty():
            raise UsageError("cli.no_texts")
        return list(read_rows("-", options))
    return [*(Row({"text": text}, f"#{number}") for number, text in enumerate(texts, 1)),
            *(read_rows(file, options) if file is not None else [])]  # fmt: skip


def reading_of(request: Request) -> Any:
    """How a command is to read records: by its options, and by settings such as `data.columns.text=body`.

    Raises:
        ConfigError: there is no such setting.
    """
    from trifold.config import from_json, override
    from trifold.tasks.experiment import Reading

    values = request.values
    given = {name: getattr(values, name) for name in ("on_error", "encoding") if getattr(values, name) is not None}
    begun = from_json(Reading, {**request.sections.get("data", {}), **given}, where="data")
    return override(begun, {name.partition(".")[2]: value for name, value in request.overrides.items()}, where="data")


def row_options(request: Request, *, keep_blank: bool = False) -> Any:
    """How a command is to read files with records."""
    from trifold.data import SourceOptions

    reading = reading_of(request)
    return SourceOptions(on_error=reading.on_error, encoding=reading.encoding, keep_blank=keep_blank)


def text_in(row: Any, role: Any, columns: Mapping[str, str] | None = None) -> str:
    """A text of the command line, or what stands in the column that usually plays the role; nothing in a blank row.

    Raises:
        DataError: the file has no such column; says which there are.
    """
    from trifold.tasks.record import Role, find_columns, optional_text

    wanted = Role(role.name, ("text", *role.names))
    return optional_text(row, find_columns([wanted], list(row.values), columns or {}, row.origin)[role.name])


def trained_columns(tuned: Any) -> dict[str, list[str]]:
    """The columns that the model was trained with, by role: as they were asked for, then as they were found."""
    from trifold.evaluation.language_model import describe_run

    known = describe_run(tuned.folder) if (tuned.folder / "trifold.json").is_file() else {}
    asked = known.get("experiment", {}).get("data", {}).get("columns", {})
    read = [asked, *(file["columns"] for file in known.get("account", {}).get("files", {}).values())]
    found: dict[str, list[str]] = {}
    for columns in read:
        for role, column in columns.items():
            found.setdefault(role, []).append(column)
    return found


def place_given(
    tuned: Any, rows: Sequence[Any], columns: Mapping[str, str], *, labelled: bool = True, account: Any = None
) -> list[Any]:
    """Rows with the columns of their files: those that were named, else those of training, else those with usual names.

    Lines of plain text play the first role.

    Raises:
        DataError: a column is missing.
    """
    from trifold.tasks.record import check_roles, choose_column, file_of, place_rows

    check_roles(tuned.task.roles, columns)
    roles = [role for role in tuned.task.roles if labelled or not role.label]
    trained, files = trained_columns(tuned), {}
    for row in rows:
        files.setdefault(file_of(row), []).append(row)
    placed = {}
    for part in files.values():
        header = {name for row in part for name in row.values}
        fitting = {role: next(filter(None, (choose_column(one, header) for one in some if one)), None)
                   for role, some in trained.items()}  # fmt: skip
        given = {role: column for role, column in fitting.items() if column is not None} | dict(columns)
        if header == {"text"} and not labelled and not columns:
            given = {roles[0].name: "text"}
        for one in place_rows(part, roles, given, labelled=labelled, account=account):
            placed[id(one[0])] = one
    return [placed[id(row)] for row in rows]


def tuned_for(folder: str, *kinds: str, precision: Any = "float32") -> Any:
    """The fine-tuned model in a folder, with weights of that precision.

    Raises:
        UsageError: it was fine-tuned for another task.
        ModelFileError: there is none.
    """
    from trifold.generation import lower_precision
    from trifold.native import keep_memory
    from trifold.tasks import load_fine_tuned

    keep_memory()
    tuned = load_fine_tuned(folder)
    require_task(tuned, folder, *kinds)
    lower_precision(tuned.model, precision)
    return tuned


def require_task(tuned: Any, folder: str, *kinds: str) -> None:
    """Refuse a model that was fine-tuned for another task.

    Raises:
        UsageError: its task is none of `kinds`.
    """
    kind = tuned.task.config.kind
    if kind not in kinds:
        raise UsageError("cli.other_task", path=folder, given=kind, wanted=", ".join(kinds))

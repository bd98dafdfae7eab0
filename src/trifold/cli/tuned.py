"""What commands that use a model have in common: the model of a certain kind, and the texts to use it on."""

import sys
from collections.abc import Sequence
from typing import Any

from trifold.cli.option import READING, Option, Request
from trifold.errors import UsageError

__all__ = [
    "INPUT",
    "PRECISION",
    "TEXTS",
    "given_rows",
    "require_task",
    "row_options",
    "text_in",
    "trained_columns",
    "tuned_for",
    "unlabelled_records",
]

TEXTS = Option(name="text", positional=True, many=True, help="option_texts")
INPUT = (Option(name="input", help="option_input"), *READING)
PRECISION = Option(name="precision", choices=("float32", "bfloat16", "int8"), default="float32")


def given_rows(request: Request, texts: Sequence[str]) -> list[Any]:
    """The texts of the command line and the rows of `--input`; standard input for `-`, or where there are neither.

    Raises:
        UsageError: there are neither, and standard input is a terminal, where nothing would come.
        DataError: the file is missing or damaged.
    """
    from trifold.data.rows import Row, read_rows

    file = request.values.input
    if list(texts) == ["-"] or (not texts and file is None):
        if not texts and sys.stdin.isatty():
            raise UsageError("cli.no_texts")
        return list(read_rows("-", row_options(request)))
    return [*(Row({"text": text}, f"#{number}") for number, text in enumerate(texts, 1)),
            *(read_rows(file, row_options(request)) if file is not None else [])]  # fmt: skip


def row_options(request: Request) -> Any:
    """How a command is to read files with records."""
    from trifold.data import SourceOptions

    values = request.values
    return SourceOptions(on_error=values.on_error or "strict", encoding=values.encoding or "utf-8")


def text_in(row: Any, role: Any) -> str:
    """A text of the command line, or what stands in the column that usually plays the role.

    Raises:
        DataError: the file has no such column; says which there are.
    """
    from trifold.tasks.record import Role, find_columns, text_of

    wanted = Role(role.name, ("text", *role.names))
    return text_of(row, find_columns([wanted], list(row.values), {}, row.origin)[role.name])


def unlabelled_records(tuned: Any, rows: Sequence[Any]) -> list[Any]:
    """Records without labels, with columns found as in training; plain texts, which come first, are the first role."""
    from trifold.tasks.record import make_records, place_rows

    roles = [role for role in tuned.task.roles if not role.label]
    plain = sum(set(row.values) == {"text"} for row in rows)
    described = (tuned.folder / "trifold.json").is_file()  # a model may have been given away without it
    known = trained_columns(tuned, rows[plain:]) if described else {}
    parts = ((rows[:plain], {roles[0].name: "text"}), (rows[plain:], known))
    return [one for part, given in parts if part
            for one in make_records(place_rows(part, roles, given, labelled=False), tuned.task.record)]  # fmt: skip


def trained_columns(tuned: Any, rows: Sequence[Any]) -> dict[str, str]:
    """The columns, by role, that the model was trained with, as far as these rows have them."""
    from trifold.evaluation.language_model import describe_run
    from trifold.tasks.record import choose_column

    trained = describe_run(tuned.folder).get("experiment", {}).get("data", {}).get("columns", {})
    header = set(rows[0].values) if rows else set()
    chosen = {role: choose_column(column, header) for role, column in trained.items()}
    return {role: column for role, column in chosen.items() if column is not None}


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

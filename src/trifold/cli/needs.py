"""What a command that trains needs before it begins, looked at together, so that all that is missing is said at once."""

import os
from argparse import Namespace
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from trifold.cli.option import Request
from trifold.errors import ModelFileError, TrifoldError, UsageError
from trifold.locale import message

__all__ = ["missing_files", "missing_folder", "missing_options", "missing_out", "with_out"]

RUNS = Path("runs")


def missing_options(request: Request, command: str, names: Iterable[str]) -> Iterator[TrifoldError]:
    """Those of the options or arguments that are not given, as one error."""
    fields = {name: name.lstrip("-").replace("-", "_") for name in names}
    open_fields = {name: field for name, field in fields.items() if field not in request.given}  # else it is refused
    missing = [name for name, field in open_fields.items() if getattr(request.values, field) in (None, [])]
    if missing:
        yield UsageError("cli.missing_option", missing=", ".join(missing), command=command)


def missing_files(files: Iterable[str | None]) -> Iterator[TrifoldError]:
    """Files, folders or data sets of a hub that are not to be had here; a hub is not asked."""
    from trifold.data.rows import require_there

    for file in dict.fromkeys(files):
        try:
            require_there(file or "-")
        except TrifoldError as error:
            yield error


def missing_folder(name: str | None, presets: Sequence[str] = ()) -> Iterator[TrifoldError]:
    """The folder of a model that is neither here nor can be on a hub."""
    from trifold.hub import is_hub_name, nearest_folder

    if name is not None and name not in presets and not Path(name).is_dir() and not is_hub_name(name):
        yield ModelFileError("checkpoint.no_folder", path=name, nearest=nearest_folder(name))


def missing_out(request: Request, command: str) -> Iterator[TrifoldError]:
    """The folder of a run, where it cannot be chosen: one that goes on, or that several processes have to agree on."""
    if getattr(request.values, "resume", False) or "RANK" in os.environ:
        yield from missing_options(request, command, ["--out"])


def with_out(request: Request, name: str) -> Request:
    """The request with the folder of its run: as it is given, else one under `runs/` that is not there yet, which is said.

    Args:
        request: what the user asked.
        name: of the data or the task, after which the folder is called; of a path, its last part without endings.
    """
    if request.values.out is not None:
        return request
    plain = Path(name).name.split(".")[0].split(":")[0] or "run"
    names = (plain if number == 1 else f"{plain}-{number}" for number in range(1, 10**6))
    out = next(RUNS / name for name in names if not (RUNS / name).exists())
    request.console.note(message("cli.out_chosen", path=out))
    values = Namespace(**{**vars(request.values), "out": str(out)})
    return replace(request, values=values, words=(*request.words, "--out", str(out)))

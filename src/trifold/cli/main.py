"""The front end of `trifold`: finds the command, runs it, and turns every failure into one line and an exit code."""

import errno
import os
import sys
import warnings

from trifold.cli import (
    chat,
    compare,
    configuration,
    convert,
    demo,
    doctor,
    environment,
    evaluate,
    fill_mask,
    finetune,
    generate,
    index,
    plan,
    pretrain,
    report,
    restore,
    search,
    tokenizer,
    use,
    version,
)
from trifold.cli.console import Console
from trifold.cli.help import command_help, overview
from trifold.cli.option import Command
from trifold.cli.parse import find_command, parse_to_run, wants
from trifold.errors import PreemptedError, StorageError, TrifoldError
from trifold.locale import message, on_command_line

__all__ = ["COMMANDS", "GROUPS", "main"]

GROUPS: dict[str, tuple[Command, ...]] = {
    "train": (
        demo.COMMAND,
        tokenizer.TRAIN,
        tokenizer.REPORT,
        plan.COMMAND,
        plan.TUNING,
        pretrain.COMMAND,
        finetune.COMMAND,
        search.SWEEP,
        search.FAMILIES,
    ),
    "use": (
        generate.COMMAND,
        chat.COMMAND,
        fill_mask.COMMAND,
        restore.COMMAND,
        use.CLASSIFY,
        use.TRANSLATE,
        use.ASK,
    ),
    "knowledge": (index.BUILD, index.ADD, index.SEARCH),
    "judge": (evaluate.COMMAND, compare.COMMAND, report.COMMAND),
    "keep": (
        convert.COMMAND,
        doctor.DOCTOR,
        doctor.DRILL,
        configuration.COMMAND,
        environment.COMMAND,
        version.COMMAND,
    ),
}
"""As `trifold --help` shows them, each group under its heading in the catalogue."""
COMMANDS = tuple(command for group in GROUPS.values() for command in group)

DISK = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO, errno.EFBIG})
INTERRUPTED, CLOSED_PIPE = 130, 141


def main(words: list[str] | None = None) -> int:
    """Run one command line.

    Args:
        words: the arguments, those of the process when not given.

    Returns:
        The exit code: 0 done, 2 usage, 3 data, 4 model file, 5 disk, 6 training became NaN or infinite, 7 one of
        several processes is gone, 1 anything else, 75 stopped by a signal and saved, 130 interrupted.

    Example:
        >>> main(["version"])  # doctest: +ELLIPSIS
        trifold ...
        0
    """
    whole_process, words = words is None, sys.argv[1:] if words is None else words
    console = Console(as_json=wants(words, "--json"), follows=os.environ.get("RANK", "0") != "0")
    if whole_process:
        warnings.showwarning = lambda text, *_, **__: console.warn(str(text))
    with on_command_line():
        return _run(words, console)


def _run(words: list[str], console: Console) -> int:
    debug = wants(words, "--debug")
    try:
        return _dispatch(words, console)
    except BrokenPipeError:
        # The reader went away (`trifold ... | head`): nothing more can be said there, and flushing at exit must not fail.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return CLOSED_PIPE
    except KeyboardInterrupt:
        console.note(message("cli.interrupted"))
        return INTERRUPTED
    except Exception as error:  # noqa: BLE001 - the outermost edge: a person gets one line, not a traceback
        if debug:
            import traceback

            traceback.print_exc(file=console.err)
        return _explain(error, console)


def _dispatch(words: list[str], console: Console) -> int:
    if not words or words[0] in ("--help", "-h", "help"):
        console.say(overview(GROUPS))
        return 0 if words else 2
    if words[0] == "--version":
        words = ["version", *words[1:]]
    command, rest = find_command(words, COMMANDS)
    if wants(rest, "--help") or wants(rest, "-h"):
        console.say(command_help(command))
        return 0
    request = parse_to_run(command, rest, console)
    console.as_json = console.as_json or request.values.json
    console.result(command.run(request))
    return 0


def _explain(error: Exception, console: Console) -> int:
    """Write one line about a failure and give its exit code."""
    if isinstance(error, PreemptedError) and not error.told:
        console.note(str(error))  # it was asked for, and nothing is lost
        return error.exit_code
    if isinstance(error, TrifoldError):
        if not error.told:
            console.fail(str(error), error.code)
        return error.exit_code
    if isinstance(error, OSError):
        return _explain_system(error, console)
    if isinstance(error, MemoryError):
        console.fail(message("cli.out_of_memory"), "cli.out_of_memory")
        return 2
    given = f"{type(error).__name__}: {error}"
    console.fail(message("cli.unexpected", problem=given.splitlines()[0]), "cli.unexpected")
    return 1


def _explain_system(error: OSError, console: Console) -> int:
    name = error.filename or ""
    if error.errno in DISK:
        console.fail(message("cli.disk", path=name, problem=error.strerror), "cli.disk")
        return StorageError.exit_code
    if isinstance(error, FileNotFoundError | IsADirectoryError | NotADirectoryError | PermissionError):
        console.fail(message("cli.file", path=name, problem=error.strerror), "cli.file")
        return 3
    console.fail(message("cli.system", path=name, problem=error.strerror or error), "cli.system")
    return 1


if __name__ == "__main__":
    sys.exit(main())

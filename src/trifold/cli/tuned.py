"""Opening a fine-tuned model for a command that needs one of a certain kind."""

from typing import Any

from trifold.errors import UsageError

__all__ = ["require_task", "tuned_for"]


def tuned_for(folder: str, *kinds: str) -> Any:
    """The fine-tuned model in a folder.

    Raises:
        UsageError: it was fine-tuned for another task.
        ModelFileError: there is none.
    """
    from trifold.tasks import load_fine_tuned

    tuned = load_fine_tuned(folder)
    require_task(tuned, folder, *kinds)
    return tuned


def require_task(tuned: Any, folder: str, *kinds: str) -> None:
    """Refuse a model that was fine-tuned for another task.

    Raises:
        UsageError: its task is none of `kinds`.
    """
    kind = tuned.task.config.kind
    if kind not in kinds:
        raise UsageError("cli.other_task", path=folder, given=kind, wanted=", ".join(kinds))

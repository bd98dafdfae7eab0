"""`trifold version`."""

from typing import Any

from trifold.cli.option import Command, Request

__all__ = ["COMMAND"]


def run(request: Request) -> dict[str, Any]:
    """Show it."""
    from trifold import __version__

    request.console.say(f"trifold {__version__}")
    return {"version": __version__}


COMMAND = Command(name="version", options=(), run=run)

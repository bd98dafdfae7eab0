"""Where a command speaks: results on standard output, everything else on standard error."""

import io
import json
import math
import os
import sys
import time
from typing import IO, TYPE_CHECKING, Any, cast

from trifold.locale import message

if TYPE_CHECKING:
    from trifold.data import ReadReport

__all__ = ["Console", "Progress", "duration", "few_note", "say_read", "unknown_note", "warn_few", "warn_unknown"]

WORTH_SAYING = 1e-3
"""The part of unknown tokens from which on it is said: a tokenizer that suits its text knows all but a few."""
FEW_TOKENS = 5_000
"""Fewer tokens than this measure a loss to no better than a few hundredths."""


def duration(seconds: float) -> str:
    """A length of time in a short form.

    Example:
        >>> duration(4), duration(75), duration(7384)
        ('4 s', '1:15', '2:03:04')
    """
    whole = round(max(0.0, seconds))
    if whole < 60:
        return f"{whole} s"
    hours, rest = divmod(whole, 3600)
    return f"{hours}:{rest // 60:02}:{rest % 60:02}" if hours else f"{rest // 60}:{rest % 60:02}"


class Console:
    """The two streams of a command.

    Args:
        as_json: the result is one JSON document on standard output, and nothing else goes there.
        out: stream of results.
        err: stream of notes, progress and errors.
        follows: another process of the same run speaks for this one, which only warns and fails.
    """

    def __init__(
        self,
        *,
        as_json: bool = False,
        out: io.TextIOBase | None = None,
        err: io.TextIOBase | None = None,
        follows: bool = False,
    ) -> None:
        self.as_json, self.follows = as_json, follows
        self.out = sys.stdout if out is None else out
        self.err = sys.stderr if err is None else err

    @property
    def terminal(self) -> bool:
        """Whether notes go to a terminal that may be drawn on."""
        return not self.follows and self.err.isatty() and os.environ.get("TERM") != "dumb"

    @property
    def color(self) -> bool:
        """Whether notes may be coloured: a terminal, and `NO_COLOR` is not set."""
        return self.terminal and not os.environ.get("NO_COLOR")

    def say(self, text: str = "", *, end: str = "\n") -> None:
        """Write a piece of the result for a person; silent with `--json`."""
        if not self.as_json and not self.follows:
            print(text, end=end, file=self.out, flush=True)

    def note(self, text: str) -> None:
        """Write a remark beside the result."""
        print(text, file=self.err, flush=True)

    def warn(self, text: str) -> None:
        """Write a warning beside the result."""
        self.note(f"{self._paint('33', message('cli.warning'))} {text}")

    def fail(self, text: str, code: str) -> None:
        """Write the one line of a failure."""
        self.note(f"{self._paint('31', message('cli.error'))} {text} [{code}]")

    def result(self, data: dict[str, Any]) -> None:
        """Write the machine-readable result, where there is any; only with `--json`."""
        if self.as_json and not self.follows and data:
            text = json.dumps(_plain(data), ensure_ascii=False, indent=2, allow_nan=False)
            print(text, file=self.out, flush=True)

    def result_line(self, data: dict[str, Any]) -> None:
        """Write one of several machine-readable results in a line; only with `--json`."""
        if self.as_json and not self.follows:
            print(json.dumps(_plain(data), ensure_ascii=False, allow_nan=False), file=self.out, flush=True)

    def _paint(self, color: str, text: str) -> str:
        return f"\x1b[{color}m{text}\x1b[0m" if self.color else text


def _plain(value: Any) -> Any:
    """JSON data: NaN and infinity become null, paths and numpy numbers their plain form."""
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if value is None or isinstance(value, bool | int | str):
        return value
    return str(value)


class Progress:
    r"""A line that shows how far a piece of work is: a bar on a terminal, else a plain line every few seconds.

    Args:
        console: where to draw.
        title: what is being done.
        every: seconds between plain lines.

    Example:
        >>> import io
        >>> err = io.StringIO()
        >>> with Progress(Console(err=err), "train", every=0.0) as progress:
        ...     progress.update(0.5, "step 5")
        >>> err.getvalue()
        'train  50 %  step 5\n'
    """

    def __init__(self, console: Console, title: str, *, every: float = 10.0) -> None:
        self.console, self.title, self.every = console, title, every
        self.last = time.monotonic() - every / 2  # the first plain line comes early: a person wants to see it move
        self.bar: Any = None
        self.task: Any = None

    def __enter__(self) -> "Progress":
        if self.console.terminal:
            from rich.console import Console as RichConsole
            from rich.progress import BarColumn, Progress, TextColumn

            columns = (
                TextColumn("{task.description}", markup=False),
                BarColumn(bar_width=24),
                TextColumn("{task.percentage:>3.0f} %"),
                TextColumn("{task.fields[text]}", markup=False),
            )
            drawing = RichConsole(
                file=cast("IO[str]", self.console.err), no_color=not self.console.color, highlight=False
            )
            self.bar = Progress(*columns, console=drawing, transient=False)
            self.bar.start()
            self.task = self.bar.add_task(self.title, total=1.0, text="")
        return self

    def update(self, fraction: float, text: str) -> None:
        """Show that `fraction` (0 to 1) of the work is done, with `text` beside it."""
        fraction = min(1.0, max(0.0, fraction))
        if self.bar is not None:
            self.bar.update(self.task, completed=fraction, text=text)
            return
        now = time.monotonic()
        if now - self.last >= self.every:
            self.last = now
            self.console.note(f"{self.title} {fraction:4.0%}  {text}".replace("%", " %"))

    def note(self, text: str) -> None:
        """Write a line above the bar."""
        if self.bar is not None:
            self.bar.console.print(text, markup=False, highlight=False)
        else:
            self.console.note(text)

    def __exit__(self, *_: object) -> None:
        if self.bar is not None:
            self.bar.stop()


def unknown_note(share: float) -> str | None:
    """What is said of a text of which so many tokens are unknown; nothing up to one in a thousand.

    Example:
        >>> unknown_note(0.0005) is None
        True
    """
    return message("cli.unknown_tokens", share=f"{share:.1%}") if share > WORTH_SAYING else None


def warn_unknown(share: float, console: Console) -> None:
    """Say how much of a text the tokenizer does not know, where that is worth saying."""
    note = unknown_note(share)
    if note is not None:
        console.warn(note)


def few_note(tokens: float) -> str | None:
    """What is said where so few tokens are to judge by; nothing where they are enough, or none.

    Example:
        >>> few_note(100_000) is None
        True
    """
    return message("cli.few_tokens", count=f"{tokens:,.0f}") if 0 < tokens < FEW_TOKENS else None


def warn_few(tokens: float, console: Console) -> None:
    """Say that a figure on so few tokens says little, where that is so."""
    note = few_note(tokens)
    if note is not None:
        console.warn(note)


def say_read(report: "ReadReport", console: Console) -> None:
    """Say what was read of some files, as far as there is more to say than that all of it was."""
    for line in report.lines():
        console.note(line)

"""Chat templates: how a conversation becomes one text, in transformers' own way of saying it (jinja2)."""

import json
import select
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from weakref import finalize

from trifold.errors import ModelFileError

__all__ = ["DEFAULT", "NAMED", "PLAIN", "ChatTemplate", "Message", "Rendered"]

Message = Mapping[str, str]
"""`role` (system, user, assistant) and `content`."""

DEFAULT = (
    "{{ bos_token }}{% for message in messages %}{% if message.role == 'assistant' %}"
    "{{ '###\\n' + message.content }}{{ eos_token }}{% elif message.role == 'system' %}"
    "{{ '## ' + message.content + '\\n' }}{% else %}{{ '### ' + message.content + '\\n' }}{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}{{ '###\\n' }}{% endif %}"
)
"""For a model that has none: a heading for each turn, no token that the model does not know, an end after each answer."""

PLAIN = "{{ bos_token }}{% for message in messages %}{{ message.content }}{% if message.role == 'assistant' %}{{ eos_token }}{% endif %}{% endfor %}"  # noqa: E501
"""No marks at all: texts that are continued, or prompts that bring their own."""

CHATML = (
    "{% for message in messages %}{{ '<|im_start|>' + message.role + '\\n' + message.content + '<|im_end|>' + '\\n' }}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}"
)

NAMED = {"default": DEFAULT, "none": PLAIN, "chatml": CHATML}
"""Templates by name."""

TRUSTED = frozenset(NAMED.values())
"""Rendered in this process."""

TOGETHER, PATIENCE, LARGEST = 64, 60.0, 2**20
"""Conversations in one request, seconds to wait for an answer (a child that computes is ended sooner, by itself), and
characters of a template."""


@dataclass(frozen=True, slots=True)
class Rendered:
    """A conversation as one text.

    Attributes:
        text: the text.
        problem: what the template said instead; empty where it said nothing.

    Example:
        >>> Rendered("### hello").problem
        ''
    """

    text: str = ""
    problem: str = ""


class ChatTemplate:
    r"""A template with the special tokens that it may name.

    Templates of other people run in a process of their own, with limits on memory, time and output (see `sandbox`).

    Args:
        source: the template, in jinja2.
        tokens: what `bos_token`, `eos_token` and the like stand for.

    Raises:
        ModelFileError: it is larger than any template is.

    Example:
        >>> template = ChatTemplate(DEFAULT, {"bos_token": "<s>", "eos_token": "</s>"})
        >>> template.render([{"role": "user", "content": "hello"}], answer=True)
        '<s>### hello\n###\n'
    """

    def __init__(self, source: str, tokens: Mapping[str, str]) -> None:
        if len(source) > LARGEST:
            raise ModelFileError("text.template", problem=f"{len(source)} characters, at most {LARGEST}")
        self.source, self.tokens = source, dict(tokens)
        self._child = _Child()
        self._own: dict[tuple[str, str], Any] = {}

    def render(self, messages: Sequence[Message], *, answer: bool = False) -> str:
        """The text of one conversation; with `answer`, up to where the assistant is to speak.

        Raises:
            ModelFileError: the template refuses it, or goes beyond its limits.
        """
        (rendered,) = self.render_many([messages], answer=answer)
        if rendered.problem:
            raise ModelFileError("text.template", problem=rendered.problem)
        return rendered.text

    def render_many(
        self, conversations: Sequence[Sequence[Message]], *, answer: bool = False, marks: tuple[str, str] = ("", "")
    ) -> list[Rendered]:
        """The texts of many, each with the problem that it met; `marks` are put around a template's generation blocks."""
        fixed = {**self.tokens, "tools": None, "documents": None, "add_generation_prompt": answer}
        values = [{**fixed, "messages": [dict(message) for message in messages]} for messages in conversations]
        if self.source in TRUSTED:
            from trifold.text.sandbox import Renderer

            renderer = self._own.get(marks) or self._own.setdefault(marks, Renderer(self.source, marks))
            return [Rendered(renderer.render(variables)) for variables in values]
        batches = (values[start : start + TOGETHER] for start in range(0, len(values), TOGETHER))
        return [rendered for batch in batches for rendered in self._ask(batch, marks)]

    def _ask(self, values: list[dict[str, Any]], marks: tuple[str, str]) -> Iterator[Rendered]:
        """Ask the child; alone, one after another, where it does not survive all of them together."""
        answers = self._child.ask({"source": self.source, "marks": marks, "values": values})
        if answers is not None:
            yield from (Rendered(**answer) for answer in answers)
        elif len(values) == 1:
            yield Rendered(problem="it takes too much time or memory")
        else:
            for variables in values:
                yield from self._ask([variables], marks)


class _Child:
    """The process that renders, begun when it is first needed, and anew after it has died."""

    def __init__(self) -> None:
        self.process: subprocess.Popen[bytes] | None = None
        self._stop: Any = None

    def ask(self, request: Mapping[str, Any]) -> list[dict[str, str]] | None:
        """Its answers; None where it died or said nothing in time."""
        process = self.process or self._start()
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            process.stdin.write(json.dumps(request).encode() + b"\n")
            process.stdin.flush()
            ready = select.select([process.stdout], [], [], PATIENCE)[0]
            line = process.stdout.readline() if ready else b""
        except BrokenPipeError:
            line = b""
        if line.endswith(b"\n"):
            return json.loads(line)
        self._stop()
        self.process = None
        return None

    def _start(self) -> subprocess.Popen[bytes]:
        found = [find_spec(name) for name in ("jinja2", "markupsafe")]  # where this process has them from
        places = [str(Path(one.origin).parent.parent) for one in found if one is not None and one.origin]
        words = [sys.executable, "-I", str(Path(__file__).with_name("sandbox.py")), *dict.fromkeys(places)]
        self.process = subprocess.Popen(  # noqa: S603 - ours
            words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
        )
        self._stop = finalize(self, _end, self.process)
        return self.process


def _end(process: subprocess.Popen[bytes]) -> None:
    process.kill()
    process.wait()
    for stream in (process.stdin, process.stdout):
        if stream is not None:
            with suppress(BrokenPipeError):  # what could not be written is of no use any more
                stream.close()

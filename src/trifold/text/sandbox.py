"""Chat templates in jinja2's sandbox, as transformers renders them; also a program that does so in a process of its own.

A template that came with a model is a program of somebody else. The sandbox gives it no attribute of Python's own; what
it could still do is take time and memory, so it runs in a process whose memory, processor time and output are bounded and
that may open nothing.

    python -I sandbox.py    # one JSON request a line on standard input, one JSON answer a line on standard output
"""

import json
import sys
from collections.abc import Iterator, Mapping
from contextlib import suppress
from datetime import datetime
from typing import Any, TextIO

import jinja2
import jinja2.ext
from jinja2 import nodes
from jinja2.parser import Parser
from jinja2.sandbox import ImmutableSandboxedEnvironment
from jinja2.utils import Namespace

__all__ = ["Renderer"]

SECONDS = 0.5
"""Processor time for one conversation."""
MEMORY = 2**29
LONGEST = 2**22
"""Characters that a template may write beside what it was given."""


class Refused(jinja2.TemplateError):
    """What the template itself, or a limit, says no to."""


class Answers(jinja2.ext.Extension):
    """`{% generation %} ... {% endgeneration %}` marks what an assistant says."""

    tags = {"generation"}  # noqa: RUF012 - jinja's own way

    def parse(self, parser: Parser) -> nodes.CallBlock:
        """The block as a call that puts marks around what it writes."""
        line = next(parser.stream).lineno
        body = parser.parse_statements(("name:endgeneration",), drop_needle=True)
        block = nodes.CallBlock(self.call_method("_mark"), [], [], body)
        block.set_lineno(line)
        return block

    def _mark(self, caller: Any) -> str:
        begin, end = self.environment.globals["answer_marks"]  # type: ignore[misc]
        return f"{begin}{caller()}{end}"


class Names(Namespace):
    """A namespace without names that begin with an underscore."""

    def __init__(*args: Any, **values: Any) -> None:
        self, *rest = args
        attributes = dict(*rest, **values)
        for name in attributes:
            _require_plain(name)
        Namespace.__init__(self, attributes)

    def __setitem__(self, name: str, value: Any) -> None:
        _require_plain(name)
        Namespace.__setitem__(self, name, value)


def _require_plain(name: Any) -> None:
    if str(name).startswith("_"):
        raise Refused(f"the name {name!r}")


def _refuse(text: Any) -> None:
    raise Refused(str(text))


def _now(form: str) -> str:
    return datetime.now().strftime(form)  # noqa: DTZ005 - the user's own clock, as transformers has it


def _to_json(
    value: Any,
    ensure_ascii: bool = False,  # noqa: FBT002
    indent: int | None = None,
    separators: Any = None,
    sort_keys: bool = False,  # noqa: FBT002
) -> str:
    return json.dumps(value, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys)


def _mapping(*given: Any, **values: Any) -> dict[Any, Any]:
    return dict(*given, **values)


class Renderer:
    """Renders conversations by one template.

    Args:
        source: the template.
        marks: two characters put around what an assistant says; empty for none.

    Raises:
        jinja2.TemplateError: the template is no jinja.

    Example:
        >>> Renderer("{% for m in messages %}{{ m.role }}: {{ m.content }};{% endfor %}").render(
        ...     {"messages": [{"role": "user", "content": "hello"}]})
        'user: hello;'
    """

    def __init__(self, source: str, marks: tuple[str, str] = ("", "")) -> None:
        environment = ImmutableSandboxedEnvironment(
            trim_blocks=True, lstrip_blocks=True, extensions=[Answers, jinja2.ext.loopcontrols]
        )
        environment.filters["tojson"] = _to_json
        environment.globals |= {
            "raise_exception": _refuse,
            "strftime_now": _now,
            "dict": _mapping,
            "namespace": Names,
            "answer_marks": marks,
        }
        self.template = environment.from_string(source)

    def render(self, values: Mapping[str, Any]) -> str:
        """The text for these values.

        Raises:
            jinja2.TemplateError: the template refuses them, or writes too much.
        """
        room, chunks = LONGEST + 2 * len(str(values)), []
        for chunk in self.template.generate(**values):
            room -= len(chunk)
            if room < 0:
                raise Refused(f"more than {LONGEST} characters")
            chunks.append(chunk)
        return "".join(chunks)


Renderers = dict[tuple[str, tuple[str, str]], Renderer]


def _answer(renderers: Renderers, request: dict[str, Any]) -> Iterator[dict[str, str]]:
    """One answer for each set of values: the text, or what went wrong."""
    import signal

    def end_after(seconds: float) -> None:
        if hasattr(signal, "setitimer"):
            signal.setitimer(signal.ITIMER_PROF, seconds)

    for values in request["values"]:
        end_after(SECONDS)  # by a signal that ends the process, whatever that is busy with
        try:
            source, marks = request["source"], tuple(request["marks"])
            if (source, marks) not in renderers:
                renderers[source, marks] = Renderer(source, marks)
            yield {"text": renderers[source, marks].render(values)}
        except MemoryError:
            yield {"problem": "it takes too much memory"}
        except RecursionError:
            yield {"problem": "it is nested too deeply"}
        except Exception as error:  # noqa: BLE001 - a template can fail in every way
            line = f" (line {error.lineno})" if isinstance(error, jinja2.TemplateSyntaxError) else ""
            yield {"problem": f"{str(error)[:300] or type(error).__name__}{line}"}
        finally:
            end_after(0)


def _guard() -> None:
    """Give up everything that rendering does not need."""
    with suppress(ImportError):  # Windows has no limits: there the parent's patience is the only one
        _limit()

    def refuse(event: str, args: tuple[object, ...]) -> None:
        del args
        if event in ("open", "import") or event.startswith(
            ("socket.", "subprocess.", "os.", "shutil.", "ctypes.", "pty.")
        ):
            raise PermissionError(f"it tried {event}")

    _warm()
    sys.addaudithook(refuse)


def _limit() -> None:
    import resource

    for kind, limit in ((resource.RLIMIT_AS, MEMORY), (resource.RLIMIT_CORE, 0), (resource.RLIMIT_NOFILE, 16)):
        hard = resource.getrlimit(kind)[1]
        allowed = limit if hard == resource.RLIM_INFINITY else min(limit, hard)
        resource.setrlimit(kind, (allowed, allowed))


def _warm() -> None:
    """Use once what is imported when it is first used."""
    warm = Renderer("{{ strftime_now('%Y %B') }}{{ [1] | tojson }}{{ messages | length }}{{ raise_exception('x') }}")
    for source in ("{{ ''.__class__ }}", "{% include 'x' %}", "{{ x.y.z }}", "{{ 'a' | indent }}"):
        list(_answer({}, {"source": source, "marks": ["", ""], "values": [{}]}))
    with suppress(Refused):
        warm.render({"messages": []})


def main(requests: TextIO, answers: TextIO) -> None:
    """Answer requests until there are no more."""
    renderers: Renderers = {}
    for line in requests:
        answers.write(json.dumps(list(_answer(renderers, json.loads(line)))) + "\n")
        answers.flush()


if __name__ == "__main__":
    sys.path += [place for place in sys.argv[1:] if place not in sys.path]
    _guard()
    main(sys.stdin, sys.stdout)

"""Write the reference of the library, docs/api.md and docs/zh/api.md, from the docstrings of what `trifold` exports.

python scripts/api.py
"""

import ast
import dataclasses
import importlib
import inspect
import re
import textwrap
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import trifold

ROOT = Path(__file__).parents[1]
MODULES = ("errors", "objective", "presets", "tasks")
"""Exported modules, whose own names are listed with one line each."""
HEADINGS = {"Args": "参数", "Attributes": "属性", "Raises": "异常", "Returns": "返回", "Example": "示例"}
TEXTS = {
    "en": {
        "title": "Reference of the library",
        "intro": "Everything that `import trifold` offers, written from its docstrings by `python scripts/api.py`. "
        "`help(trifold)` shows the same, by what one wants to do.",
        "in": "In `trifold.{}`",
    },
    "zh": {
        "title": "库参考",
        "intro": "`import trifold` 提供的全部名称，由 `python scripts/api.py` 从英文文档字符串生成。"
        "`help(trifold)` 按用途列出同样的内容。",
        "in": "`trifold.{}` 中",
    },
}


def page(language: str) -> str:
    """The whole page."""
    texts = TEXTS[language]
    parts = [f"# {texts['title']}", texts["intro"], "```text\n" + _contents() + "\n```"]
    names = [name for name in trifold.__all__ if name not in (*MODULES, "__version__")]
    for name in sorted(names, key=str.lower):
        parts += _entry(name, getattr(trifold, name), language)
    for name in MODULES:
        parts += _module(name, importlib.import_module(f"trifold.{name}"), texts["in"])
    return "\n\n".join(parts) + "\n"


def _contents() -> str:
    """The table of contents that `help(trifold)` begins with."""
    return inspect.cleandoc(trifold.__doc__ or "").split("\n\n", 1)[1].split("\n\nNames are loaded")[0]


def _entry(name: str, thing: Any, language: str) -> Iterator[str]:
    yield f"## {name}"
    yield _signature(name, thing)
    yield from _document(thing, language)
    for method, found in _methods(thing):
        yield f"### {name}.{method}"
        yield _signature(method, found)
        yield from _document(found, language)


def _methods(thing: Any) -> Iterator[tuple[str, Any]]:
    """The public methods and properties of a class that Trifold itself defines, in the order of the source."""
    if not inspect.isclass(thing):
        return
    for owner in thing.__mro__:
        if not owner.__module__.startswith("trifold."):
            continue
        for name, found in vars(owner).items():
            plain = getattr(found, "fget", None) or getattr(found, "func", None) or getattr(found, "__func__", found)
            if not name.startswith("_") and inspect.isfunction(plain) and getattr(thing, name, None) is not None:
                first = next(one for one in thing.__mro__ if name in vars(one))
                if first is owner and inspect.getdoc(plain):
                    yield name, plain


def _signature(name: str, thing: Any) -> str:
    """As the source writes it."""
    node = ast.parse(textwrap.dedent(inspect.getsource(thing))).body[0]
    if isinstance(node, ast.ClassDef):
        if dataclasses.is_dataclass(thing):
            return _code(f"class {name}", [ast.unparse(part) for part in node.body if isinstance(part, ast.AnnAssign)])
        inits = [part for part in node.body if isinstance(part, ast.FunctionDef) and part.name == "__init__"]
        return _code(f"class {name}", _arguments(inits[0].args) if inits else [])
    assert isinstance(node, ast.FunctionDef), name
    returns = f" -> {ast.unparse(node.returns)}" if node.returns else ""
    is_property = any("property" in ast.unparse(one) for one in node.decorator_list)
    return _code(name, _arguments(node.args), returns, bare=is_property)


def _arguments(args: ast.arguments) -> list[str]:
    """One text an argument, without `self`; `*` stands before those that are given by name."""
    placed = [*args.posonlyargs, *args.args]
    defaults = [None] * (len(placed) - len(args.defaults)) + [*args.defaults]
    texts = [_argument(*pair) for pair in zip(placed, defaults, strict=True) if pair[0].arg not in ("self", "cls")]
    if args.posonlyargs:
        texts.append("/")
    texts += [f"*{args.vararg.arg}"] if args.vararg else ["*"] if args.kwonlyargs else []
    texts += [_argument(*pair) for pair in zip(args.kwonlyargs, args.kw_defaults, strict=True)]
    return texts + ([f"**{args.kwarg.arg}"] if args.kwarg else [])


def _argument(argument: ast.arg, default: ast.expr | None) -> str:
    annotation = f": {ast.unparse(argument.annotation)}" if argument.annotation else ""
    return f"{argument.arg}{annotation}" + (f" = {ast.unparse(default)}" if default is not None else "")


def _code(head: str, arguments: list[str], returns: str = "", *, bare: bool = False) -> str:
    line = f"{head}{returns.replace(' -> ', ': ')}" if bare else f"{head}({', '.join(arguments)}){returns}"
    if len(line) > 100 and arguments:
        line = f"{head}(\n" + "".join(f"    {one},\n" for one in arguments) + f"){returns}"
    return f"```pycon\n{line}\n```"


def _document(thing: Any, language: str) -> Iterator[str]:
    """A docstring as Markdown: its sections are lists, its example is code."""
    text = inspect.cleandoc(thing.__doc__ or "")
    body, *sections = re.split(r"^(Args|Attributes|Raises|Returns|Example):\n", text, flags=re.MULTILINE)
    yield body.strip()
    for heading, content in zip(sections[::2], sections[1::2], strict=True):
        yield f"**{HEADINGS[heading] if language == 'zh' else heading}**"
        plain = inspect.cleandoc("\n" + content)
        if heading == "Example":
            yield f"```pycon\n{plain}\n```"
        elif heading == "Returns":
            yield plain
        else:
            yield "\n".join(_item(one) for one in re.split(r"\n(?=\S)", plain))


def _item(text: str) -> str:
    name, colon, rest = " ".join(text.split()).partition(": ")
    return f"- `{name}`: {rest}" if colon else f"- {name}"


def _module(name: str, module: ModuleType, title: str) -> Iterator[str]:
    yield f"## {title.format(name)}"
    lines = []
    for one in module.__all__:
        found = getattr(module, one)
        if inspect.isclass(found) or inspect.isfunction(found):
            lines.append(f"- `{one}`: {inspect.cleandoc(found.__doc__ or '').splitlines()[0]}")
    yield "\n".join(lines)


PAGES = {"en": ROOT / "docs" / "api.md", "zh": ROOT / "docs" / "zh" / "api.md"}

if __name__ == "__main__":
    for language, path in PAGES.items():
        path.write_text(page(language), encoding="utf-8")

"""Text that every machine with Python has: its manual, the modules of its library, and what they say of functions."""

import ast
import sysconfig
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

__all__ = ["Function", "is_held_out", "read_documents", "read_functions"]

LEFT_OUT = {
    "test",
    "tests",
    "idlelib",
    "site-packages",
    "dist-packages",
    "lib2to3",
    "__pycache__",
    "pydoc_data",
    "encodings",
    "config",
    "turtledemo",
    "ensurepip",
}
HELD_OUT = {
    "bisect",
    "calendar",
    "fnmatch",
    "glob",
    "heapq",
    "json",
    "keyword",
    "shutil",
    "statistics",
    "string",
    "tempfile",
    "textwrap",
    "zipfile",
}
"""Modules that no model of the demo is trained on: their text judges, and questions about them are asked."""
TOPIC_EVERY = 20
"""One page of the manual in so many is held out as well."""
DOC, SIGNATURE, SENTENCE = 600, 120, (8, 160)
"""Characters of a docstring that are read, of a signature at most, and of its first sentence."""


@dataclass(frozen=True, slots=True)
class Function:
    """A public function or method with a docstring.

    Attributes:
        module: where it stands, with dots.
        name: with the module and, of a method, the class.
        signature: as it would be called, with defaults, without `self`.
        defaults: of its arguments, where they are constants, as they are written.
        doc: its docstring in one line, cut where it is long.
        purpose: the first sentence of it, without the full stop.
    """

    module: str
    name: str
    signature: str
    defaults: Mapping[str, str]
    doc: str
    purpose: str

    @property
    def text(self) -> str:
        """Signature and docstring, as a knowledge base holds them."""
        return f"{self.signature}: {self.doc}"


def is_held_out(module: str) -> bool:
    """Whether no model of the demo is trained on a module.

    Example:
        >>> is_held_out("json.decoder"), is_held_out("jsonlike")
        (True, False)
    """
    return module.partition(".")[0] in HELD_OUT


def read_documents() -> Iterator[tuple[str, bool]]:
    """Pages of the manual, then of each module its docstrings and its source; and whether they are held out."""
    from pydoc_data.topics import topics

    for number, (_, text) in enumerate(sorted(topics.items())):
        yield text, number % TOPIC_EVERY == TOPIC_EVERY - 1
    for module, source, tree in _modules():
        for text in ("\n\n".join(_docstrings(tree)), source):
            if len(text) > 200:
                yield text, is_held_out(module)


def read_functions() -> Iterator[Function]:
    """All public functions and methods with a docstring that has a first sentence, each name once."""
    seen = set()
    for module, _, tree in _modules():
        for place, node in _public(tree):
            function = _documented(module, place, node)
            if function is not None and function.name not in seen:
                seen.add(function.name)
                yield function


def module_files() -> list[Path]:
    """The standard library's source files, sorted, its tests and the like left out."""
    root = Path(sysconfig.get_paths()["stdlib"])
    files = [(path, path.relative_to(root).parts) for path in sorted(root.rglob("*.py"))]
    return [path for path, parts in files if not LEFT_OUT & set(parts) and not any("config-" in name for name in parts)]


def _modules() -> Iterator[tuple[str, str, ast.Module]]:
    """Name, source and syntax tree of each module that can be read."""
    root = Path(sysconfig.get_paths()["stdlib"])
    for path in module_files():
        module = ".".join(path.relative_to(root).with_suffix("").parts).removesuffix(".__init__")
        try:
            source = path.read_text(encoding="utf-8")
            yield module, source, ast.parse(source)
        except (OSError, ValueError, SyntaxError):
            continue


def _docstrings(tree: ast.Module) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef):
            text = ast.get_docstring(node)
            if text:
                yield text if isinstance(node, ast.Module) else f"{node.name}: {text}"


def _public(tree: ast.Module) -> Iterator[tuple[str, ast.FunctionDef]]:
    """Functions of a module and methods of its classes, with the class's name before them."""
    for node in tree.body:
        inner = [(f"{node.name}.", child) for child in node.body] if isinstance(node, ast.ClassDef) else [("", node)]
        for place, child in inner:
            if (
                isinstance(child, ast.FunctionDef)
                and not f"{place}{child.name}".startswith("_")
                and child.name[0] != "_"
            ):
                yield place, child


def _documented(module: str, place: str, node: ast.FunctionDef) -> Function | None:
    doc = " ".join((ast.get_docstring(node) or "").split())[:DOC]
    purpose = doc.partition(". ")[0].rstrip(".")
    is_static = any(isinstance(mark, ast.Name) and mark.id == "staticmethod" for mark in node.decorator_list)
    named = ast.unparse(node.args)
    if place and not is_static:
        named = named.partition(", ")[2]
    name = f"{module}.{place}{node.name}"
    signature = f"{name}({named})"
    if not SENTENCE[0] <= len(purpose) <= SENTENCE[1] or len(signature) > SIGNATURE:
        return None
    return Function(module, name, signature, _defaults(node.args), doc, purpose)


def _defaults(arguments: ast.arguments) -> dict[str, str]:
    named = [*arguments.posonlyargs, *arguments.args]
    late = named[len(named) - len(arguments.defaults) :]
    pairs = [
        *zip(late, arguments.defaults, strict=True),
        *zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True),
    ]
    return {name.arg: ast.unparse(value) for name, value in pairs if isinstance(value, ast.Constant)}

"""Text that every machine with Python has: the standard library's documentation, docstrings and source."""

import ast
import json
import sysconfig
from collections.abc import Iterator
from pathlib import Path

__all__ = ["module_files", "write_standard_library"]

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
MOST_BYTES = 9_000_000


def write_standard_library(folder: Path) -> dict[str, int]:
    """Write `train.jsonl` and `valid.jsonl`: manual pages, docstrings and source, every twentieth module held out.

    Returns:
        Bytes of text in each file.
    """
    folder.mkdir(parents=True, exist_ok=True)
    sizes = {"train": 0, "valid": 0}
    with (
        (folder / "train.jsonl").open("w", encoding="utf-8") as train,
        (folder / "valid.jsonl").open("w", encoding="utf-8") as valid,
    ):
        for number, texts in enumerate(_documents()):
            name = "valid" if number % 20 == 19 else "train"
            for text in texts:
                sizes[name] += len(text.encode("utf-8", "replace"))
                line = json.dumps({"text": text.encode("utf-8", "replace").decode()}, ensure_ascii=False)
                print(line, file=train if name == "train" else valid)
            if sum(sizes.values()) > MOST_BYTES:
                break
    return sizes


def _documents() -> Iterator[list[str]]:
    """Manual pages one by one, then each module's docstrings and its source together, so that no text is on both sides."""
    from pydoc_data.topics import topics

    yield from ([text] for _, text in sorted(topics.items()))
    for path in module_files():
        try:
            source = path.read_text(encoding="utf-8")
            docstrings = "\n\n".join(_docstrings(ast.parse(source)))
        except (OSError, ValueError, SyntaxError):
            continue
        yield [text for text in (docstrings, source) if len(text) > 200]


def module_files() -> list[Path]:
    """The standard library's source files, sorted, its tests and the like left out."""
    root = Path(sysconfig.get_paths()["stdlib"])
    found = [(path, path.relative_to(root).parts) for path in sorted(root.rglob("*.py"))]
    return [path for path, parts in found if not LEFT_OUT & set(parts) and not any("config-" in one for one in parts)]


def _docstrings(tree: ast.Module) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef):
            text = ast.get_docstring(node)
            if text:
                yield text if isinstance(node, ast.Module) else f"{node.name}: {text}"

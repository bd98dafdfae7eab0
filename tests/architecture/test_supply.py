"""What the sources must never do, looked for in their syntax trees."""

import ast
from pathlib import Path

import pytest

import trifold

SOURCES = sorted(Path(trifold.__file__).parent.rglob("*.py"))
NAMES = {"eval", "exec", "compile", "__import__"}
MODULES = {"pickle", "cPickle", "dill", "cloudpickle", "marshal", "shelve", "tarfile", "zipfile"}
CALLS = {
    "torch.load",
    "torch.save",
    "os.system",
    "os.popen",
    "yaml.load",
    "shutil.unpack_archive",
    "numpy.load",
    "np.load",
}
KEYWORDS = {("trust_remote_code", True), ("weights_only", False), ("allow_pickle", True), ("shell", True)}
ALLOWED = {
    "checkpoint/pickled.py": {"zipfile"},  # looks at the directory of an archive, takes nothing out
    "checkpoint/pickled_child.py": {"torch.load"},  # the one place, in a process of its own
}


def found_in(tree: ast.AST) -> set[str]:
    """The forbidden things that a module does."""
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {name.name for name in node.names if name.name.split(".")[0] in MODULES}
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] in MODULES:
            found.add(node.module)
        if isinstance(node, ast.Call):
            name = ast.unparse(node.func)
            found |= {name} & (NAMES | CALLS)
            found |= {f"{word.arg}={ast.unparse(word.value)}" for word in node.keywords
                      if isinstance(word.value, ast.Constant) and (word.arg, word.value.value) in KEYWORDS}  # fmt: skip
    return found


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.name)
def test_nothing_is_unpickled_evaluated_or_unpacked(path):
    where = path.relative_to(Path(trifold.__file__).parent).as_posix()
    assert found_in(ast.parse(path.read_text(encoding="utf-8"))) <= ALLOWED.get(where, set())


@pytest.mark.parametrize("text", ["import pickle", "from zipfile import ZipFile", "eval('1')", "torch.load(x)",
                                  "f(trust_remote_code=True)", "f(weights_only=False)", "run(x, shell=True)"])  # fmt: skip
def test_what_is_forbidden_is_found(text):
    assert found_in(ast.parse(text))

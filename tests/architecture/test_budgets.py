"""The house rules, held by the code itself."""

import ast
import importlib
import io
import re
import string
import tokenize
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path

import pytest

from trifold import families
from trifold.locale import catalogue, languages
from trifold.task_kinds import KINDS

SOURCE = Path(__file__).parents[2] / "src" / "trifold"
FILES = sorted(SOURCE.rglob("*.py"))
BENCHMARKS = sorted((SOURCE.parents[1] / "benchmarks").glob("*.py"))
CORE = [path for path in FILES if path.parent == SOURCE / "model"]
FAMILIES = ("bert", "electra", "gpt", "llama", "t5", "vaswani", "marian", "mistral", "qwen", "gemma")


def name_of(path: Path) -> str:
    """The module that a file holds."""
    root = SOURCE.parent if path.is_relative_to(SOURCE) else SOURCE.parents[1]
    return ".".join(path.relative_to(root).with_suffix("").parts).removesuffix(".__init__")


def functions(tree: ast.AST) -> Iterator[ast.FunctionDef]:
    yield from (node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef))


def lines_of(node: ast.AST) -> set[int]:
    return set(range(node.lineno, node.end_lineno + 1))


def code_in(path: Path) -> set[int]:
    """Lines that hold code: neither blank, nor comment, nor docstring, nor the list of what is exported."""
    text = path.read_text(encoding="utf-8")
    documented = set()
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str):
            documented |= lines_of(node)
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__":
            documented |= lines_of(node)
    skipped = (tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT, tokenize.ENDMARKER)
    used = set()
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type not in skipped:
            used |= set(range(token.start[0], token.end[0] + 1))
    return used - documented


def code_lines(path: Path) -> int:
    return len(code_in(path))


def names_in(node: ast.AST) -> set[str]:
    return {one.id for one in ast.walk(node) if isinstance(one, ast.Name)}


def family_lines(path: Path) -> int:
    """Lines of code of a family beside its imports and its two tables of names.

    The key table is each function that returns entries of one, and the functions and constants that nothing else uses. The
    table of fields is each constant made of `Fields` alone, names and values without a decision, and the constants that
    nothing else uses. What reads or writes a field by a rule of the family's own counts, and so do its options, its sizes
    and its card.
    """
    tree = ast.parse(path.read_text(encoding="utf-8"))
    table: list[ast.AST] = [
        node
        for node in tree.body
        if (
            isinstance(node, ast.FunctionDef)
            and node.returns
            and ast.unparse(node.returns) in ("KeyMap", "list[Entry]")
        )
        or (isinstance(node, ast.Assign) and ast.unparse(node.targets[0]).endswith("FIELDS"))
    ]
    named = {node.name: node for node in tree.body if isinstance(node, ast.FunctionDef)}
    named |= {node.targets[0].id: node for node in tree.body
              if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name)}  # fmt: skip
    while True:
        users = {name: [one for one in tree.body if name in names_in(one) and one is not node]
                 for name, node in named.items()}  # fmt: skip
        more = [named[name] for name, found in users.items()
                if found and all(one in table for one in found) and named[name] not in table]  # fmt: skip
        if not more:
            break
        table += more
    left_out = [*table, *(node for node in tree.body if isinstance(node, ast.Import | ast.ImportFrom))]
    return len(code_in(path) - {line for node in left_out for line in lines_of(node)})


@pytest.mark.parametrize("path", [*FILES, *BENCHMARKS], ids=lambda path: f"{path.parent.name}/{path.name}")
def test_files_functions_and_parameters_stay_small(path):
    text = path.read_text(encoding="utf-8")
    assert len(text.splitlines()) <= 400
    assert path in BENCHMARKS or len(path.relative_to(SOURCE).parts) <= 2
    for function in functions(ast.parse(text)):
        body = function.body[1:] if ast.get_docstring(function) else function.body
        length = body[-1].end_lineno - body[0].lineno + 1 if body else 0
        assert length <= 40, f"{function.name}: {length} lines"
        places = [argument for argument in function.args.args if argument.arg not in ("self", "cls")]
        assert len(places) <= 5, f"{function.name}: {len(places)} positional parameters"


def test_the_core_stays_within_seven_hundred_lines_of_code():
    assert 0 < sum(map(code_lines, CORE)) <= 700


FAMILY_FILES = sorted({SOURCE / "presets" / f"{place.split('.')[0]}.py" for place in families.FAMILIES.values()})


@pytest.mark.parametrize("path", FAMILY_FILES, ids=lambda path: path.stem)
def test_a_family_takes_at_most_sixty_lines_beside_its_key_table(path):
    assert family_lines(path) <= 60


def test_the_key_table_of_a_family_is_what_only_names_weights(tmp_path):
    file = tmp_path / "family.py"
    file.write_text(
        """\"\"\"A family.\"\"\"

from trifold.checkpoint import KeyMap

BOTH = 1
TABLE = {
    "ours": "theirs",
}


def keys(options) -> KeyMap:
    return helper(TABLE, BOTH)


def helper(table, number):
    return table


def build(options):
    return BOTH
""",
        encoding="utf-8",
    )
    assert family_lines(file) == 3  # BOTH and build


def test_no_family_is_named_in_the_core():
    for path in CORE:
        tree = ast.parse(path.read_text(encoding="utf-8"))
        names = {node.id.lower() for node in ast.walk(tree) if isinstance(node, ast.Name)}
        names |= {node.attr.lower() for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
        names |= {function.name.lower() for function in functions(tree)}
        assert not [name for name in names for family in FAMILIES if family in name]


@pytest.mark.parametrize("path", [*FILES, *BENCHMARKS], ids=lambda path: f"{path.parent.name}/{path.name}")
def test_only_the_command_line_prints(path):
    text = path.read_text(encoding="utf-8")
    calls = {
        node.func.id
        for node in ast.walk(ast.parse(text))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)
    }
    if path.parent.name != "cli":
        assert "print" not in calls


def test_exports_are_sorted_and_exist():
    for path in [*FILES, *BENCHMARKS]:
        if path.name != "__main__.py":
            module = importlib.import_module(name_of(path))
            name = module.__name__
            exported = getattr(module, "__all__", [])
            # constants, then classes, then functions
            assert list(exported) == sorted(exported, key=lambda one: (not one.isupper(), not one[0].isupper(), one)), (
                name
            )
            assert len(exported) == len(set(exported)), name
            assert all(hasattr(module, one) for one in exported), name


def imports(path: Path) -> set[str]:
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith(("trifold", "benchmarks")):
            found.add(node.module)
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def test_no_import_cycle_counting_lazy_imports():
    files = {name_of(path): path for path in [*FILES, *BENCHMARKS]}
    graph = {name: {one for one in imports(path) if one in files and one != name} for name, path in files.items()}
    graph.pop("trifold")
    done: set[str] = set()

    def walk(name: str, above: tuple[str, ...]) -> None:
        assert name not in above, " -> ".join([*above, name])
        if name not in done:
            for following in graph.get(name, ()):
                if not name.startswith(f"{following}."):  # a module may ask its own package for a sibling
                    walk(following, (*above, name))
            done.add(name)

    for name in graph:
        walk(name, ())


def kinds_asked_for(text: str) -> set[str]:
    """Classes of single kinds of task that a file tells values apart by."""
    tree = ast.parse(text)
    named = {one.asname or one.name: one.name for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)
             and (node.module or "").startswith("trifold.tasks") for one in node.names}  # fmt: skip
    patterns = [node.cls for node in ast.walk(tree) if isinstance(node, ast.MatchClass)]
    patterns += [argument for node in ast.walk(tree) if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)
                 and node.func.id in ("isinstance", "issubclass") for argument in node.args[1:]]  # fmt: skip
    asked = set()
    for node in (node for pattern in patterns for node in ast.walk(pattern)):
        if isinstance(node, ast.Name):
            asked.add(named.get(node.id, ""))
        elif isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id in named:
            asked.add(node.attr)
    return asked & {name + end for name in KINDS.values() for end in ("", "Task")}


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("from trifold.tasks.tagging import TaggingTask as T\nassert isinstance(x, T | int)", {"TaggingTask"}),
        ("from trifold.tasks import tagging\nif isinstance(x, tagging.Tagging): ...", {"Tagging"}),
        ("from trifold.tasks import SpanQA\nmatch x:\n case SpanQA(): ...", {"SpanQA"}),
        ("from torch import nn\nfrom torch.nn import Embedding\nisinstance(x, nn.Embedding), isinstance(x, Embedding)",
         set()),
    ],
)  # fmt: skip
def test_the_search_for_questions_of_kind_finds_them(text, found):
    assert kinds_asked_for(text) == found


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(SOURCE)))
def test_only_its_own_file_knows_a_kind_of_task(path):
    own = {KINDS[path.stem], f"{KINDS[path.stem]}Task"} if path.stem in KINDS else set()
    assert kinds_asked_for(path.read_text(encoding="utf-8")) <= own


@pytest.mark.parametrize("kind", KINDS)
def test_a_kind_of_task_stands_in_the_file_of_its_name(kind):
    module = importlib.import_module(f"trifold.tasks.{kind}")
    assert {one.name: one.default for one in fields(getattr(module, KINDS[kind]))}["kind"] == kind
    assert {KINDS[kind], f"{KINDS[kind]}Task"} <= set(module.__all__)


def messages(language: str) -> dict[str, str]:
    return {f"{area}.{name}": text for area, entries in catalogue(language).items() for name, text in entries.items()}


def places(text: str) -> list[str]:
    """The names of the placeholders of a message."""
    fields = {field for _, field, _, _ in string.Formatter().parse(text) if field}
    return sorted(re.split(r"[.!\[:]", field)[0] for field in fields)


@pytest.mark.parametrize("language", languages())
def test_every_message_is_there_in_every_language_with_the_same_places(language):
    texts, english = messages(language), messages("en")
    assert texts.keys() == english.keys()
    for key, text in texts.items():
        assert places(text) == places(english[key]), key
        if not key.startswith(("cli.example_", "cli.stage_", "cli.plan_", "cli.score_")):
            assert text, key


def test_every_message_that_is_raised_exists_and_none_is_idle():
    known = set(messages("en"))
    text = "\n".join(path.read_text(encoding="utf-8") for path in FILES)
    raised = set(re.findall(r'(?:Error|message)\(\s*"([a-z_]+\.[a-z0-9_]+)"', text))
    assert raised - known == set()
    named = set(re.findall(r'"([a-z_]+\.[a-z0-9_]+)"', text))
    said = "\n".join(path.read_text(encoding="utf-8") for path in FILES if "doctor" in path.parts)
    words = set(re.findall(r'"([a-z_-]+)"', said))  # checks and drills find their words by their own names
    named |= {f"doctor.{word}{end}" for word in words for end in ("", "_claim", "_advice")}
    named |= {
        f"task.why_{one.partition('.')[2]}" for one in raised
    }  # an error's code names the reason of a row left out
    begun = tuple(set(re.findall(r'message\(\s*f"([a-z_]+\.[a-z0-9_]+_)\{', text)))  # ended by what a value says
    idle = {one for one in known - named if not one.startswith(("cli.", *begun)) and ".column_" not in one}
    assert idle == set()


def test_public_names_are_documented():
    for path in [*FILES, *BENCHMARKS]:
        tree = ast.parse(path.read_text(encoding="utf-8"))
        assert ast.get_docstring(tree) or path.name == "__init__.py", path
        for node in tree.body:
            if isinstance(node, ast.ClassDef | ast.FunctionDef) and not node.name.startswith("_"):
                assert ast.get_docstring(node), f"{path.name}: {node.name}"


VAGUE = frozenset({"one", "found", "made", "given", "part"})
"""Names that say nothing of a value; they may stand where all uses are within three lines."""
PUBLIC = {("config.py", "require", "given")}
"""Parameters with such a name that callers pass by it: file, function and name."""


def vague_names(text: str) -> set[tuple[str, str]]:
    """Variables and parameters with a vague name in use over more than three lines, each after its function."""
    hits = set()
    for function in functions(ast.parse(text)):
        uses: dict[str, list[int]] = {}
        for node in ast.walk(function):
            if isinstance(node, ast.Name | ast.arg):
                uses.setdefault(node.id if isinstance(node, ast.Name) else node.arg, []).append(node.lineno)
        hits |= {(function.name, name) for name in VAGUE & uses.keys() if max(uses[name]) - min(uses[name]) >= 3}
    return hits


@pytest.mark.parametrize(
    ("text", "hits"),
    [
        ("def f():\n found = 1\n x = 2\n y = 3\n return found", {("f", "found")}),
        ("def f():\n found = 1\n x = 2\n return found", set()),
        ("def f(*, given):\n x = 2\n y = 3\n return given", {("f", "given")}),
        ("def f(x):\n g = lambda part: (\n  x,\n  2,\n  part,\n )\n return g", {("f", "part")}),
        ("def f(x):\n raise E(\n  given=x,\n  found=1,\n  made=x.one,\n  one=x.one,\n )", set()),
    ],
)
def test_the_search_for_vague_names_finds_them(text, hits):
    assert vague_names(text) == hits


def test_a_name_in_use_over_more_than_three_lines_says_what_its_value_is():
    hits = {
        (str(path.relative_to(SOURCE)), *hit) for path in FILES for hit in vague_names(path.read_text(encoding="utf-8"))
    }
    assert hits == PUBLIC

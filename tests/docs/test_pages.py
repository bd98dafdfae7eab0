"""The pages tell the truth: their Python runs, and prints what stands below it; their commands parse."""

import contextlib
import io
import re
import shlex
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```", re.DOTALL | re.MULTILINE)
PAGES = ["README.md", "README.zh-CN.md", "docs/article.md", "docs/zh/article.md", "docs/tasks.md"]


def blocks(page: str) -> list[tuple[str, str]]:
    return BLOCK.findall((ROOT / page).read_text(encoding="utf-8"))


@pytest.mark.parametrize("page", PAGES)
def test_python_blocks_run_and_print_what_the_page_shows(page, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    names: dict[str, object] = {"__name__": "page"}
    found = blocks(page)
    ran = 0
    for number, (kind, text) in enumerate(found):
        if kind != "python":
            continue
        said = io.StringIO()
        with contextlib.redirect_stdout(said):
            exec(compile(text, f"{page} block {number}", "exec"), names)  # noqa: S102 - our own pages
        ran += 1
        following = found[number + 1] if number + 1 < len(found) else ("", "")
        if following[0] == "text" and page.startswith("docs/"):
            assert said.getvalue() == following[1], f"{page}, block {number}"
        for wanted in re.findall(r"# (Total params: [\d,]+)", text):
            assert wanted in said.getvalue()
    assert ran >= 1


@pytest.mark.parametrize("page", [*PAGES[:2], "docs/tasks.md", "docs/zh/tasks.md"])
def test_commands_of_the_pages_are_real(page):
    from trifold.cli.console import Console
    from trifold.cli.main import COMMANDS
    from trifold.cli.parse import find_command, parse

    seen = 0
    for kind, text in blocks(page):
        for line in text.splitlines() if kind == "console" else []:
            words = shlex.split(line.removeprefix("$ "), comments=True)
            if words and words[0] == "trifold":
                command, rest = find_command(words[1:], COMMANDS)
                parse(command, rest, Console())
                seen += 1
    assert seen >= 4


def test_both_readmes_say_the_same():
    one, two = (blocks(page) for page in PAGES[:2])
    commands = [
        [re.sub(r'#.*|"[^"]*"', "", text).split() for kind, text in page if kind == "console"] for page in (one, two)
    ]
    assert commands[0] == commands[1]

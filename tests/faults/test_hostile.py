"""Folders from anywhere: whatever was done to them, they load or are refused by name, and nothing else happens."""

import json
import subprocess
import sys

import pytest

from tests.faults.fresh import fresh
from tests.faults.fuzzing import build, main


def fuzz(count, seed, folder):
    return fresh(main, count, seed, folder, seconds=1500)


@pytest.mark.parametrize("seed", [1, 2])
def test_d2_d3_d4_d5_d6_d8_mutated_folders_are_refused_by_name(tmp_path, seed):
    found = fuzz(500, seed, tmp_path)
    assert not found["wrong"], "\n".join(found["wrong"][:20])
    assert sum(found["refused"].values()) > 200 and len(found["refused"]) > 5
    assert found["grown"] < 2**29


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(10, 20))
def test_ten_thousand_mutated_folders(tmp_path, seed):
    found = fuzz(1000, seed, tmp_path)
    assert not found["wrong"], "\n".join(found["wrong"][:20])


TEMPLATES = (
    "{{ ''.__class__.__mro__[1].__subclasses__() }}",
    "{{ cycler.__init__.__globals__.os.popen('touch MARK').read() }}",
    "{{ lipsum.__globals__['os'].system('touch MARK') }}",
    "{% for i in range(10**9) %}{{ i }}{% endfor %}",
    "{% include '/etc/passwd' %}{% import 'os' as os %}",
    "{{ 'a' * 10**9 }}",
)
USE = """
import sys
from tests.faults.fuzzing import load
from pathlib import Path
load(Path(sys.argv[1]))
print("jinja2" in sys.modules)
"""


@pytest.mark.parametrize("template", TEMPLATES)
def test_d7_a_template_that_comes_with_a_model_is_never_run(tmp_path, template):
    folder, mark = build(tmp_path)[0], tmp_path / "mark"
    path = folder / "tokenizer_config.json"
    hostile = template.replace("MARK", str(mark))
    path.write_text(json.dumps(json.loads(path.read_text()) | {"chat_template": hostile}))
    (folder / "chat_template.jinja").write_text(hostile)
    done = subprocess.run([sys.executable, "-c", USE, str(folder)], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"
    assert not mark.exists()

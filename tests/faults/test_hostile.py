"""Folders from anywhere: whatever was done to them, they load or are refused by name, and nothing else happens."""

import json
import shutil
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
for folder in sys.argv[1:]:
    load(Path(folder))
    print("jinja2" in sys.modules)
"""


@pytest.fixture(scope="module")
def loaded(tmp_path_factory):
    """For each template a folder that brings it, and whether templates could be run after it was loaded, by one process."""
    root = tmp_path_factory.mktemp("templates")
    sound, folders = build(root)[0], [root / f"{number}" for number in range(len(TEMPLATES))]
    for folder, template in zip(folders, TEMPLATES, strict=True):
        shutil.copytree(sound, folder)
        path, hostile = folder / "tokenizer_config.json", template.replace("MARK", str(folder / "mark"))
        path.write_text(json.dumps(json.loads(path.read_text()) | {"chat_template": hostile}))
        (folder / "chat_template.jinja").write_text(hostile)
    done = subprocess.run([sys.executable, "-c", USE, *map(str, folders)], capture_output=True, text=True, check=True)
    return dict(zip(TEMPLATES, zip(folders, done.stdout.split(), strict=True), strict=True))


@pytest.mark.parametrize("template", TEMPLATES)
def test_d7_a_template_that_comes_with_a_model_is_never_run(loaded, template):
    folder, has_engine = loaded[template]
    assert has_engine == "False"
    assert not (folder / "mark").exists()

"""A message names what its reader can type: options on the command line, arguments and fields in Python."""

import dataclasses
import inspect
import re
import string

import pytest

import trifold
from trifold.cli.main import main
from trifold.errors import DataError
from trifold.locale import catalogue, languages, message, on_command_line
from trifold.locale.option import in_python
from trifold.retrieval import KnowledgeBase
from trifold.task_kinds import config_classes
from trifold.training import Experiment, TokenizerChoice

NOT_OF_PYTHON = ("cli", "benchmark", "doctor")
"""Areas whose messages the command line alone shows."""
CALLS = (trifold.pretrain, trifold.finetune, trifold.load, trifold.evaluate, trifold.train_tokenizer, KnowledgeBase.build,
         trifold.Transformer.from_pretrained)  # fmt: skip
CONFIGS = {"training": trifold.Training, "data": trifold.training.DataChoice, "model": trifold.training.ModelChoice,
           "tokenizer": TokenizerChoice, "task": tuple(config_classes()), "sampling": trifold.Sampling}  # fmt: skip


def allowed() -> set[str]:
    """Arguments of the calls, fields of the configurations, and both with the name of their section."""
    found = {name for call in CALLS for name in inspect.signature(call).parameters}
    for section, kinds in CONFIGS.items():
        for kind in kinds if isinstance(kinds, tuple) else (kinds,):
            names = {field.name for field in dataclasses.fields(kind)}
            found |= names | {f"{section}.{name}" for name in names}
    labelled = {f"data.{field.name}" for field in dataclasses.fields(trifold.tasks.LabelledData)}
    return found | labelled | {field.name for field in dataclasses.fields(Experiment)} | {"help()"}


@pytest.mark.parametrize("language", languages())
def test_what_a_message_names_in_python_is_there(language):
    known, seen = allowed(), 0
    for area, entries in catalogue(language).items():
        for name, text in entries.items():
            if area in NOT_OF_PYTHON:
                continue
            said = in_python(text)
            commands = re.findall(r"trifold [a-z][^;；。`]*", said)
            left = said
            for command in commands:
                left = left.replace(command, "")
            assert "--" not in left, f"{area}.{name}: {said}"
            places = lambda one: sorted(field for _, field, _, _ in string.Formatter().parse(one) if field)
            assert places(said) == places(text)
            for option in re.findall(r"--([a-z][\w.-]*[a-z])", re.sub(r"trifold [a-z][^;；。`]*", "", text)):
                written = in_python(f"--{option}").partition("=")[0]
                assert written in known, f"{area}.{name}: {written}"
                seen += 1
    assert seen > 40


def test_the_same_failure_is_told_to_each_in_his_own_words(tmp_path, capsys):
    with pytest.raises(DataError) as caught:
        raise DataError("data.bad_item", path="a", number=1, problem="odd")
    assert 'on_error="skip"' in str(caught.value)
    with on_command_line():
        assert "--on-error skip" in message("data.bad_item", path="--a", number=1, problem="odd")
    assert "--a, item 1" in message("data.bad_item", path="--a", number=1, problem="odd")
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "file").touch()
    (tmp_path / "a.txt").write_text("to be or not to be\n" * 20, encoding="utf-8")
    words = ["pretrain", "--preset", "gpt2", "--data", str(tmp_path / "a.txt"), "--steps", "1", "--out"]
    assert main([*words, str(tmp_path / "run")]) == 2
    assert "another --out, or go on with that run by --resume" in capsys.readouterr().err
    with pytest.raises(trifold.TrifoldError, match="another out, or go on with that run by resume=True"):
        raise trifold.errors.ConfigError("training.run_exists", path="run")

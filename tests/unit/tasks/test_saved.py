"""A fine-tuning that an earlier version began goes on as it was begun."""

import pytest

from trifold.config import to_json
from trifold.tasks import FineTuning
from trifold.tasks.any_task import AnyTask
from trifold.tasks.saved import task_as_meant
from trifold.tasks.span_qa import SpanQA
from trifold.tasks.translation import Translation
from trifold.training import ModelChoice, read_experiment
from trifold.training.description import describe


def begun(folder, task: AnyTask, *, without: tuple[str, ...] = ()) -> FineTuning:
    """The experiment of a run whose version knew nothing of some settings of its task."""
    saved = to_json(FineTuning(model=ModelChoice(start="runs/bert"), task=task))
    saved["task"] = {name: value for name, value in saved["task"].items() if name not in without}
    describe(folder, {"experiment": saved})
    return read_experiment(folder, FineTuning)


def test_what_an_earlier_version_had_no_choice_of_is_not_todays_default(tmp_path):
    reader = begun(tmp_path, SpanQA(), without=("elsewhere",))
    assert isinstance(reader.task, SpanQA) and SpanQA().elsewhere > 0
    assert reader.task.elsewhere == 0
    translator = begun(tmp_path, Translation(), without=("verbatim",))
    assert isinstance(translator.task, Translation) and Translation().verbatim is not False
    assert translator.task.verbatim is False


@pytest.mark.parametrize("task", [SpanQA(elsewhere=0.5, match=False), Translation(verbatim=True)])
def test_what_is_said_is_kept(tmp_path, task):
    assert begun(tmp_path, task).task == task


@pytest.mark.parametrize(
    "content", [None, [], "x", {}, {"task": None}, {"task": {"kind": 3}}, {"task": {"kind": "unheard"}}]
)
def test_what_is_no_task_is_left_to_the_check_of_its_types(content):
    assert task_as_meant(content) == content

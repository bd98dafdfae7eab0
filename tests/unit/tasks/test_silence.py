"""When a reader over a knowledge base is to be silent."""

import numpy as np
import pytest

from trifold.tasks.record import Record
from trifold.tasks.silence import Trial, asked_elsewhere, best_threshold, in_order, try_base

CITIES = ("oslo", "kiel", "rome", "bonn", "york", "lyon", "graz", "linz", "bern", "nice", "cork", "brno")
RECORDS = [
    Record(
        (f"where did person{n} sing at noon?", f"person{n} went out and then sang in {city} at noon."), ((city, 20),)
    )
    for n, city in enumerate(CITIES)
]


def read(records):
    """Knows the answer where it is, and takes another city for it, less surely, where it is not."""
    found = []
    for record in records:
        city = next(city for city in CITIES if city in record.inputs[1])
        found.append((city, 5.0 if record.inputs[0].split()[2] in record.inputs[1] else 1.0))
    return found


def overlap(records, said):
    return np.array(
        [float(answer in [text for text, _ in one.gold]) for one, answer in zip(records, said, strict=True)]
    )


def test_every_other_question_is_asked_of_a_base_that_lacks_its_answer():
    trial = try_base(RECORDS, read, overlap)
    assert trial is not None and trial.held.tolist() == [True, False] * 6
    assert trial.f1.tolist() == [1.0, 0.0] * 6 and trial.margins.tolist() == [5.0, 1.0] * 6
    least = best_threshold(trial.margins, trial.f1, (~trial.held).astype(float))
    assert 1.0 < least < 5.0
    told = trial.told(least)
    assert told["f1"] == told["silent_where_not_held"] == 1.0 and told["f1_never_silent"] == 0.5
    assert told["risk"] == told["silent_where_held"] == 0.0 and told["risk_coverage"]["curve"][-1] == [1.0, 0.5]


@pytest.mark.parametrize("records", [RECORDS[:5], [Record(RECORDS[0].inputs, RECORDS[0].gold)] * 20, []])
def test_too_little_to_try_is_not_tried(records):
    assert try_base(records, read, overlap) is None


def test_a_passage_without_an_answer_is_last_and_rank_counts():
    assert in_order([-np.inf, 1.0, 2.0, 9.0]) == [3, 1, 2, 0]


def test_one_that_answers_nothing_has_no_risk():
    trial = Trial(np.array([1.0, 2.0]), np.array([0.0, 0.0]), np.array([True, False]))
    assert trial.told(3.0)["risk"] is None


def test_a_share_of_the_questions_is_asked_of_texts_that_fit_but_do_not_answer():
    elsewhere = asked_elsewhere(RECORDS, 0.25)
    assert [record.inputs[0] for record in elsewhere] == [RECORDS[number].inputs[0] for number in (0, 4, 8)]
    for record in elsewhere:
        city = next(one.gold[0][0] for one in RECORDS if one.inputs[0] == record.inputs[0])
        assert record.gold == () and "sang in" in record.inputs[1] and city not in record.inputs[1]


def test_questions_are_asked_elsewhere_only_where_none_is_without_an_answer():
    silent = Record(("where did person99 sing?", "person99 went out."), ())
    assert asked_elsewhere([*RECORDS, silent], 1.0) == []
    assert asked_elsewhere(RECORDS, 0.0) == asked_elsewhere(RECORDS[:1], 1.0) == []

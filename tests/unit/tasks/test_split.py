"""Which side an example falls on follows from what stands in it."""

import random
from collections import Counter

import pytest

from trifold.data.rows import Row
from trifold.tasks.record import Role
from trifold.tasks.split import content_of, split_units

SHARES = {"test": 0.1, "dev": 0.1}


def sides_of(rows: list[tuple[str, str]], shares=SHARES) -> dict[str, str]:
    keys, labels = [text for text, _ in rows], [(label,) if label else () for _, label in rows]
    return dict(zip(keys, split_units(keys, labels, shares), strict=True))


def test_a_side_changes_neither_with_the_order_nor_with_rows_that_are_added():
    rows = [(f"text {n}", "ab"[n % 2]) for n in range(600)]
    shuffled = random.Random(0).sample(rows, len(rows))
    before, after = sides_of(rows), sides_of([*rows, *((f"more {n}", "ab"[n % 2]) for n in range(300))])
    assert sides_of(shuffled) == before
    assert all(after[text] == side for text, side in before.items())
    assert 40 <= Counter(before.values())["dev"] <= 85


@pytest.mark.parametrize("labels", [["rare"], ["rare", "rare"], ["rare", "rarer", "rarest"]])
def test_each_label_that_occurs_stays_in_training(labels):
    for seed in range(20):
        rows = [(f"{seed} {n}", "common") for n in range(40)] + [(f"{seed} r{n}", one) for n, one in enumerate(labels)]
        sides = sides_of(rows, {"test": 0.4, "dev": 0.4})
        assert {label for text, label in rows if sides[text] == "train"} == {"common", *labels}
        assert set(sides.values()) == {"train", "dev", "test"}


def test_each_label_is_held_out_about_as_often_as_all_are():
    rows = [(f"text {n}", "frequent" if n % 10 else "seldom") for n in range(400)]
    for shares in ({"dev": 0.1}, {"test": 0.2, "dev": 0.2}):
        sides = sides_of(rows, shares)
        held = Counter(label for text, label in rows if sides[text] == "dev")
        for label, count in Counter(label for _, label in rows).items():
            assert 0.3 < held[label] / (count * shares["dev"]) < 2.0


def test_few_rows_are_held_out_where_a_fraction_would_be_none_and_equal_texts_stay_together():
    assert Counter(sides_of([(f"t{n}", "ab"[n % 2]) for n in range(8)], {"dev": 0.1}).values()) == {
        "train": 6,
        "dev": 2,
    }
    assert Counter(sides_of([(f"t{n}", "") for n in range(5)], {"dev": 0.1}).values()) == {"train": 4, "dev": 1}
    keys = [f"t{n % 30}" for n in range(300)]
    sides = split_units(keys, [("ab"[n % 2],) for n in range(300)], SHARES)
    assert len(set(zip(keys, sides, strict=True))) == 30


def test_rows_with_several_labels_leave_each_of_them_in_training():
    labels = [("a", "b"), ("a",), ("b", "c"), ("a",), ("a", "d")] * 8
    keys = [f"row {n}" for n in range(len(labels))]
    sides = split_units(keys, labels, {"dev": 0.5})
    assert {one for side, some in zip(sides, labels, strict=True) if side == "train" for one in some} == set("abcd")


def test_content_does_not_depend_on_the_names_of_columns_nor_on_labels():
    roles = (Role("text", ()), Role("label", (), label=True))
    one = content_of(Row({"review": "so  good", "y": 1}, ""), {"text": "review", "label": "y"}, roles)
    assert one == content_of(Row({"text": "so good", "label": 0}, ""), {"text": "text", "label": "label"}, roles)
    assert content_of(Row({"text": None, "label": None}, ""), {"text": "text", "label": "label"}, roles) is None

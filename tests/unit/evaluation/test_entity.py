"""Entities as seqeval counts them, in both its modes, on thousands of random sequences; the scheme found from labels."""

import warnings
from typing import Any

import numpy as np
import pytest
from seqeval import metrics as reference
from seqeval import scheme as schemes
from seqeval.metrics.sequence_labeling import get_entities

from trifold.evaluation.entity import Scheme, entities, find_scheme
from trifold.evaluation.metric import entity_f1

THEIRS = {"iob1": schemes.IOB1, "iob2": schemes.IOB2, "ioe1": schemes.IOE1, "ioe2": schemes.IOE2, "iobes": schemes.IOBES,
          "bilou": schemes.BILOU}  # fmt: skip


def draw(dice, marks, count, *, suffix=False, bare=False):
    kinds = ["A", "B-C", "_x"]
    labels = [
        "O",
        *(mark if bare else f"{kind}-{mark}" if suffix else f"{mark}-{kind}" for mark in marks for kind in kinds),
    ]
    return [[str(tag) for tag in dice.choice(labels, dice.integers(1, 12))] for _ in range(count)]


@pytest.mark.parametrize("suffix", [False, True])
@pytest.mark.parametrize("name", [*THEIRS, "bmes"])
def test_strict_counting_is_seqevals_on_every_sequence(name, suffix):
    dice = np.random.default_rng(0)
    scheme, theirs = Scheme(name, strict=True, suffix=suffix), THEIRS.get(name, schemes.IOBES)
    gold = draw(dice, scheme.marks, 600, suffix=suffix)
    for tags in gold:
        known = [_as_iobes(tag, suffix=suffix) for tag in tags] if name == "bmes" else tags
        wanted = {(one.tag, one.start, one.end - 1) for one in schemes.Tokens(known, theirs, suffix=suffix).entities}
        assert entities(tags, scheme) == wanted, tags


def _as_iobes(tag, *, suffix):
    return (tag[:-1] + tag[-1].replace("M", "I")) if suffix else tag[0].replace("M", "I") + tag[1:]


@pytest.mark.parametrize(("suffix", "bare"), [(False, False), (True, False), (False, True)])
@pytest.mark.parametrize("marks", ["BI", "IE", "BIES", "BMES", "BILU"])
def test_lenient_counting_is_seqevals_on_every_sequence(marks, suffix, bare):
    dice = np.random.default_rng(1)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for tags in draw(dice, marks, 600, suffix=suffix, bare=bare):
            assert entities(tags, Scheme("bio", suffix=suffix)) == set(get_entities(tags, suffix=suffix)), tags


@pytest.mark.parametrize("name", THEIRS)
def test_scores_of_a_whole_set_are_seqevals(name):
    dice = np.random.default_rng(2)
    scheme = Scheme(name, strict=True)
    gold = draw(dice, scheme.marks, 300)
    said = [[str(dice.choice(row)) if dice.random() < 0.3 else tag for tag in row] for row in gold]
    wanted: Any = reference.f1_score(gold, said, mode="strict", scheme=THEIRS[name], zero_division=0)
    assert entity_f1(gold, said, scheme).score == pytest.approx(float(wanted), abs=1e-12)


@pytest.mark.parametrize(
    ("labels", "wanted"),
    [
        ("O B-PER I-PER", Scheme("bio")),
        ("I-PER O", Scheme("bio")),
        ("O I-A E-A", Scheme("ioe2")),
        ("O B-A I-A E-A S-A", Scheme("iobes")),
        ("O B-A M-A E-A", Scheme("bmes")),
        ("B M E S", Scheme("bmes")),
        ("B I O", Scheme("bio")),
        ("O B-A I-A L-A U-A", Scheme("bilou", strict=True)),
        ("O U-A", Scheme("bilou", strict=True)),
        ("PER-B PER-I O", Scheme("bio", suffix=True)),
        ("NR-B NR-M NR-E VV-S", Scheme("bmes", suffix=True)),
        ("B_PER I_PER O", Scheme("bio")),
        ("NOUN VERB X O", None),
        ("N V", None),
        ("0 1 2", None),
        ("S I", None),
        ("O", None),
    ],
)
def test_the_scheme_is_found_from_the_labels(labels, wanted):
    assert find_scheme(labels.split()) == wanted


def test_what_stands_between_the_ends_of_an_entity_counts():
    gold, holes = ["B-P", "M-P", "M-P", "E-P"], ["B-P", "O", "O", "E-P"]
    assert entity_f1([gold], [holes], find_scheme(gold)).score == 0.0
    gold, holes = ["B-P", "I-P", "I-P", "L-P"], ["B-P", "O", "O", "L-P"]
    assert entity_f1([gold], [holes], find_scheme(gold)).score == 0.0
    assert sorted(entities(["U-P", "U-P"], find_scheme(["U-P"]))) == [("P", 0, 0), ("P", 1, 1)]

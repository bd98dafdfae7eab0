"""Beams whose past stays where it was written: the same texts as with keys and values that move."""

import gc
import weakref

import pytest
import torch

from tests.bounds import LAYERS, assert_same_sums
from tests.shapes import WRITERS, build
from trifold.generation import beams, decoding
from trifold.generation.beams import BeamCache
from trifold.generation.decoding import Decoding
from trifold.generation.search import search
from trifold.native import load_passes

pytestmark = pytest.mark.skipif(load_passes() is None, reason="no compiler")
SOURCES = [[5, 6, 7, 8], [9, 10], [11, 12, 13, 14, 15, 4, 6]]
PROMPTS = {True: [[5], [6], [7]], False: [[5, 6, 7], [8], [9, 10]]}


def searched(model: torch.nn.Module, *, limits: list[int], width: int = 4) -> tuple[list, type]:
    """Ids and scores of all hypotheses, and what kept their past."""
    pair = model.encoder is not None
    rows = Decoding(model, PROMPTS[pair], SOURCES if pair else None)
    found = search(rows, beams=width, limits=limits, ends=[3], alpha=0.6)
    return [[(one.ids, one.totals) for one in row] for row in found], type(rows.cache)


@pytest.mark.parametrize("name", WRITERS)
def test_texts_are_those_of_a_cache_that_moves(name, monkeypatch):
    """Long enough for rooms to grow, unequal so that rows are dropped, padded prompts and sources included."""
    model, limits = build(name).float(), [90, 12, 40]
    shared, kind = searched(model, limits=limits)
    assert kind is BeamCache
    monkeypatch.setattr(decoding, "can_share", lambda _: False)
    moved, kind = searched(model, limits=limits)
    assert kind is not BeamCache
    for row, other in zip(shared, moved, strict=True):
        assert [ids for ids, _ in row] == [ids for ids, _ in other]
        for (_, totals), (_, wanted) in zip(row, other, strict=True):
            assert_same_sums(torch.tensor(totals), torch.tensor(wanted), terms=LAYERS * model.config.d_model)


@pytest.mark.parametrize("name", WRITERS)
def test_bfloat16_models_keep_float32_and_share_too(name, monkeypatch):
    model = build(name).bfloat16()
    shared, kind = searched(model, limits=[6, 3, 5])
    assert kind is BeamCache
    monkeypatch.setattr(decoding, "can_share", lambda _: False)
    moved, _ = searched(model, limits=[6, 3, 5])
    for row, other in zip(shared, moved, strict=True):
        assert abs(row[0][1][-1] - other[0][1][-1]) < 0.1 * abs(other[0][1][-1])


def test_other_number_formats_move_what_they_keep():
    model = build(next(iter(WRITERS)))
    assert searched(model.double(), limits=[4, 4, 4])[1] is not BeamCache


def test_what_a_search_kept_is_gone_when_it_ends():
    model = build(next(name for name in WRITERS if "pair" in name)).float()
    gc.disable()  # nobody has to look for garbage
    try:
        rows = Decoding(model, PROMPTS[True], SOURCES)
        search(rows, beams=3, limits=[5] * len(SOURCES), ends=(1,), alpha=1.0)
        kept = [weakref.ref(slot) for slot in rows.cache.slots]
        assert all(one() is not None for one in kept)
        del rows
        assert all(one() is None for one in kept)
    finally:
        gc.enable()


def test_nothing_is_copied_when_beams_move():
    model = build(next(name for name in WRITERS if "pair" in name)).float()
    rows = Decoding(model, PROMPTS[True], SOURCES)
    rows.start()
    rows.branch(3)
    slot = rows.cache.slots[0]
    assert isinstance(slot, beams._BeamSlot)
    places = [part.data_ptr() for part in (*slot.rooms, *slot.memory)]
    for order in ([2, 1, 0, 3, 3, 3, 8, 7, 6], [0, 0, 1, 3, 4, 5], [5, 4, 3]):
        rows.step(torch.full((len(rows.lengths),), 5))
        rows.select(torch.tensor(order))
    assert [part.data_ptr() for part in (*slot.rooms, *slot.memory)] == places
    assert rows.cache.table.source.tolist() == [1, 1, 1]

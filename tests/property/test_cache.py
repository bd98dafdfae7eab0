"""G4: decoding through the cache, in pieces of any size and order, gives the logits of the whole pass."""

import pytest
import torch
from torch import Tensor

from tests.shapes import CAUSAL, PAIRS, build, tokens
from trifold.batch import Layout
from trifold.model import Cache, Transformer

LENGTH = 14
CLOSE = {"rtol": 0.0, "atol": 1e-12}


def _memory(model: Transformer, name: str, rows: int) -> tuple[Tensor | None, Layout | None]:
    if name not in PAIRS:
        return None, None
    layout = Layout.padded(torch.arange(rows) % 4 + 3, width=6)
    return model.encode(tokens(rows, 6, seed=3), layout), layout


def _rows(layout: Layout | None, rows: Tensor) -> Layout | None:
    if layout is None or layout.documents is None:
        return layout
    return Layout(layout.positions[rows], layout.documents[rows])


def _pieces(model: Transformer, ids: Tensor, sizes: list[int], memory: tuple, layout: Layout | None = None) -> Tensor:
    cache, out, start = model.new_cache(), [], 0
    for size in sizes:
        part = slice(start, start + size)
        piece = None if layout is None else Layout(layout.positions[:, part], layout.documents[:, part])  # type: ignore[index]
        out.append(model.decode(ids[:, part], piece, memory=memory[0], memory_layout=memory[1], cache=cache))
        start += size
    assert cache.length == start
    return torch.cat(out, 1)


@pytest.mark.parametrize("name", CAUSAL)
def test_g4_token_by_token_and_at_any_split(name: str) -> None:
    model, ids = build(name), tokens(3, LENGTH)
    memory = _memory(model, name, 3)
    whole = model.decode(ids, memory=memory[0], memory_layout=memory[1])
    splits = [[1] * LENGTH, [2, 5, 7], [7, 1, 1, 5], [6, 6, 2]] + [[cut, LENGTH - cut] for cut in range(1, LENGTH)]
    for sizes in splits:
        torch.testing.assert_close(_pieces(model, ids, sizes, memory), whole, **CLOSE)


@pytest.mark.parametrize("name", CAUSAL)
def test_g4_long_rows_outgrow_the_first_room(name: str) -> None:
    model, ids = build(name), tokens(1, 128)
    memory = _memory(model, name, 1)
    whole = model.decode(ids, memory=memory[0], memory_layout=memory[1])
    torch.testing.assert_close(_pieces(model, ids, [3] + [1] * 96 + [29], memory), whole, **CLOSE)


@pytest.mark.parametrize("name", CAUSAL)
def test_g4_left_padded_prompts_of_unequal_length(name: str) -> None:
    model, ids = build(name), tokens(4, LENGTH)
    memory = _memory(model, name, 4)
    lengths = torch.tensor([LENGTH, 9, 12, 7])
    layout = Layout.padded(lengths, left=True)
    for sizes in ([8] + [1] * 6, [3, 8, 3]):
        hidden = _pieces(model, ids, sizes, memory, layout)
        for row, length in enumerate(lengths.tolist()):
            kept = _rows(memory[1], torch.tensor([row]))
            one = None if memory[0] is None else memory[0][[row]]
            alone = model.decode(ids[[row], -length:], memory=one, memory_layout=kept)
            torch.testing.assert_close(hidden[[row], -length:], alone, **CLOSE)


@pytest.mark.parametrize("name", CAUSAL)
def test_g4_beams_reordered_copied_and_dropped_by_select(name: str) -> None:
    model = build(name)
    memory, memory_layout = _memory(model, name, 3)
    cache, history = model.new_cache(), tokens(3, 5)
    rows = torch.arange(3)
    model.decode(history, memory=memory, memory_layout=memory_layout, cache=cache)
    for step, order in enumerate(([2, 0, 0, 1], [3, 3, 1, 0], [0, 2], [1, 0])):
        chosen = torch.tensor(order)
        cache.select(chosen)
        rows, history = rows[chosen], torch.cat([history[chosen], tokens(len(order), 1, seed=step)], 1)
        own = None if memory is None else memory[rows]
        layout = _rows(memory_layout, rows)
        hidden = model.decode(history[:, -1:], memory=own, memory_layout=layout, cache=cache)
        whole = model.decode(history, memory=own, memory_layout=layout)
        torch.testing.assert_close(hidden, whole[:, -1:], **CLOSE)


@pytest.mark.parametrize("name", CAUSAL)
def test_g4_rows_with_padding_of_their_own_keep_it_when_selected(name: str) -> None:
    model, ids, lengths = build(name), tokens(3, 9), [9, 4, 6]
    memory, memory_layout = _memory(model, name, 3)
    layout, cache = Layout.padded(torch.tensor(lengths), left=True), model.new_cache()
    model.decode(ids, layout, memory=memory, memory_layout=memory_layout, cache=cache)
    chosen = torch.tensor([2, 1, 1, 0])
    cache.select(chosen)
    fresh, places = tokens(4, 1, seed=5), torch.tensor(lengths)[chosen, None]
    own, kept = (None, None) if memory is None else (memory[chosen], _rows(memory_layout, chosen))
    step = Layout(places, torch.ones_like(places))
    hidden = model.decode(fresh, step, memory=own, memory_layout=kept, cache=cache)
    for row, parent in enumerate(chosen.tolist()):
        past = ids[[parent], 9 - lengths[parent] :]
        one = None if memory is None else memory[[parent]]
        alone = model.decode(
            torch.cat([past, fresh[[row]]], 1), memory=one, memory_layout=_rows(memory_layout, torch.tensor([parent]))
        )
        torch.testing.assert_close(hidden[[row]], alone[:, -1:], **CLOSE)


@pytest.mark.parametrize("name", PAIRS)
def test_g4_keys_of_the_memory_are_computed_once(name: str) -> None:
    model = build(name)
    memory, layout = _memory(model, name, 2)
    assert model.decoder is not None
    calls: list[str] = []
    for block in model.decoder.blocks:
        block.cross_attention.branch.k_proj.register_forward_hook(lambda *_: calls.append("keys"))
    _pieces(model, tokens(2, 6), [1] * 6, (memory, layout))
    assert len(calls) == len(model.decoder.blocks)


@pytest.mark.parametrize("name", CAUSAL)
def test_g4_float32_keeps_the_argmax(name: str) -> None:
    model, ids = build(name, dtype=torch.float32), tokens(8, 64)
    memory = _memory(model, name, 8)
    whole = model.head(model.decode(ids, memory=memory[0], memory_layout=memory[1]))
    cached = model.head(_pieces(model, ids, [1] * 64, memory))
    torch.testing.assert_close(cached, whole, rtol=0.0, atol=1e-5 * max(1.0, whole.abs().max().item()))
    assert torch.equal(cached.argmax(-1), whole.argmax(-1))


def test_g4_a_fresh_cache_is_empty() -> None:
    assert Cache(3).length == 0

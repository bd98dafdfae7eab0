import itertools
import math

import pytest
import torch
from torch import Tensor

from tests.shapes import PAIRS, VOCAB, WRITERS, build, tokens
from trifold.errors import NonFiniteError
from trifold.generation.decoding import Decoding
from trifold.generation.search import Hypothesis, normalize, search
from trifold.model import Transformer

END = 2
SOURCES = [[3, 4, 5], [6, 7, 8, 9, 1], [11]]
PROMPTS = [[5, 9, 11], [7], [1, 2, 3, 4, 5]]


def _decoding(model: Transformer, name: str, rows: list[int]) -> Decoding:
    if name in PAIRS:
        return Decoding(model, [[1]] * len(rows), [SOURCES[row] for row in rows])
    return Decoding(model, [PROMPTS[row] for row in rows])


def _next(model: Transformer, name: str, row: int, ids: tuple[int, ...]) -> Tensor:
    """Log-probabilities of the next token, by a whole pass without a cache."""
    with torch.no_grad():
        memory = model.encode(torch.tensor([SOURCES[row]])) if name in PAIRS else None
        start = [1] if name in PAIRS else PROMPTS[row]
        hidden = model.decode(torch.tensor([[*start, *ids]]), memory=memory)
        return model.head(hidden[0, -1]).log_softmax(-1)


def _plain_search(model: Transformer, name: str, row: int, beams: int, limit: int, alpha: float) -> list[tuple]:
    """Beam search as in a textbook: every hypothesis by itself, every pass a whole one."""
    live, finished = [((), 0.0)], []
    for length in range(1, limit + 1):
        options = []
        for ids, total in live:
            scores = _next(model, name, row, ids)
            options += [(total + score, (*ids, token)) for token, score in enumerate(scores.tolist())]
        options.sort(key=lambda option: -option[0])
        finished += [(normalize(total, length, alpha), ids) for total, ids in options[:beams] if ids[-1] == END]
        finished = sorted(finished, key=lambda one: -one[0])[:beams]
        live = [(ids, total) for total, ids in options if ids[-1] != END][:beams]
        if len(finished) == beams and normalize(live[0][1], length, alpha) <= finished[-1][0]:
            return finished
    finished += [(normalize(total, limit, alpha), ids) for ids, total in live]
    return sorted(finished, key=lambda one: -one[0])[:beams]


def _found(model: Transformer, name: str, rows: list[int], **options: object) -> list[list[Hypothesis]]:
    limits = [options.pop("limit")] * len(rows)
    return search(_decoding(model, name, rows), limits=limits, ends={END}, **options)  # type: ignore[arg-type]


@pytest.mark.parametrize("alpha", [0.0, 0.6, 2.0])
@pytest.mark.parametrize("name", WRITERS)
def test_g4_batched_beam_search_equals_a_plain_one(name: str, alpha: float) -> None:
    model = build(name)
    with torch.no_grad():
        model.head.output.weight[END] += 0.3  # so that some texts end early, others late
    for beams in (1, 2, 4):
        made = _found(model, name, [0, 1, 2], beams=beams, limit=7, alpha=alpha)
        for row in range(3):
            wanted = _plain_search(model, name, row, beams, 7, alpha)
            assert [one.ids for one in made[row]] == [ids for _, ids in wanted]
            assert [one.score for one in made[row]] == pytest.approx([score for score, _ in wanted], abs=1e-5)
            (best, *_) = _found(model, name, [row], beams=beams, limit=7, alpha=alpha, wanted=1)[0]
            assert best.ids == made[row][0].ids  # fewer steps, the same text


def test_enough_beams_find_the_best_of_all_texts() -> None:
    model, limit = build("decoder_pre_learned"), 2
    every = []
    for ids in itertools.product(range(VOCAB), repeat=limit):
        if END not in ids[:-1]:
            totals = [_next(model, "decoder_pre_learned", 0, ids[:n])[ids[n]].item() for n in range(limit)]
            every.append((normalize(sum(totals), limit, 1.0), ids))
    first = _next(model, "decoder_pre_learned", 0, ())[END].item()
    every.append((normalize(first, 1, 1.0), (END,)))
    made = _found(model, "decoder_pre_learned", [0], beams=VOCAB, limit=limit, alpha=1.0)[0]
    best = sorted(every, reverse=True)[:VOCAB]
    assert [one.ids for one in made] == [ids for _, ids in best]


@pytest.mark.parametrize("name", WRITERS)
def test_one_beam_is_greedy_and_its_log_probabilities_add_up(name: str) -> None:
    model = build(name)
    (best,) = _found(model, name, [1], beams=1, limit=9, alpha=0.0)[0]
    ids: tuple[int, ...] = ()
    while len(ids) < 9 and END not in ids:
        ids = (*ids, int(_next(model, name, 1, ids).argmax()))
    assert best.ids == ids
    assert best.ended == (END in ids)
    for place, logprob in enumerate(best.logprobs):
        assert logprob == pytest.approx(_next(model, name, 1, ids[:place])[ids[place]].item(), abs=1e-5)
    assert math.isclose(sum(best.logprobs), best.score, abs_tol=1e-9)


def test_rows_with_limits_of_their_own_stop_there() -> None:
    model = build("decoder_rotary_window")
    decoding = _decoding(model, "decoder_rotary_window", [0, 1, 2])
    made = search(decoding, beams=3, limits=[2, 6, 4], ends=set(), alpha=0.6)
    assert [len(row[0].ids) for row in made] == [2, 6, 4]
    alone = _found(model, "decoder_rotary_window", [1], beams=3, limit=6, alpha=0.6)
    assert len(alone[0]) == 3


def test_logits_that_are_no_numbers_are_reported() -> None:
    model = build("decoder_pre_learned")
    with torch.no_grad():
        model.embedding.tokens.weight[7] = float("nan")
    with pytest.raises(NonFiniteError):
        _found(model, "decoder_pre_learned", [0, 1], beams=2, limit=3, alpha=0.6)


def test_g4_selecting_rows_with_the_same_source_leaves_the_memory_alone() -> None:
    model = build("pair_relative_rms")
    ids = tokens(4, 3)
    decoding = Decoding(model, ids[:, :1].tolist(), [SOURCES[0], SOURCES[0], SOURCES[1], SOURCES[1]])
    decoding.start()
    before = decoding.cache.slots[0].memory[0]  # type: ignore[index]
    decoding.select(torch.tensor([1, 0, 2, 2]), same_source=True)
    assert decoding.cache.slots[0].memory[0] is before  # type: ignore[index]
    got = decoding.step(ids[:, 1])
    for row, (parent, source) in enumerate([(1, 0), (0, 0), (2, 1), (2, 1)]):
        memory = model.encode(torch.tensor([SOURCES[source]]))
        whole = model.head(model.decode(torch.stack([ids[parent, 0], ids[row, 1]])[None], memory=memory)[:, -1])
        torch.testing.assert_close(got[[row]], whole, rtol=0.0, atol=1e-12)

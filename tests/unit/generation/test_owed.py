"""Each token that a source owes is written once, and none that it does not have, whatever the model thinks."""

import pytest
import torch

from tests.shapes import PAIRS, VOCAB, WRITERS, build
from trifold.generation import Generator, Sampling
from trifold.generation.owed import Owed
from trifold.text import Tokenizer, train_tokenizer

NEVER = float("-inf")
CPU = torch.device("cpu")
ENDS = [*range(5), *range(12, 20)]  # likely


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    return train_tokenizer(["abcdefghijklmnopqrst "], kind="character", vocab_size=VOCAB, num_sentinels=3)


def rows_of(tokenizer: Tokenizer) -> tuple[list[int], list[list[int]]]:
    kind = list(tokenizer.special.sentinels)
    letters = tokenizer.encode("abcdefgh").ids.tolist()
    return kind, [
        [letters[0], kind[1], letters[1], kind[0]],
        letters,
        [kind[2], letters[3]],
        [letters[2], letters[3], *kind],
        [letters[5]],
    ]


@pytest.mark.parametrize("beams", [1, 2, 5])
@pytest.mark.parametrize("name", WRITERS)
def test_each_is_written_once_alone_and_in_a_batch(name, beams, tokenizer):
    kind, rows = rows_of(tokenizer)
    generator = Generator(build(name), tokenizer, start=1, ends=ENDS, carried=kind)
    sampling = Sampling(temperature=0.0, max_tokens=12, beams=beams)
    written = generator.generate(rows, sampling)
    for row, text in zip(rows, written, strict=True):
        assert sorted(token for token in text.ids if token in kind) == sorted(token for token in row if token in kind)
        assert generator.generate([row], sampling)[0].ids == text.ids


@pytest.mark.parametrize("beams", [1, 4])
def test_where_there_is_no_room_for_more_they_are_all_that_is_written(beams, tokenizer):
    kind, rows = rows_of(tokenizer)
    generator = Generator(build(PAIRS[0]), tokenizer, start=1, ends=(), carried=kind)
    texts = generator.generate([rows[3]], Sampling(temperature=0.0, max_tokens=3, beams=beams))
    assert sorted(texts[0].ids) == sorted(kind)


def test_random_draws_hold_to_it_too(tokenizer):
    kind, rows = rows_of(tokenizer)
    generator = Generator(build(PAIRS[0]), tokenizer, start=1, ends=ENDS, carried=kind)
    for seed in range(20):
        texts = generator.generate(rows, Sampling(temperature=2.0, max_tokens=12, seed=seed))
        for row, text in zip(rows, texts, strict=True):
            assert sorted(token for token in text.ids if token in kind) == sorted(
                token for token in row if token in kind
            )


def test_the_end_gives_its_place_to_the_likeliest_that_is_owed():
    owed = Owed([3, 4, 5], [[3, 4], [9], [5]], [2], [9, 9, 9], CPU)
    logits = torch.tensor([[0.0, 1.0, 5.0, -2.0, -1.0, 9.0]] * 3)
    owed.settle(logits)
    assert logits[0].tolist() == [0.0, 1.0, NEVER, -2.0, 5.0, NEVER]  # 5 is not in this source
    assert logits[1].tolist() == [0.0, 1.0, 5.0, NEVER, NEVER, NEVER]
    assert logits[2].tolist() == [0.0, 1.0, NEVER, NEVER, NEVER, 9.0]  # it would not have ended


def test_what_was_written_is_owed_no_more_and_beams_take_their_debts_along():
    owed = Owed([3, 4], [[3, 4], [4]], [2], [9, 9], CPU)
    owed.write(torch.tensor([3, 0]))
    owed.keep(torch.tensor([1, 0, 0]))
    logits = torch.zeros(3, 5)
    owed.settle(logits)
    assert (logits == 0).tolist() == [[True, True, False, False, True]] * 3
    owed.write(torch.tensor([4, 4, 0]))
    logits = torch.zeros(3, 5)
    owed.settle(logits)
    assert (logits == 0)[:, 2].tolist() == [True, True, False]

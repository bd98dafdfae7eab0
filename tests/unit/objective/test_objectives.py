"""What each objective makes of text, in exact numbers, and packed = alone for all of them."""

import numpy as np
import pytest
import torch

from trifold.batch import IGNORED
from trifold.data.packing import Room, assemble
from trifold.errors import ConfigError
from trifold.example import Piece, TrainingExample
from trifold.objective import build_objective, config
from trifold.objective.denoising import count_spans, draw_spans
from trifold.objective.masked import choose_words
from trifold.presets import build_config
from trifold.presets.pretrained import Transformer
from trifold.text import Tokenizer, train_tokenizer

TOKENIZER = train_tokenizer(["abcdefghijklmnopqrstuvwxyz "], kind="character", vocab_size=256, num_sentinels=20)
SPECIAL = TOKENIZER.special
OBJECTIVES = {
    "causal": ("gpt2", config.Causal()),
    "masked": ("bert", config.Masked()),
    "whole_word": ("modernbert", config.Masked(whole_word=True)),
    "denoising": ("t5", config.Denoising()),
    "infilling": ("bart", config.Infilling()),
    "pairs": ("vaswani", config.SequenceToSequence()),
    "prefix": ("llama", config.Prefix()),
    "prefix_pair": ("t5", config.Prefix()),
    "mixture": ("t5", config.Mixture(parts=(config.Denoising(), config.Prefix()), weights=(1.0, 2.0))),
}


def build(name: str):
    family, wanted = OBJECTIVES[name]
    shape = build_config(family, size="tiny", overrides={"vocab_size": TOKENIZER.vocab_size, "dropout": 0.0})
    return shape, build_objective(wanted, TOKENIZER, shape)


def make_piece(length: int, seed: int = 0, previous: int | None = None) -> Piece:
    dice = np.random.default_rng(seed)
    ids = dice.integers(SPECIAL.all_ids[-1] + 1, TOKENIZER.vocab_size, length)
    starts = np.concatenate([[True], dice.random(length - 1) < 0.4])
    target = dice.integers(SPECIAL.all_ids[-1] + 1, TOKENIZER.vocab_size, max(length // 2, 1))
    return Piece(ids, previous, starts, target)


def prepare(objective, length: int, seed: int = 0) -> TrainingExample:
    (example,) = objective.prepare(make_piece(length, seed), np.random.default_rng(seed))
    return example


def test_causal_predicts_the_next_token_from_the_start_on():
    _, objective = build("causal")
    (first,) = objective.prepare(make_piece(5), np.random.default_rng(0))
    assert first.target[0] == SPECIAL.bos and (first.target[1:] == first.labels[:-1]).all()
    (later,) = objective.prepare(make_piece(5, previous=77), np.random.default_rng(0))
    assert later.target[0] == 77
    assert objective.suffix == (SPECIAL.eos,)


def test_masked_hides_fifteen_per_cent_eighty_ten_ten_and_never_a_special_token():
    _, objective = build("masked")
    masked = kept = replaced = total = 0
    for seed in range(300):
        piece = make_piece(100, seed)
        (example,) = objective.prepare(piece, np.random.default_rng(seed))
        places = np.flatnonzero(example.labels != IGNORED)
        assert len(places) == 15 and (example.labels[places] == piece.ids[places - 1]).all()
        assert example.source[0] == SPECIAL.cls and example.source[-1] == SPECIAL.sep
        assert 0 not in places and 101 not in places
        shown = example.source[places]
        masked += (shown == SPECIAL.mask).sum()
        kept += (shown == example.labels[places]).sum()
        others = shown[(shown != SPECIAL.mask) & (shown != example.labels[places])]
        assert not set(others.tolist()) & set(SPECIAL.all_ids)
        replaced, total = replaced + len(others), total + 15
        untouched = np.setdiff1d(np.arange(1, 101), places)
        assert (example.source[untouched] == piece.ids[untouched - 1]).all()
    assert masked / total == pytest.approx(0.8, abs=0.02)
    assert replaced / total == pytest.approx(0.1, abs=0.02)  # of which one in 27 is drawn as itself
    assert kept / total == pytest.approx(0.1, abs=0.02)


def test_whole_words_are_hidden_whole():
    for seed in range(50):
        piece = make_piece(60, seed)
        chosen = set(choose_words(60, 0.2, piece.word_starts, np.random.default_rng(seed)).tolist())
        words = np.cumsum(piece.word_starts)
        for word in {words[place] for place in chosen}:
            assert set(np.flatnonzero(words == word).tolist()) <= chosen
        assert 1 <= len(chosen) <= 12


@pytest.mark.parametrize("length", [2, 3, 7, 20, 100, 333])
def test_denoising_can_be_undone_and_its_lengths_are_foretold(length):
    _, objective = build("denoising")
    for seed in range(20):
        piece = make_piece(length, seed)
        (example,) = objective.prepare(piece, np.random.default_rng(seed))
        assert (example.source_length, example.target_length) == objective._lengths(length)
        assert example.target[0] == SPECIAL.pad and (example.target[1:] == example.labels[:-1]).all()
        spans, current = {}, None
        for token in example.labels[:-1].tolist():
            if token in SPECIAL.sentinels:
                current = spans.setdefault(token, [])
            else:
                current.append(token)
        restored = [t for s in example.source[:-1].tolist() for t in (spans[s] if s in SPECIAL.sentinels else [s])]
        assert restored == piece.ids.tolist()
        assert list(spans) == list(SPECIAL.sentinels[: len(spans)]) and spans[list(spans)[-1]] == []


def test_spans_have_the_asked_rate_and_mean_and_never_touch():
    wanted = config.Denoising()
    hidden, spans = count_spans(512, wanted, 100)
    assert (hidden, spans) == (77, 26)
    begins, ends = draw_spans(512, wanted, 100, np.random.default_rng(0))
    assert (ends - begins).sum() == 77 and len(begins) == 26
    assert (begins[1:] > ends[:-1]).all() and begins[0] > 0


def test_a_full_piece_fills_its_row():
    for name in ("causal", "masked", "denoising"):
        _, objective = build(name)
        for length in (16, 64, 255):
            example = prepare(objective, objective.piece_length(length))
            main = example.target_length if name == "causal" else example.source_length
            assert length - 1 <= main <= length


def test_prefix_is_seen_whole_and_predicts_only_the_rest():
    _, objective = build("prefix")
    example = prepare(objective, 40)
    assert 10 <= example.prefix <= 30
    assert (example.labels[: example.prefix - 1] == IGNORED).all() and (
        example.labels[example.prefix - 1 :] != IGNORED
    ).all()


@pytest.mark.parametrize("name", OBJECTIVES)
def test_g3_packed_is_alone_in_loss_and_gradients(name):
    shape, objective = build(name)
    torch.manual_seed(0)
    model = Transformer(shape).double()
    examples = [prepare(objective, length, seed) for seed, length in enumerate((9, 14, 5, 11))]
    room = Room(
        source=48 if shape.encoder is not None else 0,
        target=48 if shape.decoder is not None else 0,
    )

    def measure(rows):
        model.zero_grad()
        total, count = 0.0, 0
        for row in rows:
            loss = objective.loss(model, assemble([row], room, pad=SPECIAL.pad))
            loss.sum.backward()
            total, count = total + loss.sum.item(), count + loss.weight
        return total, count, [weight.grad.clone() for weight in model.parameters() if weight.grad is not None]

    packed, alone = measure([examples]), measure([[one] for one in examples])
    assert packed[1] == alone[1]
    assert packed[0] == pytest.approx(alone[0], abs=1e-10)
    for one, other in zip(packed[2], alone[2], strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=1e-11)


def small(**changes) -> Tokenizer:
    made = train_tokenizer(["abc"], kind="character", vocab_size=64, num_sentinels=changes.pop("sentinels", 0))
    return Tokenizer(made.backend, kind=made.kind, roles={**made.roles, **changes})


def test_b6_what_cannot_be_trained_is_refused_before_the_first_step():
    def attempt(family, wanted, tokenizer, **overrides):
        shape = build_config(family, size="tiny", overrides={"vocab_size": tokenizer.vocab_size, **overrides})
        return build_objective(wanted, tokenizer, shape)

    with pytest.raises(ConfigError, match="7"):
        attempt("gpt2", config.Causal(), small(), vocab_size=7)
    with pytest.raises(ConfigError, match="mask"):
        attempt("bert", config.Masked(), small(mask="nobody"))
    with pytest.raises(ConfigError, match="sentinel"):
        attempt("t5", config.Denoising(), small())
    with pytest.raises(ConfigError, match="padding"):
        attempt("gpt2", config.Causal(), small(pad="</s>"))
    for family, wanted in (("bert", config.Causal()), ("gpt2", config.Masked()), ("llama", config.Denoising())):
        with pytest.raises(ConfigError, match="needs a model"):
            attempt(family, wanted, small(sentinels=4))

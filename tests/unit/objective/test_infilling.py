"""BART's denoising: the labels are the text, three tenths are hidden in spans after Poisson, sentences change places."""

import numpy as np
import pytest

from trifold.errors import ConfigError
from trifold.example import Piece
from trifold.objective import build_objective, config
from trifold.objective.infilling import Sentences, draw_span_lengths, fill_in
from trifold.presets import build_config
from trifold.text import train_tokenizer
from trifold.text.framing import Framing
from trifold.training import ModelChoice
from trifold.training.prepare import usual_objective

ENGLISH = 'He came. "Why?" she said. It was 3! No end'
CHINESE = "他来了。她问：“为什么？”是三！没完"
TOKENIZER = train_tokenizer([ENGLISH, CHINESE], kind="character", vocab_size=120, num_sentinels=4)
SPECIAL = TOKENIZER.special


def build(wanted: config.Infilling, tokenizer=TOKENIZER):
    shape = build_config("bart", size="tiny", overrides={"vocab_size": tokenizer.vocab_size})
    return build_objective(wanted, tokenizer, shape)


def ids_of(length: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(SPECIAL.all_ids[-1] + 1, TOKENIZER.vocab_size, length)


@pytest.mark.parametrize("length", [2, 3, 7, 40, 200])
def test_the_labels_are_the_document_and_what_is_not_hidden_stands_in_the_source(length):
    wanted = config.Infilling(permuted=0.0)
    objective = build(wanted)
    for seed in range(20):
        ids = ids_of(length, seed)
        (example,) = objective.prepare(Piece(ids), np.random.default_rng(seed))
        assert example.labels.tolist() == [*ids.tolist(), SPECIAL.eos]
        assert example.target.tolist() == [SPECIAL.eos, *ids.tolist()]
        source = example.source[:-1].tolist()
        assert example.source[-1] == SPECIAL.eos and len(source) <= length
        kept = [token for token in source if token != SPECIAL.mask]
        assert len(kept) == length - min(max(round(0.3 * length), 1), length)
        rest = iter(ids.tolist())
        assert all(token in rest for token in kept), "in their order"
        again = objective.prepare(Piece(ids), np.random.default_rng(seed))[0]
        assert again.source.tolist() == example.source.tolist()
    assert objective.prepare(Piece(ids[:1]), np.random.default_rng(0)) == []
    assert objective.piece_length(length) == max(length - 1, 1) and objective.target_length(length) == length


def test_spans_are_as_long_as_poisson_says_and_some_are_empty():
    lengths = np.concatenate([draw_span_lengths(3000, 3.0, np.random.default_rng(seed))[:-1] for seed in range(20)])
    assert lengths.mean() == pytest.approx(3.0, abs=0.05) and lengths.var() == pytest.approx(3.0, abs=0.15)
    assert (lengths == 0).mean() == pytest.approx(np.exp(-3), abs=0.005)
    for hidden in (1, 2, 5):
        assert all(draw_span_lengths(hidden, 3.0, np.random.default_rng(n)).sum() == hidden for n in range(50))


def test_every_place_but_the_outermost_is_hidden_as_often():
    wanted, seen = config.Infilling(rate=0.2), np.zeros(100)
    for seed in range(1000):
        filled = fill_in(np.arange(1, 101), wanted, 0, np.random.default_rng(seed))
        seen[filled[filled > 0] - 1] += 1
        assert (filled > 0).sum() == 80
    assert seen[8:-8].min() > 740 and seen[8:-8].max() < 860


@pytest.mark.parametrize("text", [ENGLISH, CHINESE], ids=["English", "Chinese"])
def test_sentences_end_at_stops_of_both_languages_and_keep_what_closes_them(text):
    parts = [TOKENIZER.decode(part).strip() for part in Sentences(TOKENIZER).cut(TOKENIZER.encode(text).ids)]
    english = ["He came.", '"Why?"', "she said.", "It was 3!", "No end"]
    assert parts == (english if text == ENGLISH else ["他来了。", "她问：“为什么？”", "是三！", "没完"])


@pytest.mark.parametrize("kind", ["byte_bpe", "bpe", "unigram", "wordpiece"])
def test_every_kind_of_tokenizer_has_ends(kind):
    tokenizer = train_tokenizer([ENGLISH, CHINESE] * 20, kind=kind, vocab_size=420)
    for text, count in (("He came. She said. It was!", 3), ("他来了。是三！没完", 3)):
        parts = Sentences(tokenizer).cut(tokenizer.encode(text).ids)
        assert len(parts) == count and np.array_equal(np.concatenate(parts), tokenizer.encode(text).ids)


def test_a_mark_that_takes_several_tokens_ends_a_sentence_too():
    tokenizer = train_tokenizer(["only English. Here it is."] * 20, kind="byte_bpe", vocab_size=320)
    ids = tokenizer.encode("他来了。她来了！").ids
    assert len(tokenizer.encode("。").ids) > 1
    assert [tokenizer.decode(part) for part in Sentences(tokenizer).cut(ids)] == ["他来了。", "她来了！"]


def test_sentences_change_places_and_none_is_lost():
    sentences, ids = Sentences(TOKENIZER), TOKENIZER.encode(" ".join(f"{letter}." for letter in "HecamWhysidItw")).ids
    parts = [part.tolist() for part in sentences.cut(ids)]
    assert len(parts) == 14
    moved = []
    for seed in range(40):
        for share in (0.0, 0.5, 1.0):
            made = sentences.shuffle(ids, share, np.random.default_rng(seed))
            found = [part.tolist() for part in sentences.cut(made)]
            assert sorted(found) == sorted(parts)
            changed = sum(one != other for one, other in zip(found, parts, strict=True))
            assert changed <= round(14 * share)
            moved.append((share, changed))
    assert np.mean([changed for share, changed in moved if share == 1.0]) == pytest.approx(13, abs=0.7)


def test_what_stands_around_a_text_stands_around_both_sides():
    framed = TOKENIZER.framed(Framing(first=(SPECIAL.bos,), last=(SPECIAL.eos,)))
    (example,) = build(config.Infilling(), framed).prepare(Piece(ids_of(20)), np.random.default_rng(0))
    for side in (example.source, example.labels):
        assert (side[0], side[-1]) == (SPECIAL.bos, SPECIAL.eos)
    assert example.target[:2].tolist() == [SPECIAL.eos, SPECIAL.bos]


def test_a_tokenizer_without_a_mask_is_refused():
    bare = TOKENIZER.changed(roles={role: text for role, text in TOKENIZER.roles.items() if role != "mask"})
    with pytest.raises(ConfigError, match="mask"):
        build(config.Infilling(), bare)


@pytest.mark.parametrize("preset", ["bart", "mbart"])
def test_its_family_trains_it_unless_there_are_pairs(preset):
    assert usual_objective(ModelChoice(preset=preset)) == config.Infilling()
    assert usual_objective(ModelChoice(preset=preset), paired=True) == config.SequenceToSequence()

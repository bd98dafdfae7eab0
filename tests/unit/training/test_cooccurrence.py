"""Vectors that are counted: pairs by hand, what they mean, and that the model starts from the frequencies."""

import math

import numpy as np
import pytest
import torch

from trifold.presets.pretrained import Transformer
from trifold.training.cooccurrence import count_pairs, embed_by_cooccurrence, token_vectors


class Store:
    """A corpus in memory, as far as counting asks."""

    def __init__(self, documents):
        self.documents = documents
        self.num_documents = len(documents)
        self.num_tokens = sum(map(len, documents))

    def document(self, index):
        return self.documents[index]


def slow_pairs(pieces, size):
    table = torch.zeros(size, size)
    for ids in pieces:
        for i, one in enumerate(ids):
            for j, other in enumerate(ids):
                if i != j and abs(i - j) <= 5:
                    table[one, other] += 1 / abs(i - j)
    return table


def test_pairs_are_counted_as_by_hand_and_never_across_documents():
    generator = np.random.default_rng(0)
    pieces = [generator.integers(0, 9, size) for size in (1, 3, 20, 7, 0, 2)]
    torch.testing.assert_close(count_pairs(pieces, 9).to_dense(), slow_pairs(pieces, 9))


def animals_and_tools():
    """Words 0-3 and 4-7 each keep company with words of their own, never with one another."""
    generator = np.random.default_rng(1)
    documents = []
    for _ in range(600):
        kind = generator.integers(2)
        words = np.array([generator.integers(4) + 4 * kind, generator.integers(6) + 8 + 6 * kind])
        documents.append(generator.permutation(words))
    return documents


def test_words_of_like_company_get_like_vectors():
    vectors = torch.nn.functional.normalize(token_vectors(count_pairs(animals_and_tools(), 20), 4)[:8], dim=1)
    likeness = vectors @ vectors.t()
    assert likeness[:4, :4].min() > 0.9
    assert likeness[:4, 4:].abs().max() < 0.1


def test_vectors_give_back_the_information_they_were_made_from():
    pieces = [np.random.default_rng(2).integers(0, 12, 400)]
    vectors = token_vectors(count_pairs(pieces, 12), 12)
    found = slow_pairs(pieces, 12)
    smooth = found.sum(1) ** 0.75
    chance = (smooth / smooth.sum()).log()
    wanted = ((found / found.sum()).log() - chance[:, None] - chance[None]).clamp(min=0)
    values = torch.linalg.eigvalsh(wanted)
    torch.testing.assert_close((vectors.t() @ vectors).trace(), values.abs().sum(), rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("preset", ["bert", "modernbert", "gpt2", "llama", "t5", "vaswani"])
def test_every_family_starts_with_small_logits_and_the_frequencies(preset):
    torch.manual_seed(0)
    overrides = {"num_layers": 2, "d_model": 32, "num_heads": 2, "vocab_size": 40}
    overrides |= {"num_kv_heads": 1} if preset == "llama" else {}
    overrides |= {"head_size": 16} if preset == "t5" else {}
    model = Transformer.from_preset(preset, size="tiny", **overrides).eval()
    before = model.embedding.tokens.weight.clone()
    documents = animals_and_tools()
    assert embed_by_cooccurrence(model, [Store(documents[:300]), Store(documents[300:])]) == 1200
    table = model.embedding.tokens.weight
    seen = torch.nn.functional.normalize(table[:8], dim=1)
    assert (seen[0] @ seen[1]) > 0.6
    assert (seen[0] @ seen[5]).abs() < 0.2
    free = preset in ("bert", "modernbert", "gpt2", "llama")
    assert table[20:].std().item() == pytest.approx(
        before[20:].std().item() * (0.3 / before.std().item() if free else 1)
    )
    if model.head.output.bias is not None and model.config.decoder is None:
        ids = torch.randint(0, 20, (4, 10))
        loss = model.head(model.encode(ids)).log_softmax(-1)[..., :20].mean()
        assert -loss.item() < math.log(20) + 1, "no surer than the frequencies are"


def test_a_text_that_says_one_thing_over_and_over_leaves_the_random_vectors(recwarn):
    model = Transformer.from_preset("bert", size="tiny", vocab_size=32, num_layers=1)
    assert embed_by_cooccurrence(model, [Store([np.full(64, 5)])]) == 64
    assert torch.isfinite(model.embedding.tokens.weight).all()
    assert not recwarn.list

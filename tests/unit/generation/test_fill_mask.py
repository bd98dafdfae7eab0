import pytest
import torch

from tests.shapes import LONGEST, VOCAB, build
from trifold.errors import UsageError
from trifold.generation import fill_mask
from trifold.presets.pretrained import Transformer as Pretrained
from trifold.text import Tokenizer, train_tokenizer


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    return train_tokenizer(["abcdefghijklmnopqrst "], kind="character", vocab_size=VOCAB, num_sentinels=3)


@pytest.mark.parametrize("name", ["encoder_post_learned", "encoder_rotary_local_global"])
@pytest.mark.parametrize("spelling", ["[MASK]", "<mask>"])
def test_candidates_are_the_most_probable_tokens_at_each_mask(name: str, spelling: str, tokenizer: Tokenizer) -> None:
    model, special = build(name, dtype=torch.float32), tokenizer.special
    found = fill_mask(model.train(), tokenizer, f"ab{spelling}d {spelling}", top_k=4)
    assert model.training
    read = [*tokenizer.encode("ab").ids, special.mask, *tokenizer.encode("d ").ids, special.mask]
    with torch.no_grad():
        wanted = (
            model.eval().head(model.encode(torch.tensor([[special.bos, *read, special.eos]])))[0, [3, 6]].softmax(-1)
        )
    assert len(found) == 2
    for candidates, probability in zip(found, wanted, strict=True):
        values, ids = probability.topk(4)
        assert [one.id for one in candidates] == ids.tolist()
        assert [one.probability for one in candidates] == pytest.approx(values.tolist(), rel=1e-4)
        assert [one.token for one in candidates] == [tokenizer.spell(i) for i in ids.tolist()]


def test_what_cannot_be_filled_is_said(tokenizer: Tokenizer) -> None:
    model = build("encoder_post_learned")
    with pytest.raises(UsageError, match=r"contains no \[MASK\]"):
        fill_mask(model, tokenizer, "abc")
    with pytest.raises(UsageError, match=f"{LONGEST + 2} tokens"):
        fill_mask(model, tokenizer, "a" * (LONGEST - 1) + "[MASK]")
    with pytest.raises(UsageError, match="has a decoder"):
        fill_mask(build("pair_relative_rms"), tokenizer, "a[MASK]")


def test_each_candidate_can_be_shown_also_a_byte_of_a_character() -> None:
    bytes_too = train_tokenizer(["to be or not"], kind="byte_bpe", vocab_size=300)
    model = Pretrained.from_preset("bert", size="tiny", vocab_size=bytes_too.vocab_size, num_layers=1)
    (candidates,) = fill_mask(model, bytes_too, "to [MASK]", top_k=bytes_too.vocab_size)
    shown = [one.token for one in candidates]
    assert {"<0xE4>", "<0xFF>"} <= set(shown)
    assert all(shown) and not any("\ufffd" in token for token in shown)

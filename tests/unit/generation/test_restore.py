import pytest
import torch
import torch.nn.functional as F

from tests.shapes import VOCAB, build
from trifold.errors import UsageError
from trifold.generation import Generator, Restoration, Sampling, restore_spans
from trifold.text import Tokenizer, train_tokenizer

CASES = {
    "ab<extra_id_0>d": ("<extra_id_0>ccc<extra_id_1>", "abcccd", ("ccc",)),
    "<extra_id_0>fg<extra_id_1>": ("<extra_id_0>e<extra_id_1>hi<extra_id_2>", "efghi", ("e", "hi")),
    "k<extra_id_1>l<extra_id_0>": ("<extra_id_1>mm", "kmml", ("mm", None)),
}


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    return train_tokenizer(["abcdefghijklmnopqrst "], kind="character", vocab_size=VOCAB, num_sentinels=3)


@pytest.fixture(scope="module")
def generator(tokenizer: Tokenizer) -> Generator:
    """A small encoder-decoder that has learnt the answers by heart."""
    model, special = build("pair_relative_rms", dtype=torch.float32), tokenizer.special
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.01)
    for _ in range(80):
        for text, (answer, *_) in CASES.items():
            source = torch.tensor([[*tokenizer.encode(text).ids, special.eos]])
            target = torch.tensor([[special.pad, *tokenizer.encode(answer).ids, special.eos]])
            logits = model.head(model.decode(target[:, :-1], memory=model.encode(source)))
            optimizer.zero_grad()
            F.cross_entropy(logits[0], target[0, 1:]).backward()
            optimizer.step()
    return Generator(model, tokenizer)


@pytest.mark.parametrize("text", CASES)
@pytest.mark.parametrize("sampling", [None, Sampling(beams=3)])
def test_spans_go_where_their_sentinels_stand(text: str, sampling: Sampling | None, generator: Generator) -> None:
    _, whole, spans = CASES[text]
    assert restore_spans(generator, text, sampling) == Restoration(whole, spans)


def test_what_cannot_be_restored_is_said(generator: Generator, tokenizer: Tokenizer) -> None:
    with pytest.raises(UsageError, match="has 3 of them"):
        restore_spans(generator, "abc")
    with pytest.raises(UsageError, match="no encoder"):
        restore_spans(Generator(build("decoder_pre_learned"), tokenizer), "a<extra_id_0>")

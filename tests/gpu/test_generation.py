"""Writing on the device: the tokens of the CPU, greedy, drawn and searched, alone and in a batch, and in fewer bits."""

import pytest
import torch

from tests.shapes import VOCAB, WRITERS, build
from trifold.generation import Generator, Sampling, lower_precision
from trifold.text import Tokenizer, train_tokenizer

PROMPTS = ["abc", "hello and on", "a", "one line", "the quick", "dd"]
WAYS = {
    "greedy": Sampling(temperature=0.0, max_tokens=16),
    "greedy without repeats": Sampling(temperature=0.0, max_tokens=16, no_repeat_ngram=2, repetition_penalty=1.3),
    "drawn": Sampling(temperature=0.8, top_k=9, top_p=0.9, min_p=0.01, max_tokens=16, seed=3),
    "searched": Sampling(beams=3, max_tokens=12),
}


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    return train_tokenizer(["abcdefghijklmnopqrst "], kind="character", vocab_size=VOCAB, num_sentinels=3)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("name", WRITERS)
def test_tokens_are_those_of_the_cpu_also_in_a_batch(name, way, tokenizer, device):
    here, there = (Generator(build(name).to(place), tokenizer) for place in ("cpu", device))
    wanted = here.generate(PROMPTS, WAYS[way])
    found = there.generate(PROMPTS, WAYS[way])
    assert [one.ids for one in found] == [one.ids for one in wanted]
    assert [one.logprobs for one in found] == [pytest.approx(one.logprobs, abs=1e-5) for one in wanted]
    (alone,) = there.generate(PROMPTS[1], WAYS[way])
    assert alone.ids == found[1].ids


@pytest.mark.parametrize("name", WRITERS)
def test_a_stream_is_what_is_generated_and_scores_have_gradients(name, tokenizer, device):
    generator = Generator(build(name).to(device), tokenizer)
    (made,) = generator.generate("one line", WAYS["drawn"])
    assert "".join(generator.stream("one line", WAYS["drawn"])) == made.text
    scored = generator.logprobs(generator.encode("one line", 1), [1, 2, 3])
    scored.sum().backward()
    grad = generator.model.embedding.tokens.weight.grad
    assert scored.device == device and grad is not None and grad.isfinite().all()


@pytest.mark.parametrize("precision", ["bfloat16", "int8"])
@pytest.mark.parametrize("decoding", [False, True])
def test_fewer_bits_write_as_on_the_cpu_nearly(precision, decoding, tokenizer, device):
    prompts, greedy = ["abc", "one line"], Sampling(temperature=0.0, max_tokens=1)
    exact = Generator(build("decoder_rotary_whole", dtype=torch.float32), tokenizer).generate(prompts, greedy)
    model = build("decoder_rotary_whole", dtype=torch.float32).to(device)
    lean = Generator(lower_precision(model, precision, decoding=decoding), tokenizer).generate(prompts, greedy)
    for one, other in zip(lean, exact, strict=True):
        assert one.logprobs == pytest.approx(other.logprobs, abs=0.3)

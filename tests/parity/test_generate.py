"""Generation beside transformers' on the same tiny random models."""

import pytest
import torch
from transformers import (
    LogitsProcessorList,
    MinPLogitsWarper,
    RepetitionPenaltyLogitsProcessor,
    TemperatureLogitsWarper,
    TopKLogitsWarper,
    TopPLogitsWarper,
)

from trifold.generation import Sampling
from trifold.generation.sampling import Sampler, penalize


@pytest.mark.parametrize(
    "sampling",
    [
        Sampling(temperature=0.6),
        Sampling(top_k=7),
        Sampling(top_p=0.85),
        Sampling(min_p=0.05),
        Sampling(repetition_penalty=1.5),
        Sampling(temperature=1.5, top_k=40, top_p=0.95, min_p=0.03, repetition_penalty=1.1),
    ],
)
def test_g7_filters_equal_those_of_transformers(sampling: Sampling) -> None:
    generator = torch.Generator().manual_seed(0)
    logits, ids = 4 * torch.randn(64, 500, generator=generator), torch.randint(500, (64, 30), generator=generator)
    theirs = LogitsProcessorList([RepetitionPenaltyLogitsProcessor(sampling.repetition_penalty)])
    theirs += [TemperatureLogitsWarper(sampling.temperature), TopKLogitsWarper(sampling.top_k or 500)]
    theirs += [TopPLogitsWarper(sampling.top_p), MinPLogitsWarper(sampling.min_p)]
    sampler = Sampler(sampling, ids.tolist(), [0] * 64, vocab_size=500)
    ours = logits if sampler.seen is None else penalize(logits, sampler.seen, sampling.repetition_penalty)
    made = sampler._filter(ours).softmax(-1)
    torch.testing.assert_close(made, theirs(ids, logits.clone()).softmax(-1), rtol=1e-5, atol=1e-7)

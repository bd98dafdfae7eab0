import numpy as np
import pytest
import torch
from scipy import stats

from trifold.config import from_json
from trifold.errors import ConfigError
from trifold.generation import Sampling
from trifold.generation.sampling import Sampler, draw, keep_min_p, keep_top_k, keep_top_p, penalize, warm

GENERATOR = torch.Generator().manual_seed(5)
DRAWS = 100_000


def _logits(rows: int, vocab: int) -> torch.Tensor:
    return 3 * torch.randn(rows, vocab, generator=GENERATOR)


def _brute_force(row: list[float], sampling: Sampling, seen: set[int]) -> np.ndarray:
    """The distribution that the options describe, by their definitions, token by token in Python floats."""
    scores = dict(enumerate(row))
    for token in seen:
        scores[token] *= sampling.repetition_penalty if scores[token] < 0 else 1 / sampling.repetition_penalty
    weights = {token: np.exp(np.float64(score) / sampling.temperature) for token, score in scores.items()}
    ranked = sorted(weights, key=lambda token: -weights[token])
    ranked = ranked[: sampling.top_k or len(ranked)]
    total, mass, nucleus = sum(weights[token] for token in ranked), 0.0, []
    for token in ranked:
        if mass < sampling.top_p:
            nucleus.append(token)
        mass += weights[token] / total
    kept = [token for token in nucleus if weights[token] >= sampling.min_p * weights[nucleus[0]]]
    out = np.zeros(len(row))
    for token in kept:
        out[token] = weights[token] / sum(weights[other] for other in kept)
    return out


OPTIONS = [
    Sampling(),
    Sampling(temperature=0.7),
    Sampling(temperature=1.9, top_k=5),
    Sampling(top_p=0.8),
    Sampling(min_p=0.1),
    Sampling(repetition_penalty=1.7),
    Sampling(repetition_penalty=0.6, temperature=1.3),
    Sampling(temperature=1.4, top_k=9, top_p=0.9, min_p=0.02, repetition_penalty=1.3),
]


@pytest.mark.parametrize("sampling", OPTIONS)
def test_g10_filters_give_the_distribution_of_their_definitions(sampling: Sampling) -> None:
    logits, prompts = _logits(40, 23), [[0, 5, 5, row % 23] for row in range(40)]
    sampler = Sampler(sampling, prompts, [0] * 40, vocab_size=23)
    shaped = penalize(logits, sampler.seen, sampling.repetition_penalty) if sampler.seen is not None else logits
    made = sampler._filter(shaped).softmax(-1).double().numpy()
    for row, got in enumerate(made):
        wanted = _brute_force(logits[row].tolist(), sampling, set(prompts[row]) if sampler.seen is not None else set())
        np.testing.assert_allclose(got, wanted, rtol=1e-4, atol=1e-7)
        assert np.array_equal(got > 0, wanted > 0)


@pytest.mark.parametrize("sampling", OPTIONS)
def test_g10_draws_follow_the_distribution_and_never_give_an_impossible_token(sampling: Sampling) -> None:
    row = _logits(1, 17)
    sampler = Sampler(sampling, [[3]], [11], vocab_size=17)
    shaped = penalize(row, sampler.seen, sampling.repetition_penalty) if sampler.seen is not None else row
    kept = sampler._filter(shaped)
    uniform = torch.from_numpy(np.random.default_rng(1).random(DRAWS))
    counts = torch.bincount(draw(kept.expand(DRAWS, -1), uniform), minlength=17).numpy()
    expected = kept.softmax(-1)[0].double().numpy() * DRAWS
    assert counts[expected == 0].sum() == 0
    common = expected > 5
    observed, wanted = counts[common], expected[common]
    if common.sum() > 1:
        wanted = wanted * observed.sum() / wanted.sum()
        assert stats.chisquare(observed, wanted).pvalue > 1e-3


@pytest.mark.parametrize("uniform", [0.0, 0.5, 1 - 2**-53])
def test_g10_the_ends_of_the_unit_interval_meet_possible_tokens(uniform: float) -> None:
    infinite = float("-inf")
    logits = torch.tensor([[infinite, 0.1, infinite, 2.0, infinite], [0.0, infinite, infinite, infinite, -80.0]])
    tokens = draw(logits, torch.full((2,), uniform, dtype=torch.float64))
    assert torch.all(logits.gather(1, tokens[:, None]).isfinite())
    wide = torch.full((1, 50_000), infinite)
    wide[0, 100:40_000] = torch.randn(39_900, generator=GENERATOR)
    assert 100 <= draw(wide, torch.tensor([uniform])).item() < 40_000


@pytest.mark.parametrize("p", [0.05, 0.5, 0.9, 0.999999])
@pytest.mark.parametrize("spread", [0.0, 0.5, 6.0], ids=["flat", "wide", "peaked"])
def test_g10_top_p_of_a_large_vocabulary_is_the_smallest_sufficient_set(p: float, spread: float) -> None:
    logits = spread * torch.randn(3, 4000, generator=GENERATOR)
    kept = keep_top_p(logits, p).isfinite()
    share = logits.double().softmax(-1)
    for row in range(3):
        inside = share[row][kept[row]]
        assert inside.sum() >= p - 1e-5
        assert inside.sum() - inside.min() < p + 1e-5
        assert not (~kept[row]).any() or share[row][~kept[row]].max() <= inside.min() + 1e-12


def test_filters_keep_at_least_one_token_at_their_strictest() -> None:
    logits = _logits(4, 9)
    for filtered in (keep_top_k(logits, 1), keep_top_p(logits, 1e-9), keep_min_p(logits, 1.0)):
        assert torch.equal(filtered.isfinite().sum(-1), torch.ones(4, dtype=torch.long))
        assert torch.equal(filtered.argmax(-1), logits.argmax(-1))
    assert torch.equal(keep_top_k(logits, 99), logits)


def test_tiny_and_huge_temperatures_stay_finite() -> None:
    logits = torch.tensor([[1e4, -1e4, 9.9e3]])
    assert warm(logits, 1e-30).softmax(-1).tolist() == [[1.0, 0.0, 0.0]]
    assert warm(logits, 100.0).softmax(-1).isfinite().all()


def test_g10_random_numbers_of_a_row_do_not_depend_on_its_neighbours() -> None:
    logits = [_logits(3, 50) for _ in range(20)]
    together, alone = (
        Sampler(Sampling(), [[]] * 3, [7, 8, 9], vocab_size=50),
        Sampler(Sampling(), [[]], [8], vocab_size=50),
    )
    for step, part in enumerate(logits):
        if step == 10:
            together.keep([1])
        part = part if step < 10 else part[1:2]
        assert together.choose(part)[0][-2 if step < 10 else 0] == alone.choose(logits[step][1:2])[0][0]


def test_the_repetition_penalty_remembers_drawn_tokens_and_survives_keep() -> None:
    sampler = Sampler(Sampling(temperature=0.0, repetition_penalty=4.0), [[0], [1]], [0, 0], vocab_size=4)
    logits = torch.tensor([[1.0, 2.0, 3.0, 1.5], [3.0, 1.0, 2.0, 1.5]])
    assert sampler.choose(logits)[0].tolist() == [2, 0]
    assert sampler.choose(logits)[0].tolist() == [1, 2]
    sampler.keep([1])
    assert sampler.choose(logits[1:])[0].tolist() == [3]


def test_log_probabilities_are_those_of_the_model_before_any_filter() -> None:
    logits = _logits(2, 8)
    ids, logprobs = Sampler(Sampling(temperature=0.5, top_k=1), [[], []], [0, 0], vocab_size=8).choose(logits)
    torch.testing.assert_close(logprobs, logits.log_softmax(-1).gather(1, ids[:, None])[:, 0])


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("max_tokens", 0),
        ("temperature", -0.1),
        ("temperature", float("nan")),
        ("top_k", -1),
        ("top_p", 0.0),
        ("top_p", 1.5),
        ("min_p", -0.5),
        ("repetition_penalty", 0.0),
        ("beams", 0),
        ("length_penalty", -1.0),
        ("seed", -1),
        ("stop", ["a", ""]),
        ("top_q", 1),
        ("top_k", "many"),
    ],
)
def test_values_out_of_range_are_refused_with_their_name(field: str, value: object) -> None:
    with pytest.raises(ConfigError, match=field):
        from_json(Sampling, {field: value})


def test_options_without_effect_are_refused() -> None:
    with pytest.raises(ConfigError, match="top_k"):
        Sampling(beams=4, top_k=3)
    with pytest.raises(ConfigError, match="temperature"):
        Sampling(beams=4, temperature=0.5)
    with pytest.raises(ConfigError, match="length_penalty"):
        Sampling(length_penalty=1.0)
    assert Sampling(beams=4, temperature=0.0, length_penalty=1.0).beams == 4

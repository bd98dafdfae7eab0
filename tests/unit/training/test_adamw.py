"""AdamW in one pass: torch's steps, whatever the gradients' format, and copies that follow."""

import subprocess
import sys

import pytest
import torch

from tests.unit.training.test_trainer import make_model, make_trainer
from trifold.native import get_passes, load_passes
from trifold.training import config, precision
from trifold.training.adamw import AdamW, PlainAdamW
from trifold.training.gradients import Gradients
from trifold.training.group import Alone

pytestmark = pytest.mark.skipif(load_passes() is None, reason="no compiler")
OPTIONS = {"lr": 1e-2, "betas": (0.8, 0.95), "eps": 1e-6}
SHAPES = ((130, 33), (7,), (9001,))


def pair(weight_decay: float) -> tuple[list[torch.Tensor], AdamW, list[torch.Tensor], torch.optim.AdamW]:
    """The same weights twice, under our optimizer and torch's; the last without weight decay."""
    torch.manual_seed(0)
    ours = [torch.randn(*shape) for shape in SHAPES]
    theirs = [one.clone() for one in ours]
    groups = [[{"params": one[:2], "weight_decay": weight_decay}, {"params": one[2:], "weight_decay": 0.0}]
              for one in (ours, theirs)]  # fmt: skip
    for one in ours:
        one.grad_dtype = None
    optimizer = AdamW(groups[0], {one: one.bfloat16() for one in ours}, **OPTIONS)
    return ours, optimizer, theirs, torch.optim.AdamW(groups[1], **OPTIONS)


@pytest.mark.parametrize("weight_decay", [0.0, 0.1])
@pytest.mark.parametrize("threads", [1, 2])
def test_steps_are_torch_s_and_copies_follow(weight_decay, threads):
    ours, optimizer, theirs, reference = pair(weight_decay)
    before, _ = torch.get_num_threads(), torch.set_num_threads(threads)
    try:
        for step in range(12):
            for number, (one, other) in enumerate(zip(ours, theirs, strict=True)):
                lean = torch.randn(one.shape).bfloat16()
                one.grad = lean if (step + number) % 2 else lean.float()  # of one pass, or the sum of several
                other.grad = None if step == 3 and number == 1 else lean.float()
                one.grad = None if other.grad is None else one.grad
            optimizer.step()
            reference.step()
    finally:
        torch.set_num_threads(before)
    for one, other in zip(ours, theirs, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-5)
        assert torch.equal(optimizer.copies[one], one.bfloat16())
        for name, value in optimizer.state[one].items():
            torch.testing.assert_close(value, reference.state[other][name], rtol=1e-5, atol=1e-6)
    assert int(optimizer.state[ours[1]]["step"]) == 11


def test_a_factor_is_a_smaller_gradient():
    (ours, optimizer, theirs, reference) = pair(0.0)
    for one, other in zip(ours, theirs, strict=True):
        one.grad = torch.ones_like(one).bfloat16()
        other.grad = 0.25 * torch.ones_like(other)
    optimizer.factor = 0.25
    optimizer.step()
    reference.step()
    for one, other in zip(ours, theirs, strict=True):
        torch.testing.assert_close(optimizer.state[one]["exp_avg_sq"], reference.state[other]["exp_avg_sq"])


def test_the_sum_of_squares_does_not_depend_on_threads_and_is_exact_enough():
    x = torch.randn(100_003, generator=torch.Generator().manual_seed(1)).bfloat16()
    before, found = torch.get_num_threads(), []
    for threads in (1, 2, 3):
        torch.set_num_threads(threads)
        found.append(get_passes().square_sum(x).item())
    torch.set_num_threads(before)
    assert found == [found[0]] * 3
    assert found[0] == pytest.approx(x.double().square().sum().item(), rel=1e-6)


@pytest.mark.parametrize("clip", [None, 1e-3])
@pytest.mark.parametrize("accumulation", [1, 2])
@pytest.mark.parametrize("optimizer", [config.AdamW(lr=1e-2), config.Muon(lr=1e-2)])
def test_a_run_goes_as_it_does_without_it(optimizer, accumulation, clip, monkeypatch):
    """Losses and norms, step by step, beside the way of a processor without passes for the optimizer."""
    options = {"optimizer": optimizer, "dtype": "bfloat16", "accumulation": accumulation, "clip": clip}
    trainer = make_trainer(**options)
    assert trainer.weights.followed
    found = [(step.loss, step.gradient_norm) for step in trainer.steps()]
    monkeypatch.setattr(precision.Weights, "copies", lambda self: None)
    plain = make_trainer(**options)
    assert not plain.weights.followed
    wanted = [(step.loss, step.gradient_norm) for step in plain.steps()]
    for one, other in zip(found, wanted, strict=True):
        assert one == pytest.approx(other, rel=2e-2)


def test_several_passes_add_up_in_float32():
    weights = precision.Weights(torch.nn.Linear(1, 1, bias=False), torch.bfloat16)
    weights.follow(weights.exact.values())
    gradients = Gradients(weights, make_model(), Alone())
    for value in (1.0, 2.0**-9):
        with weights.computing():
            weights.lean["weight"].grad = torch.tensor([[value]]).bfloat16()
            gradients.collect()
    assert gradients.sums["weight"].item() == 1.0 + 2.0**-9


def test_the_plain_one_is_torchs_to_the_bit_and_does_not_load_the_compiler():
    start = torch.linspace(-1, 1, 12).view(3, 4)
    moved = []
    for kind in (torch.optim.AdamW, PlainAdamW):
        weight = torch.nn.Parameter(start.clone())
        optimizer = kind([weight], lr=0.1, fused=True)
        for step in range(3):
            weight.grad = torch.full_like(weight, 0.3) * (step - 1)
            optimizer.step()
        assert weight.requires_grad and optimizer.state[weight]["step"].item() == 3
        moved.append(weight.detach())
    assert torch.equal(*moved)
    done = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


SCRIPT = """
import sys
import torch
from trifold.training.adamw import PlainAdamW
weight = torch.nn.Parameter(torch.ones(2))
weight.grad = torch.ones(2)
PlainAdamW([weight], lr=0.5, fused=True).step()
assert "torch._dynamo" not in sys.modules
"""

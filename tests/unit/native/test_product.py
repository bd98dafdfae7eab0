"""Products by the matrix unit: near float64 for every shape and activation, with any number of threads."""

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from tests.unit.native.test_passes import distance, drawn
from trifold import native
from trifold.acceleration.linear import FastLinear, add_product, project
from trifold.native import linear as module
from trifold.native.product import ACTIVATIONS as NAMES
from trifold.native.product import load_products

products = pytest.mark.skipif(load_products() is None, reason="no compiler, or no matrix unit")
passes = pytest.mark.skipif(native.load_passes() is None, reason="no compiler")
NEAR = 0.01
ACTIVATIONS = {"gelu_tanh": lambda x: F.gelu(x, approximate="tanh")} | {
    name: native.activate(name) for name in NAMES if name != "gelu_tanh"
}


def gradients(made: Tensor, inputs: list[Tensor], seed: int = 9) -> list[Tensor]:
    return [made.detach(), *torch.autograd.grad(made, inputs, drawn(*made.shape, seed=seed).to(made.dtype))]


def leaves(*given: Tensor) -> tuple[list[Tensor], list[Tensor]]:
    """Inputs in bfloat16, and their twins in float64."""
    return [x.clone().requires_grad_() for x in given], [x.double().requires_grad_() for x in given]


@products
@settings(max_examples=60, deadline=None)
@given(st.integers(1, 90), st.integers(1, 90), st.integers(1, 90), st.sampled_from(NAMES), st.booleans())
def test_a_product_and_its_gradients_are_right_for_every_shape(rows, inputs, outputs, activation, biased):
    layer = FastLinear(inputs, outputs, bias=biased).bfloat16()
    (x, more), (wide, wide_more) = leaves(drawn(rows, inputs), drawn(rows, outputs, seed=1))
    twins = [part.detach().double().requires_grad_() for part in layer.parameters()]
    made = gradients(add_product(more, x, layer, activation=activation), [x, more, *layer.parameters()])
    wanted = gradients(F.linear(ACTIVATIONS[activation](wide), *twins) + wide_more, [wide, wide_more, *twins])
    assert max(map(distance, made, wanted)) < 2 * NEAR


@products
@pytest.mark.parametrize(
    ("rows", "inputs", "outputs"), [(2100, 40, 700), (70, 1700, 40), (1, 3000, 1), (40, 33, 2500), (600, 600, 1300)]
)
def test_products_of_many_blocks_each_way(rows, inputs, outputs):
    """More than a thread's cache holds at once, so that sums are put away and taken up again."""
    layer = FastLinear(inputs, outputs).bfloat16()
    (x,), (wide,) = leaves(drawn(rows, inputs))
    twins = [part.detach().double().requires_grad_() for part in layer.parameters()]
    made = gradients(layer(x), [x, *layer.parameters()])
    wanted = gradients(F.linear(wide, *twins), [wide, *twins])
    for one, other in zip(made, wanted, strict=True):
        assert distance(one, other) < NEAR
        assert float((one.double() - other).abs().max()) < 0.02 * float(other.abs().max()), "no place alone"


@products
def test_the_number_of_threads_changes_no_bit():
    layer, found, threads = FastLinear(200, 150).bfloat16(), [], torch.get_num_threads()
    x = drawn(300, 200).requires_grad_()
    try:
        for count in (1, 2, 3):
            torch.set_num_threads(count)
            found.append(gradients(add_product(None, x, layer, activation="relu"), [x, *layer.parameters()]))
    finally:
        torch.set_num_threads(threads)
    for others in found[1:]:
        assert all(map(torch.equal, found[0], others))


@products
def test_several_products_of_one_input_add_their_gradients():
    layers = [FastLinear(70, width, bias=bias).bfloat16() for width, bias in ((33, True), (64, False), (5, True))]
    (x,), (wide,) = leaves(drawn(4, 9, 70))
    made = torch.cat([part * (number + 1) for number, part in enumerate(project(x, *layers))], -1)
    twins = [[part.detach().double().requires_grad_() for part in layer.parameters()] for layer in layers]
    wanted = torch.cat([F.linear(wide, *pair) * (number + 1) for number, pair in enumerate(twins)], -1)
    inputs = [x, *(part for layer in layers for part in layer.parameters())]
    found = gradients(made, inputs), gradients(wanted, [wide, *(part for pair in twins for part in pair)])
    assert max(map(distance, *found)) < 2 * NEAR


def without_products(monkeypatch):
    for place in (module, native):
        monkeypatch.setattr(place, "load_products", lambda: None)


@products
def test_of_several_products_one_may_be_used_alone_and_others_be_frozen():
    first, second = (FastLinear(8, 6).bfloat16() for _ in range(2))
    second.requires_grad_(requires_grad=False)
    x = drawn(5, 8).requires_grad_()
    project(x, first, second)[1].sum().backward()
    assert first.weight.grad is None or not first.weight.grad.any()
    assert second.weight.grad is None
    assert distance(x.grad, second.weight.double().sum(0).expand(5, 8)) < NEAR


@products
@pytest.mark.parametrize("activation", ["identity", "relu"])
def test_strange_numbers_stay_where_they_are(activation):
    """One row that is no number leaves the others as they are."""
    layer, x = FastLinear(40, 40).bfloat16(), drawn(64, 40)
    plain = add_product(None, x, layer, activation=activation)
    x[3, 5] = float("nan")
    made = add_product(None, x, layer, activation=activation)
    assert made[3].isnan().all()
    assert torch.equal(torch.cat([made[:3], made[4:]]), torch.cat([plain[:3], plain[4:]]))


@pytest.mark.parametrize("activation", NAMES)
def test_without_products_it_is_the_same_by_torch(activation, monkeypatch):
    without_products(monkeypatch)
    layer = FastLinear(70, 33).bfloat16()
    (x, more), (wide, wide_more) = leaves(drawn(40, 70), drawn(40, 33, seed=1))
    twins = [part.detach().double().requires_grad_() for part in layer.parameters()]
    made = gradients(add_product(more, x, layer, activation=activation), [x, more, *layer.parameters()])
    wanted = gradients(F.linear(ACTIVATIONS[activation](wide), *twins) + wide_more, [wide, wide_more, *twins])
    assert max(map(distance, made, wanted)) < 2 * NEAR


@passes
@pytest.mark.parametrize("by_torch", [False, True])
@pytest.mark.parametrize("learned", [(True, True), (True, False), (False, True)])
def test_a_product_of_an_activation_keeps_its_input_alone(learned, by_torch, monkeypatch):
    if by_torch:
        without_products(monkeypatch)
    layer = FastLinear(70, 33).bfloat16().requires_grad_(learned[1])
    x = (2.0 * drawn(4, 9, 70)).bfloat16().requires_grad_(learned[0])
    more, kept = drawn(4, 9, 33, seed=2), list[Tensor]()
    with torch.autograd.graph.saved_tensors_hooks(lambda one: kept.append(one) or one, lambda one: one):
        made = add_product(more, x, layer, activation="gelu_tanh")
    assert {one.data_ptr() for one in kept} == {x.data_ptr(), layer.weight.data_ptr()}
    plain = more + layer(native.gelu_tanh(x))
    inputs = [one for one in (x, *layer.parameters()) if one.requires_grad]
    for one, other in zip(gradients(made, inputs), gradients(plain, inputs), strict=True):
        assert distance(one, other.double()) < (NEAR if load_products() and not by_torch else 1e-9)


@pytest.mark.parametrize("kind", [nn.Linear, FastLinear])
def test_whatever_stands_in_for_a_linear_is_called_as_it_is(kind):
    class Doubled(kind):
        def forward(self, input: Tensor) -> Tensor:  # noqa: A002
            return 2.0 * super().forward(input)

    layer, x, more = Doubled(8, 6).bfloat16(), drawn(5, 8), drawn(5, 6)
    assert torch.equal(add_product(more, x, layer, activation="relu"), more + layer(F.relu(x)))
    assert torch.equal(project(x, layer)[0], layer(x))


@products
def test_a_mask_becomes_a_bit_for_each_query():
    mask = torch.rand(2, 1, 70, 45, generator=torch.Generator().manual_seed(0)) > 0.5
    packed = native.pack_mask(mask).long() & 0xFFFFFFFF
    found = (packed[..., None] >> torch.arange(32)) & 1
    assert torch.equal(found.flatten(2)[..., :70].bool(), mask[:, 0].transpose(1, 2))
    assert not found.flatten(2)[..., 70:].any()

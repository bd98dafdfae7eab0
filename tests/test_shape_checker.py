"""What checks every annotated call while the tests run is there, at each test anew, and says what is wrong."""

import pytest
import torch
from jaxtyping import AnnotationError, Float, TypeCheckError, config, jaxtyped
from torch import Tensor

from tests.shape_checker import FIRST, check, check_calls


@jaxtyped(typechecker=check)
def added(x: Float[Tensor, "rows cols"], y: Float[Tensor, "rows cols"]) -> Float[Tensor, "rows cols"]:
    return x + y


@pytest.mark.parametrize("_", range(2))
def test_shapes_are_checked_until_so_many_calls_are_made_and_again_in_the_next_test(_):
    square, wide = torch.ones(2, 2), torch.ones(2, 3)
    with pytest.raises(TypeCheckError, match="rows cols"):
        added(square, wide)
    check_calls(2)
    for _ in range(2):
        assert added(square, square).shape == (2, 2)
    with pytest.raises(RuntimeError, match="size"):  # torch's own words
        added(square, wide)
    check_calls(FIRST)
    with pytest.raises(TypeCheckError, match="rows cols"):
        added(square, wide)


def test_what_is_no_annotation_is_an_error_at_the_first_call():
    @jaxtyped(typechecker=check)
    def wrong(x: 3) -> None: ...

    with pytest.raises(AnnotationError):
        wrong(3)


def test_the_switch_is_the_tests_own():
    check_calls(1)
    with pytest.raises(AttributeError, match="tests decide"):
        config.jaxtyping_disable = True

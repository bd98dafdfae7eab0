"""G5: a row gives the same answer alone and in company."""

import pytest
import torch

from tests.shapes import CAUSAL, PAIRS, SHAPES, build, tokens
from trifold.batch import Batch, Layout


def _batch(name: str, rows: slice) -> Batch:
    source, target = tokens(8, 11)[rows], tokens(8, 9, seed=1)[rows]
    left, right = Layout.whole(*source.shape), Layout.whole(*target.shape)
    if name in PAIRS:
        return Batch(source, target, left, right)
    return Batch(target=target, target_layout=right) if name in CAUSAL else Batch(source, source_layout=left)


@pytest.mark.parametrize("name", SHAPES)
@pytest.mark.parametrize(("dtype", "bound"), [(torch.float64, 1e-12), (torch.float32, 1e-5)], ids=["f64", "f32"])
def test_g5_row_alone_equals_row_in_batch(name: str, dtype: torch.dtype, bound: float) -> None:
    model = build(name, dtype=dtype)
    together = model.head(model(_batch(name, slice(None))))
    bound = bound * max(1.0, together.abs().max().item())
    for row in range(8):
        alone = model.head(model(_batch(name, slice(row, row + 1))))
        torch.testing.assert_close(together[row : row + 1], alone, rtol=0.0, atol=bound)
        assert torch.equal(together[row].argmax(-1), alone[0].argmax(-1))

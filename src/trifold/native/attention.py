"""Attention in bfloat16 on a CPU: matrix products of a block of queries, with one pass over its scores between them.

Torch's fused kernel does not use the processor's matrix unit where products are small, and its backward pass is slow. Here
a block of queries meets all keys that any of them sees, so that products are large and memory is that of one block; where
there are several blocks, the backward pass works out their weights again (Dao et al. 2022, algorithm 4).

Axes: B rows, H heads, G rows * heads, Q queries, T keys, K head size.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import BFloat16, Bool, Int32
from torch import Tensor
from torch.autograd.function import Function, FunctionCtx, once_differentiable

from trifold.native.heads import mix_heads, pack_mask
from trifold.native.passes import draw_seed, get_passes, load_passes, uses_passes
from trifold.native.product import load_products
from trifold.native.structures import View

__all__ = ["Rule", "keeps_weights", "mix_values", "mixes"]

DENSE_KEYS = 512
"""Keys up to which plain products beat torch's fused kernel (docs/decisions/0006)."""

BLOCK = 256
"""Queries at once."""

SCORES = 2**23
"""Scores at once, in numbers: what large caches hold, and memory that the allocator keeps."""

Block = tuple[slice, slice, slice]


@dataclass(frozen=True, kw_only=True)
class Rule:
    """Which keys each query sees, and what becomes of scores and weights.

    Attributes:
        mask: true where a query sees a key; of one row where all rows are alike; None for every key.
        causal: instead of a mask, as many queries as keys, each of which sees those up to its own.
        scale: of the scores.
        dropout: chance of a weight to be left out.
        packed: the mask as `pack_mask` gives it, where it is at hand.
    """

    mask: Bool[Tensor, "rows 1 query key"] | None
    causal: bool
    scale: float
    dropout: float = 0.0
    packed: Int32[Tensor, "rows key blocks"] | None = None


def mixes(query: Tensor, keys: int) -> bool:
    """Whether products are the faster way for queries like these to meet so many keys.

    Example:
        >>> mixes(torch.zeros(1, 1, 2, 4), 2)  # float32
        False
    """
    lean = (query.dtype, query.device.type) == (torch.bfloat16, "cpu")
    return lean and (uses_passes(query) or keys <= DENSE_KEYS)


def keeps_weights(queries: int, keys: int) -> bool:
    """Whether the weights of so many queries and keys are kept for the backward pass.

    Example:
        >>> keeps_weights(128, 128), keeps_weights(1024, 1024)
        (True, False)
    """
    return keys <= DENSE_KEYS if load_passes() is None else queries <= BLOCK


def mix_values(
    query: BFloat16[Tensor, "batch heads query head_size"],
    key: BFloat16[Tensor, "batch heads key head_size"],
    value: BFloat16[Tensor, "batch heads key head_size"],
    rule: Rule,
    bias: BFloat16[Tensor, "rows heads query key"] | None = None,
) -> BFloat16[Tensor, "batch heads query head_size"]:
    """`softmax(scale * query key^T + bias) value` over the keys that are seen; zeros where none is.

    But for mask and bias, memory grows with queries plus keys where the passes could be compiled. Dropout draws from
    torch's global generator.

    Args:
        query: on the CPU.
        key: of the same heads.
        value: of the same heads.
        rule: who sees what.
        bias: what is added to the scores; of one row where all rows are alike.

    Example:
        >>> x = torch.eye(2).bfloat16()[None, None]
        >>> mix_values(x, x, x, Rule(mask=None, causal=True, scale=1.0))[0, 0, 0]
        tensor([1., 0.], dtype=torch.bfloat16)
    """
    if not uses_passes(query):
        return _mix_densely(query, key, value, rule, bias)
    if bias is None and load_products() is not None:
        seen = rule.packed if rule.packed is not None or rule.mask is None else pack_mask(rule.mask)
        return mix_heads(query, key, value, seen, causal=rule.causal, scale=rule.scale, dropout=rule.dropout)
    bias = bias if bias is None or bias.stride(-1) == 1 else bias.contiguous()
    return _Mixed.apply(query, key, value, bias, _Blocks(query, key, rule))


def _mix_densely(query: Tensor, key: Tensor, value: Tensor, rule: Rule, bias: Tensor | None) -> Tensor:
    """The same by torch alone."""
    scores = (query * rule.scale) @ key.transpose(-1, -2)  # B H Q T
    scores = scores if bias is None else scores + bias
    seen = torch.ones_like(scores[:1, :1], dtype=torch.bool).tril() if rule.causal else rule.mask
    if seen is None:
        return F.dropout(scores.softmax(-1), rule.dropout) @ value
    weights = scores.masked_fill(~seen, torch.finfo(scores.dtype).min).softmax(-1).masked_fill(~seen, 0.0)
    return F.dropout(weights, rule.dropout) @ value


class _Blocks:
    """How the work is cut, and what the compiled passes need to know of each block."""

    def __init__(self, query: Tensor, key: Tensor, rule: Rule) -> None:
        self.rule, self.heads = rule, query.shape[1]
        self.mask = rule.mask if rule.mask is None or rule.mask.stride(-1) == 1 else rule.mask.contiguous()
        self.groups, self.queries, self.keys = query.shape[0] * self.heads, query.shape[2], key.shape[2]
        self.seed = draw_seed() if rule.dropout else 0
        starts = range(0, self.queries, BLOCK)
        self.spans = [self._span(slice(start, min(start + BLOCK, self.queries))) for start in starts]

    def _span(self, queries: slice) -> tuple[slice, slice]:
        """A block of queries, and the keys from the first to the last that any of them sees."""
        if self.rule.causal:
            return queries, slice(0, queries.stop)
        if self.mask is None or self.queries <= BLOCK:
            return queries, slice(0, self.keys)
        found = self.mask[:, 0, queries].flatten(0, 1).any(0).nonzero().flatten().tolist() or [0]
        return queries, slice(found[0], found[-1] + 1)

    @property
    def keeps(self) -> bool:
        """Whether the weights are kept for the backward pass."""
        return len(self.spans) == 1 and not self.rule.dropout

    def slices(self) -> Iterator[Block]:
        """Groups, queries and keys; groups of whole rows, so that a bias shared by the rows can be summed."""
        rows = max(SCORES // (self.heads * min(BLOCK, self.queries) * self.keys), 1)
        for start in range(0, self.groups, rows * self.heads):
            for queries, keys in self.spans:
                yield slice(start, min(start + rows * self.heads, self.groups)), queries, keys

    def view(self, block: Block, bias: Tensor | None) -> View:
        """A block for the compiled passes."""
        groups, queries, keys = block
        view = View(
            groups=groups.stop - groups.start,
            heads=self.heads,
            queries=queries.stop - queries.start,
            keys=keys.stop - keys.start,
            causal=queries.start + 1 if self.rule.causal else 0,
            scale=self.rule.scale,
            chance=self.rule.dropout,
            seed=self.seed,
            first_group=groups.start,
            first_query=queries.start,
            first_key=keys.start,
        )
        row = groups.start // self.heads
        if self.mask is not None:
            view.seen, (view.seen_row, _, view.seen_query) = _place(self.mask, row, queries, keys)
        if bias is not None:
            view.bias, (view.bias_row, view.bias_head, view.bias_query) = _place(bias, row, queries, keys)
        return view


def _place(x: Tensor, row: int, queries: slice, keys: slice) -> tuple[int, tuple[int, int, int]]:
    """Where the passes find what holds for a block, and its steps from row to row, head to head, query to query."""
    shared, (row_step, head_step, step, _) = len(x) == 1, x.stride()
    return x[0 if shared else row, 0, queries, keys].data_ptr(), (0 if shared else row_step, head_step, step)


def _weigh(query: Tensor, key: Tensor, view: View, block: Block, *, drop: bool) -> Tensor:
    """The weights of a block; with `drop` as they are after dropout."""
    groups, queries, keys = block
    weights = torch.bmm(query[groups, queries], key[groups, keys].transpose(1, 2))
    get_passes().attention_weights(view, weights, drop=drop)
    return weights


class _Mixed(Function):
    @staticmethod
    def forward(ctx: FunctionCtx, *inputs: Any) -> Tensor:  # type: ignore[override]
        query, key, value, bias, blocks = inputs
        shape, kept = query.shape, []
        query, key, value = (x.reshape(-1, *x.shape[2:]) for x in (query, key, value))  # G Q K
        mixed = torch.empty_like(query)
        for block in blocks.slices():
            weights = _weigh(query, key, blocks.view(block, bias), block, drop=blocks.rule.dropout > 0.0)
            _add_product(mixed[block[0], block[1]], weights, value[block[0], block[2]])
            if blocks.keeps and any(ctx.needs_input_grad):  # type: ignore[attr-defined]
                kept.append(weights)
        ctx.save_for_backward(query, key, value, bias, *kept)  # type: ignore[arg-type] - None may be saved
        ctx.blocks = blocks  # type: ignore[attr-defined]
        return mixed.view(shape)

    @staticmethod
    @once_differentiable
    def backward(ctx: FunctionCtx, grad: Tensor) -> tuple[Tensor | None, ...]:  # type: ignore[override]
        query, key, value, bias, *kept = ctx.saved_tensors  # type: ignore[attr-defined]
        blocks: _Blocks = ctx.blocks  # type: ignore[attr-defined]
        grad = grad.reshape(query.shape)
        make, dtype = (torch.empty_like, None) if len(blocks.spans) == 1 else (torch.zeros_like, torch.float32)
        to_query, to_key, to_value = (make(x, dtype=dtype) for x in (query, key, value))
        to_bias = torch.zeros_like(bias, dtype=torch.float32) if ctx.needs_input_grad[3] else None  # type: ignore[attr-defined]
        for number, block in enumerate(blocks.slices()):
            (groups, queries, keys), view = block, blocks.view(block, bias)
            weights = kept[number] if kept else _weigh(query, key, view, block, drop=False)
            step = torch.bmm(grad[groups, queries], value[groups, keys].transpose(1, 2))
            get_passes().attention_gradient(view, weights, step)
            _add_product(to_value[groups, keys], weights.transpose(1, 2), grad[groups, queries])
            _add_product(to_query[groups, queries], step, key[groups, keys])
            _add_product(to_key[groups, keys], step.transpose(1, 2), query[groups, queries])
            if to_bias is not None:
                _add_bias(to_bias, step, blocks, block)
        grads = (x.to(torch.bfloat16).unflatten(0, (-1, blocks.heads)) for x in (to_query, to_key, to_value))
        return (*grads, None if to_bias is None else to_bias.to(torch.bfloat16), None)


def _add_product(total: Tensor, left: Tensor, right: Tensor) -> None:
    """Add it to a sum over blocks; where there is one block, it is the sum."""
    if total.dtype == left.dtype:
        torch.bmm(left, right, out=total)
    else:
        total += torch.bmm(left, right)


def _add_bias(total: Tensor, step: Tensor, blocks: _Blocks, block: Block) -> None:
    """Add the gradient of a block's scores to that of the bias; of all its rows, where they share it."""
    (groups, queries, keys), heads = block, blocks.heads
    rows = step.unflatten(0, (-1, heads)).float() / blocks.rule.scale  # B H Q T
    if len(total) == 1:
        total[0, :, queries, keys] += rows.sum(0)
    else:
        total[groups.start // heads : groups.stop // heads, :, queries, keys] += rows

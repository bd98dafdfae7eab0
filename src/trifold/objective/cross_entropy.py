"""Cross-entropy straight from hidden states: logits exist only a span of places at a time.

Axes: N places with a label, D d_model, V vocabulary.
"""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor
from torch.autograd.function import FunctionCtx, once_differentiable
from torch.utils.checkpoint import checkpoint

from trifold.batch import IGNORED
from trifold.model import Head
from trifold.native import get_passes, load_products, uses_passes

__all__ = ["sum_cross_entropy", "token_cross_entropy"]

SPAN_ELEMENTS, SPAN_ROWS = 2**25, 2**10
"""Logits held at once, in the number format of the hidden states, and their rows: enough for products to be large."""

GRAIN = 128
"""Places are filled up to a multiple of it: oneDNN writes a program for each shape of product that is new to it."""

WORDS = 2**13
"""Rows of the vocabulary's gradient that are added to at once: bounds what a product makes before it is added."""

CHUNK_ELEMENTS = 2**21
"""Of these, how many are taken to float32 and turned into probabilities at once: 8 MiB, which stay in the caches."""

ALIGNED = 64
"""Numbers of a row of logits that are a multiple of it, on other devices."""

DEVICE_ELEMENTS, DEVICE_ROWS = 2**28, 2**13
"""Logits held at once on other devices, and their rows; all go to float32 together, since each kernel costs a launch."""


def sum_cross_entropy(
    head: Head,
    hidden: Float[Tensor, "batch seq d_model"],
    labels: Int[Tensor, "batch seq"],
    *,
    smoothing: float = 0.0,
) -> tuple[Float[Tensor, ""], int]:
    """Summed negative log-likelihood (nats) of the labels, and how many there are.

    Places labelled `IGNORED` cost nothing: their logits are never computed. Gradients are worked out in the same pass
    as the loss, so memory is that of one span of logits plus one gradient of the vocabulary matrix.

    Args:
        head: from hidden states to logits.
        hidden: of the stack that the head reads.
        labels: what to predict at each place.
        smoothing: share of the wanted probability that is spread over all tokens (Szegedy et al. 2016).

    Example:
        >>> from trifold.model import Transformer, config
        >>> shape = config.Transformer(vocab_size=4, d_model=2, embedding=config.Embedding(), encoder=config.Stack(
        ...     blocks=(config.Block(attention=config.Attention(num_heads=1, num_kv_heads=1, head_size=2, causal=False),
        ...                          feed_forward=config.FeedForward(d_ff=2, activation="relu")),)))
        >>> loss, count = sum_cross_entropy(Transformer(shape).head, torch.zeros(1, 2, 2), torch.tensor([[1, -100]]))
        >>> round(loss.item(), 4), count  # log 4
        (1.3863, 1)
    """
    chosen, targets = _select(hidden, labels)
    if len(targets) == 0:
        return hidden.sum() * 0.0, 0
    output, wish = head.output, _Wish(targets, smoothing, head.silent)
    return _LinearCrossEntropy.apply(head.transform(chosen), output.weight, output.bias, wish), len(targets)


def token_cross_entropy(
    head: Head, hidden: Float[Tensor, "batch seq d_model"], labels: Int[Tensor, "batch seq"]
) -> Float[Tensor, " labelled"]:
    """Negative log-likelihood (nats) of each label that is not `IGNORED`, in reading order.

    It has gradients, for which the logits are computed again, so that those of one span at most are held.

    Example:
        >>> from trifold.presets.pretrained import Transformer
        >>> model, ids = Transformer.from_preset("gpt2", size="tiny", vocab_size=9), torch.tensor([[1, 2, 3]])
        >>> losses = token_cross_entropy(model.head, model.decode(ids), torch.tensor([[2, -100, 4]]))
        >>> losses.shape, losses.requires_grad
        (torch.Size([2]), True)
    """
    chosen, targets = _select(hidden, labels)
    losses = [hidden.new_zeros(0, dtype=torch.float32)]
    size = _rows(CHUNK_ELEMENTS, head.output.out_features)

    def lose(states: Tensor, wanted: Tensor) -> Tensor:
        return -_log_softmax(head.output(states)).gather(1, wanted[:, None])[:, 0]

    for states, wanted in zip(head.transform(chosen).split(size), targets.split(size), strict=True):
        again = torch.is_grad_enabled()
        losses.append(checkpoint(lose, states, wanted, use_reentrant=False) if again else lose(states, wanted))
    return torch.cat(losses)


def _select(hidden: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    """The places that have a label, without a copy where all have."""
    flat, wanted = hidden.flatten(0, 1), labels.flatten()  # N D, N
    kept = wanted != IGNORED
    return (flat, wanted) if bool(kept.all()) else (flat[kept], wanted[kept])


def _rows(elements: int, vocab_size: int) -> int:
    return max(elements // vocab_size, 16)


def _log_softmax(logits: Tensor) -> Tensor:
    return torch.log_softmax(logits, dim=-1, dtype=torch.promote_types(logits.dtype, torch.float32))


class _Wish(NamedTuple):
    """The labels, how much of their probability is spread, and the row of the weight that takes no gradient."""

    labels: Tensor
    smoothing: float
    silent: int | None


class _Loss:
    """Sums the loss and, where wanted, turns logits into its gradient by them, in their own memory.

    Args:
        logits: room for one span of them.
        smoothing: share of the wanted probability that is spread over all tokens.
    """

    def __init__(self, logits: Tensor, smoothing: float) -> None:
        self.exact_dtype = torch.promote_types(logits.dtype, torch.float32)
        self.smoothing, self.total = smoothing, logits.new_zeros((), dtype=self.exact_dtype)
        self.rooms: list[Tensor] = []

    def add(self, logits: Tensor, labels: Tensor, *, differentiate: bool) -> None:
        """One span, chunk by chunk."""
        if uses_passes(logits):
            smoothing, passes = self.smoothing, get_passes()
            self.total += passes.cross_entropy(logits, labels, smoothing=smoothing, differentiate=differentiate).sum()
            return
        if logits.device.type != "cpu":
            self.total += _lose(logits, labels, self.smoothing, differentiate=differentiate)
            return
        size = _rows(CHUNK_ELEMENTS, logits.shape[1])
        if not self.rooms:
            self.rooms = [torch.empty_like(logits[:size], dtype=self.exact_dtype) for _ in range(2)]
        for lean, wanted in zip(logits.split(size), labels.split(size), strict=True):
            exact, step = (room[: len(lean)] for room in self.rooms)
            exact.copy_(lean)
            torch.softmax(exact, -1, out=step)
            # the largest probability is exp(largest logit - normalizer): one pass over the exponentials serves for both
            normalizer = exact.amax(1) - step.amax(1).log()
            self.total += normalizer.sum() - (1.0 - self.smoothing) * exact.gather(1, wanted[:, None]).sum()
            self.total -= self.smoothing * exact.mean(1).sum() if self.smoothing else 0.0
            if differentiate:  # d loss / d logits = softmax - wanted
                step = step.sub_(self.smoothing / step.shape[1]) if self.smoothing else step
                step[torch.arange(len(wanted), device=step.device), wanted] -= 1.0 - self.smoothing
                lean.copy_(step)


def _lose(logits: Tensor, labels: Tensor, smoothing: float, *, differentiate: bool) -> Tensor:
    """As `_Loss.add`, in as few passes over memory as torch's own operations take: for devices that launch kernels."""
    logprobs, labels = _log_softmax(logits), labels[:, None]
    own = logprobs.gather(1, labels)
    loss = (smoothing - 1.0) * own.sum()
    loss = loss - smoothing * logprobs.mean(1).sum() if smoothing else loss
    if differentiate:  # what is wanted is subtracted before anything is rounded
        spread = smoothing / logits.shape[1]
        torch.exp(logprobs, out=logprobs)
        logits.copy_(logprobs.sub_(spread) if smoothing else logprobs)
        logits.scatter_(1, labels, (own.exp() - spread - (1.0 - smoothing)).to(logits.dtype))
    return loss


class _LinearCrossEntropy(torch.autograd.Function):
    """`sum_n -log softmax(x_n weight^T + bias)[label_n]` and its gradients, span by span."""

    @staticmethod
    def forward(  # type: ignore[override]
        ctx: FunctionCtx, x: Tensor, weight: Tensor, bias: Tensor | None, wish: _Wish
    ) -> Tensor:
        exact = torch.promote_types(x.dtype, torch.float32)
        wants = [tensor is not None and tensor.requires_grad for tensor in (x, weight, bias)]
        count, x = len(x), _fill(x)
        grads = [
            torch.zeros_like(tensor, dtype=dtype) if wanted and tensor is not None else None
            for tensor, wanted, dtype in zip((x, weight, bias), wants, (x.dtype, exact, exact), strict=True)
        ]
        elements, rows = (SPAN_ELEMENTS, SPAN_ROWS) if x.device.type == "cpu" else (DEVICE_ELEMENTS, DEVICE_ROWS)
        size = min(max(_rows(elements, len(weight)) // GRAIN, 1) * GRAIN, rows, len(x))
        room = _room(x, size, len(weight))
        loss = _Loss(room, wish.smoothing)
        for start in range(0, len(x), size):
            span, wanted = x[start : start + size], wish.labels[start : start + size]
            logits = room[: len(span)]
            _multiply(span, weight, bias, logits)
            loss.add(logits[: len(wanted)], wanted, differentiate=any(wants))
            logits[len(wanted) :] = 0.0
            _accumulate(grads, logits, span, weight, start)
        grads[0] = None if grads[0] is None else grads[0][:count]
        if grads[1] is not None and wish.silent is not None:
            grads[1][wish.silent] = 0.0
        ctx.save_for_backward(*grads)  # type: ignore[arg-type] - None may be saved
        ctx.dtypes = (x.dtype, weight.dtype, weight.dtype)  # type: ignore[attr-defined]
        return loss.total

    @staticmethod
    @once_differentiable
    def backward(ctx: FunctionCtx, grad: Tensor) -> tuple[Tensor | None, ...]:  # type: ignore[override]
        saved: tuple[Tensor | None, ...] = ctx.saved_tensors  # type: ignore[attr-defined]
        dtypes: tuple[torch.dtype, ...] = ctx.dtypes  # type: ignore[attr-defined]
        pairs = zip(saved, dtypes, strict=True)
        return (*(None if exact is None else _scaled(exact, grad, dtype) for exact, dtype in pairs), None)


def _room(x: Tensor, rows: int, words: int) -> Tensor:
    """Room for logits; on other devices each row begins where products can read and write whole vectors."""
    if x.device.type == "cpu":
        return x.new_empty(rows, words)
    return x.new_empty(rows, -(-words // ALIGNED) * ALIGNED)[:, :words]


def _scaled(exact: Tensor, factor: Tensor, dtype: torch.dtype) -> Tensor:
    """`exact * factor`, rounded part by part: torch makes all of the product first."""
    scaled = torch.empty_like(exact, dtype=dtype)
    for span, lean in zip(exact.split(WORDS), scaled.split(WORDS), strict=True):
        torch.mul(span, factor, out=lean)
    return scaled


def _fill(x: Tensor) -> Tensor:
    """More rows, of zeros, where there are many and their number is odd."""
    missing = -len(x) % GRAIN if len(x) > GRAIN else 0
    return F.pad(x, (0, 0, 0, missing)) if missing else x


def _multiply(x: Tensor, weight: Tensor, bias: Tensor | None, logits: Tensor) -> None:
    products = load_products() if uses_passes(x) else None
    if products is not None:
        products.forward(x, weight, bias, out=logits)
    elif bias is None:
        torch.mm(x, weight.t(), out=logits)
    else:
        torch.addmm(bias, x, weight.t(), out=logits)


def _accumulate(grads: list[Tensor | None], step: Tensor, x: Tensor, weight: Tensor, start: int) -> None:
    """Add one span's part to the gradients of x, weight and bias; `step` is the gradient of its logits."""
    to_x, to_weight, to_bias = grads
    products = load_products() if uses_passes(step) else None
    if products is not None:
        if to_x is not None:
            products.backward(step, weight, out=to_x[start : start + len(x)])
        if to_weight is not None or to_bias is not None:
            products.weight_gradient(step, x, total=to_weight, sums=to_bias)
        return
    if to_x is not None:
        torch.mm(step, weight, out=to_x[start : start + len(x)])
    if to_weight is not None:
        for words, part in zip(to_weight.split(WORDS), step.split(WORDS, dim=1), strict=True):
            words.add_(part.t() @ x)
    if to_bias is not None:
        to_bias += step.sum(0, dtype=to_bias.dtype)

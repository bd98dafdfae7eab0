"""Cross-entropy straight from hidden states: logits exist only a chunk at a time.

Axes: N places with a label, D d_model, V vocabulary.
"""

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.autograd.function import FunctionCtx, once_differentiable

from trifold.batch import IGNORED
from trifold.model import Head

__all__ = ["sum_cross_entropy", "token_cross_entropy"]

CHUNK_ELEMENTS = 2**22
"""Logits held at once: 16 MiB in float32, which still fits a laptop's caches and keeps matrix products large."""


def sum_cross_entropy(
    head: Head,
    hidden: Float[Tensor, "batch seq d_model"],
    labels: Int[Tensor, "batch seq"],
    *,
    smoothing: float = 0.0,
) -> tuple[Float[Tensor, ""], int]:
    """Summed negative log-likelihood (nats) of the labels, and how many there are.

    Places labelled `IGNORED` cost nothing: their logits are never computed. Gradients are worked out in the same pass
    as the loss, so memory is that of one chunk of logits plus one gradient of the vocabulary matrix.

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
    output, wish = head.output, (targets, smoothing)
    return _LinearCrossEntropy.apply(head.transform(chosen), output.weight, output.bias, wish), len(targets)


@torch.no_grad()
def token_cross_entropy(
    head: Head, hidden: Float[Tensor, "batch seq d_model"], labels: Int[Tensor, "batch seq"]
) -> Float[Tensor, " labelled"]:
    """Negative log-likelihood (nats) of each label that is not `IGNORED`, in reading order."""
    chosen, targets = _select(hidden, labels)
    losses = [hidden.new_zeros(0, dtype=torch.float32)]
    for part, wanted in _chunks(head.transform(chosen), targets, head.output.out_features):
        losses.append(-_log_softmax(head.output(part)).gather(1, wanted[:, None])[:, 0])
    return torch.cat(losses)


def _select(hidden: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    """The places that have a label, without a copy where all have."""
    flat, wanted = hidden.flatten(0, 1), labels.flatten()  # N D, N
    kept = wanted != IGNORED
    return (flat, wanted) if bool(kept.all()) else (flat[kept], wanted[kept])


def _chunks(x: Tensor, labels: Tensor, vocab_size: int) -> list[tuple[Tensor, Tensor]]:
    size = _chunk_rows(vocab_size)
    return list(zip(x.split(size), labels.split(size), strict=True))


def _chunk_rows(vocab_size: int) -> int:
    """How many places a chunk holds."""
    return max(CHUNK_ELEMENTS // vocab_size, 16)


def _log_softmax(logits: Tensor) -> Tensor:
    return torch.log_softmax(logits, dim=-1, dtype=torch.promote_types(logits.dtype, torch.float32))


class _Room:
    """Memory for one chunk of logits and of probabilities, used again by every chunk.

    Args:
        x: hidden states, split as the chunks will be.
        weight: the vocabulary matrix.
    """

    def __init__(self, x: Tensor, weight: Tensor) -> None:
        rows, exact = min(_chunk_rows(len(weight)), len(x)), torch.promote_types(x.dtype, torch.float32)
        self.lean = x.new_empty(rows, len(weight))
        self.logits = self.lean if x.dtype == exact else x.new_empty(rows, len(weight), dtype=exact)
        self.probabilities = torch.empty_like(self.logits)

    def fill(self, x: Tensor, weight: Tensor, bias: Tensor | None) -> tuple[Tensor, Tensor, Tensor]:
        """Logits, probabilities, and the logarithm of what the exponentials sum to, for one chunk of hidden states."""
        lean, logits, probabilities = (part[: len(x)] for part in (self.lean, self.logits, self.probabilities))
        torch.mm(x, weight.t(), out=lean) if bias is None else torch.addmm(bias, x, weight.t(), out=lean)
        if logits is not lean:
            logits.copy_(lean)
        torch.softmax(logits, -1, out=probabilities)
        # the largest probability is exp(largest logit - normalizer): one pass over the exponentials serves for both
        return logits, probabilities, logits.amax(1) - probabilities.amax(1).log()

    def round(self, exact: Tensor) -> Tensor:
        """One chunk in the number format of the hidden states; its logits are lost."""
        return exact if self.logits is self.lean else self.lean[: len(exact)].copy_(exact)


class _LinearCrossEntropy(torch.autograd.Function):
    """`sum_n -log softmax(x_n weight^T + bias)[label_n]` and its gradients, chunk by chunk."""

    @staticmethod
    def forward(  # type: ignore[override]
        ctx: FunctionCtx, x: Tensor, weight: Tensor, bias: Tensor | None, wish: tuple[Tensor, float]
    ) -> Tensor:
        labels, smoothing = wish
        exact = torch.promote_types(x.dtype, torch.float32)
        wants = [part is not None and part.requires_grad for part in (x, weight, bias)]
        total = torch.zeros((), dtype=exact, device=x.device)
        grads = [
            torch.zeros_like(part, dtype=dtype) if wanted and part is not None else None
            for part, wanted, dtype in zip((x, weight, bias), wants, (x.dtype, exact, exact), strict=True)
        ]
        start, room = 0, _Room(x, weight)
        for part, wanted in _chunks(x, labels, weight.shape[0]):
            logits, step, normalizer = room.fill(part, weight, bias)  # N V, N V, N
            total += normalizer.sum() - (1.0 - smoothing) * logits.gather(1, wanted[:, None]).sum()
            total -= smoothing * logits.mean(1).sum() if smoothing else 0.0
            if any(wants):  # d loss / d logits = softmax - wanted, in the same memory
                step = step.sub_(smoothing / weight.shape[0]) if smoothing else step
                step[torch.arange(len(wanted), device=x.device), wanted] -= 1.0 - smoothing
                _accumulate(grads, (step, room.round(step)), part, weight, start)
            start += len(wanted)
        ctx.save_for_backward(*grads)  # type: ignore[arg-type] - None may be saved
        ctx.dtypes = (x.dtype, weight.dtype, weight.dtype)  # type: ignore[attr-defined]
        return total

    @staticmethod
    @once_differentiable
    def backward(ctx: FunctionCtx, grad: Tensor) -> tuple[Tensor | None, ...]:  # type: ignore[override]
        saved: tuple[Tensor | None, ...] = ctx.saved_tensors  # type: ignore[attr-defined]
        dtypes: tuple[torch.dtype, ...] = ctx.dtypes  # type: ignore[attr-defined]
        return (*(None if g is None else (g * grad).to(t) for g, t in zip(saved, dtypes, strict=True)), None)


def _accumulate(grads: list[Tensor | None], step: tuple[Tensor, Tensor], x: Tensor, weight: Tensor, start: int) -> None:
    """Add one chunk's part to the gradients of x, weight and bias; `step` is the gradient of its logits, exact and lean."""
    exact, lean = step
    if grads[0] is not None:
        torch.mm(lean, weight, out=grads[0][start : start + len(x)])
    if grads[1] is not None:
        grads[1] += lean.t() @ x
    if grads[2] is not None:
        grads[2] += exact.sum(0)

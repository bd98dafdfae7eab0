"""The core as people call it: what does not fit is refused in plain words, and what stands inside can be asked for.

Axes: B batch, S sequence, D d_model.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import torch
from jaxtyping import Float, Int
from torch import Tensor

from trifold.batch import Batch, Layout
from trifold.errors import UsageError
from trifold.model import Cache, Stack, Transformer
from trifold.presets.states import AttentionWeights, HiddenStates, attention_weights, hidden_states

__all__ = ["CheckedTransformer"]


class CheckedTransformer(Transformer):
    """A core whose input is checked.

    Example:
        >>> from trifold.presets import build_config
        >>> model = CheckedTransformer(build_config("gpt2", size="tiny", overrides={"vocab_size": 50}))
        >>> model(Batch(source=torch.tensor([[1, 2]]), source_layout=Layout.whole(1, 2)))  # doctest: +ELLIPSIS
        Traceback (most recent call last):
        trifold.errors.UsageError: This model has a decoder and reads a target, which the batch lacks. ...
    """

    if TYPE_CHECKING:  # torch's own says nothing of what it takes and gives

        def __call__(self, batch: Batch) -> Tensor:
            """As `forward`."""
            ...

    def forward(self, batch: Batch) -> Float[Tensor, "batch seq d_model"]:
        """Hidden states of the stack that the head reads, [B, S, D].

        Raises:
            UsageError: the batch lacks a side that the model reads, an id is none of its vocabulary, or a text is too long.
        """
        _check_sides(self, batch)
        return super().forward(batch)

    def encode(
        self, tokens: Int[Tensor, "batch seq"], layout: Layout | None = None
    ) -> Float[Tensor, "batch seq d_model"]:
        """The encoder's hidden states; without a layout each row is one whole document.

        Raises:
            UsageError: there is no encoder, an id is none of the vocabulary, or a text is too long.
        """
        with _explained(self, self.encoder, tokens, layout, "encoder"):
            return super().encode(tokens, layout)

    def decode(
        self,
        tokens: Int[Tensor, "batch seq"],
        layout: Layout | None = None,
        *,
        memory: Float[Tensor, "batch memory d_model"] | None = None,
        memory_layout: Layout | None = None,
        cache: Cache | None = None,
    ) -> Float[Tensor, "batch seq d_model"]:
        """The decoder's hidden states; with a cache, of the newest tokens only, which follow those it holds.

        Raises:
            UsageError: there is no decoder, an id is none of the vocabulary, or a text is too long.
        """
        with _explained(self, self.decoder, tokens, layout, "decoder"):
            return super().decode(tokens, layout, memory=memory, memory_layout=memory_layout, cache=cache)

    def hidden_states(self, batch: Batch) -> HiddenStates:
        """The hidden states of every layer: the embedding's first, then every block's; the last has the final norm.

        Raises:
            UsageError: as `forward`.
        """
        return hidden_states(self, batch)

    def attention_weights(self, batch: Batch) -> AttentionWeights:
        """How much every query looks at every key, in every layer and head, of each stack and across the two.

        Raises:
            UsageError: as `forward`.
        """
        return attention_weights(self, batch)

    @property
    def device(self) -> torch.device:
        """Where it computes."""
        return self.embedding.tokens.weight.device

    @property
    def dtype(self) -> torch.dtype:
        """The number format of its embedding."""
        return self.embedding.tokens.weight.dtype


def _check_sides(model: Transformer, batch: Batch) -> None:
    """Refuse a batch that lacks a side.

    Raises:
        UsageError: no source for a model with an encoder, or no target for one with a decoder.
    """
    for side, stack, tokens in (("source", model.encoder, batch.source), ("target", model.decoder, batch.target)):
        if stack is not None and tokens is None:
            raise UsageError("presets.no_side", side=side, stack="encoder" if side == "source" else "decoder")


@contextmanager
def _explained(
    model: Transformer, stack: Stack | None, tokens: Int[Tensor, "batch seq"], layout: Layout | None, name: str
) -> Iterator[None]:
    """Run a stack; say in plain words why its input does not fit.

    The ids are looked at where torch refuses them only: that costs nothing, and a GPU is not waited for.

    Raises:
        UsageError: the model has no such stack, an id is none of its vocabulary, or a text is too long.
    """
    if stack is None:
        raise UsageError("presets.no_stack", stack=name)
    try:
        yield
    except IndexError:
        _refuse(model, tokens, layout)
        raise


def _refuse(model: Transformer, tokens: Tensor, layout: Layout | None) -> None:
    known, limit = model.config.vocab_size, model.config.max_length
    low, high = int(tokens.min()), int(tokens.max())
    if low < 0 or high >= known:
        raise UsageError("presets.unknown_id", given=low if low < 0 else high, last=known - 1) from None
    length = tokens.shape[1] if layout is None else int(layout.positions.max()) + 1
    if limit is not None and length > limit:
        raise UsageError("presets.too_long", length=length, limit=limit) from None

"""A batch of rows that a decoder continues: what it has read, what it keeps of it, and the next logits.

Axes: B batch, S sequence, V vocabulary.
"""

from collections.abc import Sequence
from dataclasses import replace

import torch
from jaxtyping import Float, Int
from torch import Tensor

from trifold.batch import Layout
from trifold.errors import NonFiniteError
from trifold.generation.beams import BeamCache, can_share
from trifold.generation.owed import Owed
from trifold.model import Transformer

__all__ = ["Decoding", "check_finite", "pad"]


def check_finite(logprobs: Float[Tensor, " batch"]) -> None:
    """Refuse log-probabilities that are not numbers, which say that some logit of the row was none.

    Raises:
        NonFiniteError: with the row.
    """
    bad = logprobs.isnan()
    if bool(bad.any()):
        raise NonFiniteError("generation.not_finite", row=int(bad.nonzero()[0, 0]) + 1)


def pad(rows: Sequence[Sequence[int]], *, left: bool, device: torch.device) -> tuple[Tensor, Layout]:
    """Rows of unequal length as one tensor with its layout; equal rows need no padding and get the fast layout.

    Example:
        >>> pad([[1, 2], [3]], left=True, device=torch.device("cpu"))[0]
        tensor([[1, 2],
                [0, 3]])
    """
    lengths = [len(row) for row in rows]
    width = max(lengths)
    if min(lengths) == width:
        return torch.tensor(rows, device=device), Layout.whole(len(rows), width, device=device)
    padding = [[0] * (width - length) for length in lengths]
    filled = [[*gap, *row] if left else [*row, *gap] for gap, row in zip(padding, rows, strict=True)]
    return torch.tensor(filled, device=device), Layout.padded(torch.tensor(lengths, device=device), left=left)


class Decoding:
    """Rows being continued by a model; each pass reads only the newest tokens.

    Unequal prompts are padded on the left, so that all rows grow at the same place; the layout hides the padding.

    Args:
        model: a model with a decoder, in evaluation mode.
        prompts: token ids that each row starts with, at least one each.
        sources: token ids that the encoder reads, one list a row; None for a model without encoder. Encoded once.
        prefix: whether the tokens of a prompt see each other in both directions (a prefix language model).
        vocab_size: how many first logits to give (a model may have more than its tokenizer has tokens); None for all.
        suppressed: tokens that are never to be chosen.
        owed: what each row must write once; None for nothing.
    """

    def __init__(
        self,
        model: Transformer,
        prompts: Sequence[Sequence[int]],
        sources: Sequence[Sequence[int]] | None = None,
        *,
        prefix: bool = False,
        vocab_size: int | None = None,
        suppressed: Sequence[int] = (),
        owed: Owed | None = None,
    ) -> None:
        self.model, self.prompts, self.cache = model, prompts, model.new_cache()
        self.vocab_size, self.suppressed, self.owed = vocab_size, list(suppressed), owed
        self.device = model.embedding.tokens.weight.device
        self.lengths = torch.tensor([len(row) for row in prompts], device=self.device)
        self.prefix = self.lengths if prefix else None
        self.memory, self.memory_layout = self._encode(sources)
        self.uniform = min(len(row) for row in prompts) == max(len(row) for row in prompts)

    @torch.inference_mode()
    def _encode(self, sources: Sequence[Sequence[int]] | None) -> tuple[Tensor | None, Layout | None]:
        if sources is None:
            return None, None
        tokens, layout = pad(sources, left=False, device=self.device)
        return self.model.encode(tokens, layout), layout

    @torch.inference_mode()
    def start(self) -> Float[Tensor, "batch vocab"]:
        """Read the prompts; the logits of each row's next token."""
        tokens, layout = pad(self.prompts, left=True, device=self.device)
        return self._read(tokens, layout)

    @torch.inference_mode()
    def step(self, tokens: Int[Tensor, " batch"]) -> Float[Tensor, "batch vocab"]:
        """Add one token to each row; the logits of the next."""
        if self.uniform:
            layout = Layout.whole(len(tokens), 1, start=self.cache.length, device=self.device)
        else:
            positions = self.lengths[:, None]
            layout = Layout(positions, torch.ones_like(positions))
        self.lengths = self.lengths + 1
        if self.owed is not None:
            self.owed.write(tokens)
        return self._read(tokens[:, None], layout)

    def _read(self, tokens: Tensor, layout: Layout) -> Tensor:
        if self.prefix is not None:
            layout = replace(layout, prefix=self.prefix[:, None].expand(tokens.shape))
        hidden = self.model.decode(
            tokens, layout, memory=self.memory, memory_layout=self.memory_layout, cache=self.cache
        )
        logits = self.model.head(hidden[:, -1])[:, : self.vocab_size]
        if self.suppressed:
            logits[:, self.suppressed] = float("-inf")
        if self.owed is not None:
            self.owed.settle(logits)
        return logits

    @torch.inference_mode()
    def select(self, rows: Int[Tensor, " chosen"], *, same_source: bool = False) -> None:
        """Keep the given rows, in the given order; rows may repeat.

        Args:
            rows: which rows.
            same_source: every row takes the place of one with the same source, so that nothing of it moves.
        """
        self.cache.select(rows, memory=not same_source)
        self._follow(rows, same_source=same_source)

    @torch.inference_mode()
    def branch(self, beams: int) -> Int[Tensor, " beams"]:
        """Go on with so many copies of each row, side by side; gives which row each is a copy of."""
        rows = torch.arange(len(self.prompts), device=self.device).repeat_interleave(beams)
        if can_share(self.cache):
            self.cache = BeamCache(self.cache, rows)
        else:
            self.cache.select(rows)
        self._follow(rows, same_source=False)
        return rows

    def _follow(self, rows: Tensor, *, same_source: bool) -> None:
        """What is beside the cache."""
        self.lengths = self.lengths[rows]
        self.prefix = None if self.prefix is None else self.prefix[rows]
        if self.owed is not None:
            self.owed.keep(rows)
        if self.memory is not None and self.memory_layout is not None and not same_source:
            if isinstance(self.cache, BeamCache):  # its slots hold what they need; the shape alone is read
                self.memory = self.memory[:1].expand(len(rows), -1, -1)
            else:
                self.memory = self.memory[rows]
            documents = self.memory_layout.documents
            if documents is not None:
                positions = self.memory_layout.positions[rows]
                self.memory_layout = Layout(positions, documents[rows])

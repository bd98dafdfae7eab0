"""From hidden states to logits over the vocabulary."""

from jaxtyping import Float
from torch import Tensor, nn

from trifold.model import config
from trifold.model.block import build_activation
from trifold.model.norm import build_norm

__all__ = ["Head"]


class Head(nn.Module):
    """`weight (norm(activation(dense x)) * scale) + bias`, with the embedding's weight where the two are tied.

    `transform` and `output` stand apart so that a loss can compute logits in pieces and never hold them all.

    Attributes:
        silent: the row of a tied weight that stays zero, to which a loss gives no gradient; None where there is none.
    """

    def __init__(self, transformer: config.Transformer, embedding: nn.Embedding) -> None:
        super().__init__()
        head, width = transformer.head, transformer.embedding.width or transformer.d_model
        self.scale, self.silent = head.scale, transformer.embedding.padding if head.tied else None
        self.activation = build_activation(head.activation)
        self.dense = nn.Linear(transformer.d_model, width, bias=head.dense_bias) if head.activation else nn.Identity()
        self.norm = build_norm(head.norm, width)
        self.output = nn.Linear(width, transformer.vocab_size, bias=head.bias)
        if head.tied:
            self.output.weight = embedding.weight

    def transform(self, hidden: Float[Tensor, "*places d_model"]) -> Float[Tensor, "*places width"]:
        """All that comes before the product with the vocabulary."""
        return self.norm(self.activation(self.dense(hidden))) * self.scale

    def forward(self, hidden: Float[Tensor, "*places d_model"]) -> Float[Tensor, "*places vocab"]:
        """Hidden states to logits."""
        return self.output(self.transform(hidden))

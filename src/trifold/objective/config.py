"""The pre-training objectives, as frozen values."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Literal

from annotated_types import Interval

from trifold.config import TAGGED, Config, Fraction, require

__all__ = [
    "PUBLISHED",
    "Causal",
    "Denoising",
    "Infilling",
    "Masked",
    "Mixture",
    "ObjectiveConfig",
    "Prefix",
    "SequenceToSequence",
]

Rate = Annotated[float, Interval(gt=0, lt=1)]


@dataclass(frozen=True, kw_only=True, slots=True)
class Causal(Config):
    """Predict each token from those before it (Radford et al. 2018)."""

    kind: Literal["causal"] = "causal"


@dataclass(frozen=True, kw_only=True, slots=True)
class Masked(Config):
    """Hide some tokens and predict them from both sides (Devlin et al. 2019, section 3.1).

    Attributes:
        rate: part of the tokens to predict.
        mask_share: part of those that become the mask token.
        random_share: part of those that become a random token; the rest stay as they are.
        whole_word: hide all tokens of a word together.

    Example:
        >>> Masked().rate
        0.15
    """

    kind: Literal["masked"] = "masked"
    rate: Rate = 0.15
    mask_share: Fraction = 0.8
    random_share: Fraction = 0.1
    whole_word: bool = False

    def __post_init__(self) -> None:
        Config.__post_init__(self)
        shares = self.mask_share + self.random_share
        require(shares <= 1 + 1e-9, where="mask_share + random_share", given=shares, allowed="at most 1")


@dataclass(frozen=True, kw_only=True, slots=True)
class Denoising(Config):
    """Replace spans by sentinels and write out what they held (Raffel et al. 2020, section 3.1.4).

    Attributes:
        rate: part of the tokens in spans.
        mean_span: mean length of a span.

    Example:
        >>> Denoising().mean_span
        3.0
    """

    kind: Literal["denoising"] = "denoising"
    rate: Rate = 0.15
    mean_span: Annotated[float, Interval(ge=1, le=1000)] = 3.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Infilling(Config):
    """Shuffle sentences, replace each of some spans by one mask, and write out the whole text (Lewis et al. 2020).

    Attributes:
        rate: part of the tokens in spans.
        mean_span: mean length of a span, by Poisson's law; empty spans get a mask too.
        permuted: part of the sentences that change places.

    Example:
        >>> Infilling().rate
        0.3
    """

    kind: Literal["infilling"] = "infilling"
    rate: Rate = 0.3
    mean_span: Annotated[float, Interval(ge=1, le=1000)] = 3.0
    permuted: Fraction = 1.0


@dataclass(frozen=True, kw_only=True, slots=True)
class SequenceToSequence(Config):
    """Write the target of a pair after reading its source (Sutskever et al. 2014; Vaswani et al. 2017).

    Attributes:
        too_long: a side that does not fit its row is cut at the end, or refused.
    """

    kind: Literal["sequence_to_sequence"] = "sequence_to_sequence"
    too_long: Literal["cut", "refuse"] = "cut"


@dataclass(frozen=True, kw_only=True, slots=True)
class Prefix(Config):
    """Read a prefix from both sides, then predict the rest token by token (Raffel et al. 2020, section 3.2.3).

    Attributes:
        shortest, longest: the prefix is a random part of the piece between these two.

    Example:
        >>> Prefix().longest
        0.75
    """

    kind: Literal["prefix"] = "prefix"
    shortest: Fraction = 0.25
    longest: Fraction = 0.75

    def __post_init__(self) -> None:
        Config.__post_init__(self)
        require(self.shortest <= self.longest, where="shortest", given=self.shortest, allowed=f"<= {self.longest}")


@dataclass(frozen=True, kw_only=True, slots=True)
class Mixture(Config):
    """Several objectives, one drawn for each piece.

    Attributes:
        parts: the objectives; all must suit the model.
        weights: how often to draw each, relative to the others.

    Example:
        >>> Mixture(parts=(Causal(), Prefix()), weights=(1.0, 1.0)).kind
        'mixture'
    """

    kind: Literal["mixture"] = "mixture"
    parts: tuple[Annotated[Causal | Masked | Denoising | Infilling | SequenceToSequence | Prefix, TAGGED], ...]
    weights: tuple[Annotated[float, Interval(gt=0)], ...]

    def __post_init__(self) -> None:
        Config.__post_init__(self)
        fits = len(self.parts) == len(self.weights) > 0 and all(weight > 0 for weight in self.weights)
        require(fits, where="mixture.weights", given=self.weights, allowed="one number above 0 for each part")


PUBLISHED: Mapping[str, Causal | Masked | Denoising | Infilling | SequenceToSequence] = {
    one.kind: one for one in (Causal(), Masked(), Denoising(), Infilling(), SequenceToSequence())
}
"""The objectives that families were published with, by their kind, with their usual settings."""
ObjectiveConfig = Annotated[Causal | Masked | Denoising | Infilling | SequenceToSequence | Prefix | Mixture, TAGGED]

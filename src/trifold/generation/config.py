"""How text is generated, as a frozen value."""

from dataclasses import dataclass
from typing import Annotated, Literal

from annotated_types import Interval

from trifold.config import Config, Count, Fraction, Natural, require
from trifold.errors import ConfigError

__all__ = ["Sampling"]

RANDOM = {"top_k": 0, "top_p": 1.0, "min_p": 0.0, "repetition_penalty": 1.0}
"""What leaves the model's distribution as it is; beam search takes no other values."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Sampling(Config):
    """How the next token is chosen and when to stop.

    The order is that of the field: repetition penalty, temperature, top-k, top-p, min-p. With `beams` above 1 the most
    probable text is searched for instead, and nothing is random.

    Attributes:
        max_tokens: most tokens to generate; None: 256, or fewer where the model has fewer positions left.
        temperature: what logits are divided by; 0 always takes the most probable token.
        top_k: draw among the `k` most probable tokens; 0 for all.
        top_p: draw among the fewest tokens that hold this share of the probability (Holtzman et al. 2020).
        min_p: draw among tokens at least this share as probable as the most probable one.
        repetition_penalty: above 1, tokens that occur already become less likely (Keskar et al. 2019).
        no_repeat_ngram: no run of so many tokens occurs twice, the prompt of a decoder included (Paulus et al. 2018,
            section 2.5); 0 for no such rule.
        beams: number of hypotheses kept by beam search; 1 for none.
        length_penalty: exponent of the length that beam search divides log-probabilities by; 0 for none.
        early_stopping: beam search is over when as many hypotheses as beams have ended, even if a better one may come.
        seed: start of the random numbers of every request, whatever else is in the batch; None: a new one each time.
        stop: strings that end the text; they are not part of it.
        truncate: what happens to a prompt that is longer than the model's context: `never` refuses it; `left` drops tokens
            at its beginning and `right` at its end, so that a decoder has room for `max_tokens`, or for a quarter of its
            context where that is None.

    Example:
        >>> Sampling(temperature=0.8, top_p=0.95).top_k
        0
    """

    max_tokens: Count | None = None
    temperature: Annotated[float, Interval(ge=0, le=100)] = 1.0
    top_k: Natural = 0
    top_p: Annotated[float, Interval(gt=0, le=1)] = 1.0
    min_p: Fraction = 0.0
    repetition_penalty: Annotated[float, Interval(gt=0, le=100)] = 1.0
    beams: Annotated[int, Interval(ge=1, le=1024)] = 1
    length_penalty: Annotated[float, Interval(ge=0, le=10)] = 0.6
    early_stopping: bool = False
    seed: Annotated[int, Interval(ge=0, lt=2**63)] | None = None
    stop: tuple[str, ...] = ()
    no_repeat_ngram: Natural = 0
    truncate: Literal["never", "left", "right"] = "never"

    def __post_init__(self) -> None:
        Config.__post_init__(self)
        require(all(self.stop), where="stop", given=self.stop, allowed="strings of at least one character")
        self._check_beams()

    def _check_beams(self) -> None:
        if self.beams == 1:
            if self.length_penalty != 0.6:
                raise ConfigError("generation.length_penalty_alone", given=self.length_penalty)
            return
        neutral = RANDOM | {"temperature": 1.0 if self.temperature else 0.0}
        for name, value in neutral.items():
            given = getattr(self, name)
            if given != value:
                raise ConfigError("generation.range_beams", name=name, given=given, beams=self.beams, allowed=value)

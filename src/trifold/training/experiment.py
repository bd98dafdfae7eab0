"""A whole run as one value: model, tokenizer, data, objective and training.

What is written here is written to `trifold.json` in the run's folder, and a run can be repeated from that file alone.
"""

from dataclasses import dataclass, field, replace
from typing import Annotated, Literal

from annotated_types import Interval

from trifold.config import Chance, Config, Natural, PathText, require
from trifold.objective.config import Causal, ObjectiveConfig
from trifold.text.training import Kind
from trifold.training.config import Training

__all__ = ["DataChoice", "Experiment", "ModelChoice", "TokenizerChoice"]


@dataclass(frozen=True, kw_only=True, slots=True)
class ModelChoice(Config):
    """Which model to start from.

    Attributes:
        preset: family by name; None when `start` is given.
        size: one of the family's sizes.
        overrides: values that replace the size's own, such as `{"num_layers": 4, "d_model": 128}`, or those of the model to
            start from, such as `{"dropout": 0.2}`.
        start: a run or Hugging Face folder whose weights to go on from; None to start from random weights.
        embedding: how the vectors of tokens start before pre-training: random, or counted from which tokens of the text
            stand near which (`trifold.training.cooccurrence`), which spares a small model most of the way.
        attention: how attention starts: random, or looking at the tokens beside each token
            (`trifold.training.neighbours`), which models with learned positions take long to find.

    Example:
        >>> ModelChoice(preset="gpt2", size="tiny").overrides
        {}
    """

    preset: str | None = None
    size: str = "tiny"
    overrides: dict[str, int | float | bool | str] = field(default_factory=dict)
    start: PathText | None = None
    embedding: Literal["random", "cooccurrence"] = "random"
    attention: Literal["random", "neighbours"] = "random"

    def __post_init__(self) -> None:
        Config.__post_init__(self)
        one = (self.preset is None) != (self.start is None)
        require(one, where="model", given=f"preset={self.preset}, start={self.start}", allowed="exactly one of the two")
        for name in ("embedding", "attention"):
            value, allowed = getattr(self, name), "random with model.start, which has its own"
            require(self.start is None or value == "random", where=f"model.{name}", given=value, allowed=allowed)


@dataclass(frozen=True, kw_only=True, slots=True)
class TokenizerChoice(Config):
    """Which tokenizer to use.

    Attributes:
        path: a tokenizer's folder or file; None to train one on the training data (or take that of `model.start`).
        kind: of the one to train; None: `byte_bpe`, or what the task to fine-tune for says.
        vocab_size: of the one to train.
        lowercase: lower-case all text first (`wordpiece` only); None: no, or what the task to fine-tune for says.
        special_tokens: further tokens that stand for no text.
        user_tokens: pieces of text that are always one token.

    Example:
        >>> TokenizerChoice(kind="character").vocab_size
        8192
    """

    path: PathText | None = None
    kind: Kind | None = None
    vocab_size: Annotated[int, Interval(ge=16, le=2**22)] = 8192
    lowercase: bool | None = None
    special_tokens: tuple[str, ...] = ()
    user_tokens: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        Config.__post_init__(self)
        fits = not self.lowercase or self.kind in (None, "wordpiece")
        require(fits, where="tokenizer.lowercase", given=f"kind={self.kind}", allowed="kind=wordpiece")

    def settled(self, kind: Kind, *, lowercase: bool = False) -> "TokenizerChoice":
        """The same choice, of this kind where none was named, and lower-cased where nobody said whether it should be."""
        kind = self.kind or kind
        lower = lowercase and kind == "wordpiece" if self.lowercase is None else self.lowercase
        return replace(self, kind=kind, lowercase=lower)


@dataclass(frozen=True, kw_only=True, slots=True)
class DataChoice(Config):
    """Which text to train on and which to hold out.

    Attributes:
        paths: files, folders, `-` or hub names; empty where `pretrain` is given the texts themselves.
        weights: how often to draw from each path, relative to the others; empty to read all text as one corpus.
        valid: held-out files; empty to hold out every n-th document, or of fewer than n, stretches of the text.
        valid_fraction: how much to hold out when `valid` is empty; 0 for nothing.
        held_out: where such stretches lie: spread over all of the text, or the end of the last document.
        text_field: column or key that holds the text, in jsonl, csv, tsv and parquet; `a|b` for the first that is there.
        source_field, target_field: columns of pairs, for sequence-to-sequence; None for plain text.
        document: what one document of a plain-text file is.
        on_error: what to do with a damaged record.
        encoding: of files without a byte order mark.

    Example:
        >>> DataChoice(paths=("notes.txt",)).document
        'file'
    """

    paths: tuple[PathText, ...] = ()
    weights: tuple[float, ...] = ()
    valid: tuple[PathText, ...] = ()
    valid_fraction: Chance = 0.02
    held_out: Literal["spread", "end"] = "spread"
    text_field: str = "text"
    source_field: str | None = None
    target_field: str | None = None
    document: Literal["file", "paragraph", "line"] = "file"
    on_error: Literal["strict", "skip", "replace"] = "strict"
    encoding: str = "utf-8"

    def __post_init__(self) -> None:
        Config.__post_init__(self)
        fits = not self.weights or (len(self.weights) == len(self.paths) and all(w > 0 for w in self.weights))
        require(fits, where="data.weights", given=self.weights, allowed="one number above 0 a path, or none at all")
        both = (self.source_field is None) == (self.target_field is None)
        require(both, where="data.source_field, data.target_field", given="one of them", allowed="both or neither")


@dataclass(frozen=True, kw_only=True, slots=True)
class Experiment(Config):
    """A whole run.

    Attributes:
        patience: after how many evaluations without a better one to stop; 0 for never.

    Example:
        >>> run = Experiment(model=ModelChoice(preset="gpt2"), data=DataChoice(paths=("a.txt",)),
        ...                  training=Training(steps=10))
        >>> run.objective.kind
        'causal'
    """

    model: ModelChoice
    data: DataChoice = DataChoice()
    training: Training
    tokenizer: TokenizerChoice = TokenizerChoice()
    objective: ObjectiveConfig = Causal()  # noqa: RUF009 - frozen
    patience: Natural = 0

    def __post_init__(self) -> None:
        Config.__post_init__(self)
        object.__setattr__(self, "tokenizer", self.tokenizer.settled("byte_bpe"))

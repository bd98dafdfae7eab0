"""How well a model knows a text: bits per byte, and perplexities."""

import math
import re
import tempfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from trifold.data import Example, Loader, ReadReport, Room, SourceOptions, TokenStore, build_stores, read
from trifold.errors import ModelFileError
from trifold.objective import build_objective, config
from trifold.presets.pretrained import Transformer, resolve
from trifold.text import Tokenizer
from trifold.training import Evaluation, evaluate_loss, read_experiment

__all__ = [
    "Score",
    "evaluate_examples",
    "evaluate_text",
    "load_run",
    "objective_of",
    "trained_length",
]

LONGEST = 512
HAN = re.compile("[\u4e00-\u9fff]")


@dataclass(frozen=True, slots=True)
class Score:
    """What an evaluation found.

    Attributes:
        objective: what the model was asked to predict: every token, the masked ones, or the hidden spans.
        loss: nats per predicted token.
        bits_per_byte: of the bytes that the predicted tokens spell.
        perplexity: per token.
        word_perplexity: per word, where a line end counts as one; None unless every token was predicted, and for Chinese,
            whose words nothing divides.
        character_perplexity: the same per character of Chinese text, white space not counted; None for other text.
        tokens, num_bytes: how much was predicted.
        words, characters: how many of these the text has, by what its perplexity is given.
        unknown_tokens: part of the text's tokens that the tokenizer does not know; their bytes are not predicted.
    """

    objective: str
    loss: float
    bits_per_byte: float | None
    perplexity: float
    word_perplexity: float | None
    character_perplexity: float | None
    tokens: int
    num_bytes: int
    words: int | None
    characters: int | None
    unknown_tokens: float


def load_run(path: str | Path) -> tuple[Transformer, Tokenizer]:
    """The model and the tokenizer of a run or Hugging Face folder.

    Raises:
        ModelFileError: one of them is missing or damaged.
    """
    model = Transformer.from_pretrained(path)
    return model, Tokenizer.from_pretrained(resolve(Path(path)))


def objective_of(path: str | Path, model: Transformer) -> config.ObjectiveConfig:
    """The objective that a run was trained with; of other folders, the one its family was published with."""
    try:
        return read_experiment(path).objective
    except ModelFileError:
        if model.preset is not None:
            return config.PUBLISHED[model.preset.objective]
        own = (model.config.encoder is not None, model.config.decoder is not None)
        return {(False, True): config.Causal(), (True, False): config.Masked(), (True, True): config.Denoising()}[own]


def evaluate_text(
    path: str | Path,
    data: list[str],
    *,
    options: SourceOptions | None = None,
    length: int | None = None,
    batch_size: int = 16,
    report: ReadReport | None = None,
) -> Score:
    """Measure a model on text.

    Args:
        path: a run or Hugging Face folder.
        data: files, folders or `-`.
        options: how to read them.
        length: tokens in a row; None for what it was trained with (512 or fewer for other folders).
        batch_size: rows at once.
        report: is told what was read and what was left out.

    Raises:
        DataError: there is no text, or it is damaged.
        ModelFileError: there is no model, or it is damaged.
    """
    model, tokenizer = load_run(path)
    pairs = options is not None and len(options.fields) == 2
    return evaluate_examples(
        model,
        tokenizer,
        read(data, options, report),
        objective=objective_of(path, model),
        pairs=pairs,
        length=length or trained_length(path, model),
        batch_size=batch_size,
        name=", ".join(data),
    )


def evaluate_examples(
    model: Transformer,
    tokenizer: Tokenizer,
    examples: Iterable[Example],
    *,
    objective: config.ObjectiveConfig,
    length: int,
    batch_size: int = 16,
    pairs: bool = False,
    name: str = "-",
) -> Score:
    """Measure a model on documents, or on pairs of them.

    Args:
        model: to measure.
        tokenizer: its own.
        examples: the documents, with one text each or two.
        objective: what the model has to predict.
        length: tokens in a row.
        batch_size: rows at once.
        pairs: whether each has two texts.
        name: of the text, for messages.

    Raises:
        DataError: there is no text.
    """
    aim, counted = build_objective(objective, tokenizer, model.config), _Words(examples)
    with tempfile.TemporaryDirectory() as folder:
        options = {"words": aim.needs_words, "pairs": pairs, "details": {"paths": [name]}}
        build_stores(counted, tokenizer, Path(folder) / "text", **options)
        store = TokenStore(Path(folder) / "text" / "train", tokenizer)
        target = aim.target_length(length) or length
        room = Room(source=length if model.config.encoder else 0, target=target if model.config.decoder else 0)
        pad, token_bytes = tokenizer.special.pad or 0, tokenizer.token_bytes()
        loader = Loader([store], aim, room, batch_size=batch_size, pad=pad, token_bytes=token_bytes)
        evaluation = evaluate_loss(model, aim, loader.epoch())
    return _score(objective.kind, evaluation, counted, unknown=store.unknown_share)


def trained_length(path: str | Path, model: Transformer) -> int:
    """Tokens in a row that a run was trained with; `LONGEST`, or what the model has room for, of other folders."""
    try:
        return read_experiment(path).training.length
    except ModelFileError:
        return min(model.config.max_length or LONGEST, LONGEST)


def _score(kind: str, evaluation: Evaluation, text: "_Words", *, unknown: float) -> Score:
    chinese, whole = text.chinese, evaluation.loss * evaluation.tokens
    every = kind == "causal"
    return Score(
        objective=kind,
        loss=evaluation.loss,
        bits_per_byte=evaluation.bits_per_byte,
        perplexity=_exp(evaluation.loss),
        word_perplexity=_exp(whole / max(text.words, 1)) if every and not chinese else None,
        character_perplexity=_exp(whole / max(text.characters, 1)) if every and chinese else None,
        tokens=int(evaluation.tokens),
        num_bytes=evaluation.num_bytes,
        words=None if chinese else text.words,
        characters=text.characters if chinese else None,
        unknown_tokens=unknown,
    )


def _exp(value: float) -> float:
    return math.exp(min(value, 700.0))


class _Words:
    """Passes documents on and counts their words, of which a line end is one, and their characters."""

    def __init__(self, examples: Iterable[Example]) -> None:
        self.examples, self.words, self.characters, self._han = examples, 0, 0, 0

    @property
    def chinese(self) -> bool:
        """Whether at least a third of the characters are Han."""
        return self._han * 3 >= self.characters > 0

    def __iter__(self) -> Iterator[Example]:
        for example in self.examples:
            text = example.texts[0]
            self.words += len(text.split()) + text.count("\n")
            self.characters += sum(map(len, text.split()))
            self._han += len(HAN.findall(text))
            yield example

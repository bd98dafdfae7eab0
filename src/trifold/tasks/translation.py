"""Translation: a sentence in one language in, the same in another out."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Annotated, Any, ClassVar, Literal

from annotated_types import Interval

from trifold.batch import Batch, Loss
from trifold.checkpoint.hugging_face import find_folder
from trifold.config import Count, Natural
from trifold.data.column_name import LANGUAGES
from trifold.data.rows import Row
from trifold.evaluation.metric import Tally, bleu, chrf, require_sacrebleu
from trifold.example import Ids, TrainingExample
from trifold.generation import Generation, Generator, Sampling
from trifold.generation.rules import RANDOM, read_rules
from trifold.locale import message
from trifold.model import Transformer
from trifold.model import config as model_config
from trifold.objective import sum_cross_entropy
from trifold.presets.pretrained import Transformer as Pretrained
from trifold.presets.pretrained import resolve
from trifold.tasks.baseline import nearest_translation
from trifold.tasks.carrying import COUNT, STAND_INS, Carrier, Parts, carry, carry_pair
from trifold.tasks.chat_template import enlarge
from trifold.tasks.frame import Frame
from trifold.tasks.long_text import Piece, cut_at_sentences, put_together
from trifold.tasks.placing import Placer
from trifold.tasks.record import Placed, Record, Role, text_of, value_of
from trifold.tasks.saved import read_task, task_in
from trifold.tasks.task import Folder, Prediction, Task, TaskConfig
from trifold.tasks.writing import open_writer, prompt_ids, write_answers, written_example
from trifold.text import Tokenizer
from trifold.text.verbatim import find_verbatim
from trifold.text.words import mostly_chinese
from trifold.training.prepare import note_padding

__all__ = ["Translation", "TranslationTask", "translation_as"]

ROLES = (
    Role("source", ("source", "src", "text")),
    Role("target", ("target", "tgt", "translation"), label=True, either=LANGUAGES),
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Translation(TaskConfig):
    """A text in, a text out (Vaswani et al. 2017): an encoder-decoder reads the source, a decoder continues it.

    Attributes:
        beams: hypotheses of beam search; 1 is greedy.
        length_penalty: exponent of its length normalisation.
        early_stopping: the search is over when as many hypotheses as beams have ended, even if a better one may come.
        no_repeat_ngram: no run of so many tokens occurs twice in a translation; 0 for no such rule.
        label_smoothing: share of probability spread over all tokens (Szegedy et al. 2016).
        max_length: longest side in tokens.
        max_tokens: most tokens of a translation; None for `max_length`.
        usual_length: characters of a source; found in training, where one in a hundred is longer. A text that is longer, or
            has more than `max_length` tokens, is translated by its sentences. 0 where it is not known.
        verbatim: numbers, addresses, placeholders and their like (`trifold.text.verbatim`) are carried over as they are, by
            stand-ins that the model learns to place; None: where the weights are random, or those of a run that does.
        target_language: how BLEU cuts words: `zh` into characters, anything else as 13a; `auto`: from the references.

    Example:
        >>> Translation().beams
        5
    """

    family: ClassVar[str] = "vaswani"
    roles: ClassVar[tuple[Role, ...]] = ROLES
    less_is_better: ClassVar[bool] = True
    from_scratch: ClassVar[bool] = True

    kind: Literal["translation"] = "translation"
    beams: Annotated[int, Interval(ge=1, le=64)] = 5
    length_penalty: Annotated[float, Interval(ge=0, le=10)] = 1.0
    early_stopping: bool = True
    no_repeat_ngram: Natural = 0
    label_smoothing: Annotated[float, Interval(ge=0, lt=1)] = 0.1
    max_length: Count = 128
    max_tokens: Count | None = None
    usual_length: Natural = 0
    verbatim: bool | None = None
    target_language: str = "auto"

    @property
    def no_model(self) -> str:
        """It learns all from its pairs."""
        return "cli.family_for_pairs"

    def started_from(self, start: str | None) -> "Translation":
        """With stand-ins where the weights are random, or those of a run that has them."""
        if self.verbatim is not None:
            return self
        told = {"verbatim": True} if start is None else task_in(read_task(resolve(find_folder(start))))
        return replace(self, verbatim=told.get("verbatim") is True)

    def settle(self, tokenizer: Tokenizer, model: Pretrained) -> "tuple[Translation, Pretrained, list[str]]":
        """With stand-ins in the tokenizer, if they are to be."""
        added = [token for token in STAND_INS if self.verbatim and tokenizer.token_to_id(token) is None]
        tokenizer.add_special(added)
        return self, enlarge(model, tokenizer.vocab_size) if added else model, added

    @classmethod
    def as_meant(cls, saved: Mapping[str, Any]) -> Mapping[str, Any]:
        """An older run says nothing of stand-ins, of which there were none."""
        return {"verbatim": False, **saved}

    def complete(self, rows: Sequence[Placed]) -> "tuple[Translation, list[float] | None]":
        """With the usual length of a source; before anything is trained, it is made sure that the result can be judged.

        Raises:
            MissingExtraError: sacrebleu is not installed.
        """
        require_sacrebleu()
        texts = (value_of(row, columns["source"]) for row, columns in rows)
        lengths = sorted(self.length_of(text) for text in texts if isinstance(text, str))
        return replace(self, usual_length=lengths[len(lengths) * 99 // 100] if lengths else 0), None

    def length_of(self, text: str) -> int:
        """Characters of a text; what a stand-in takes the place of counts as one."""
        return sum(len(part) if isinstance(part, str) else 1 for part in carry(text)[0]) if self.verbatim else len(text)

    @classmethod
    def found_in(cls, folder: Folder) -> "Translation | None":
        """A folder that writes, and was not tuned for anything else."""
        if folder.outputs is not None or folder.pools:
            return None
        return translation_as(folder.model.generation, folder.model.context)

    def build(
        self, tokenizer: Tokenizer, model: model_config.Transformer, *, class_weights: Sequence[float] | None = None
    ) -> "TranslationTask":
        """The task for a model."""
        del class_weights
        return TranslationTask(self, tokenizer, model)


class TranslationTask(Task[Translation]):
    """Reads the source, writes the target; trained with label smoothing, used with beam search.

    Args:
        config: beams, smoothing and lengths.
        tokenizer: the model's.
        model: the model's configuration.
    """

    metrics = ("bleu", "chrf")
    writes = True
    translates: ClassVar[bool] = True

    def __init__(self, config: Translation, tokenizer: Tokenizer, model: Any) -> None:
        super().__init__(config, tokenizer, Frame(tokenizer, model, config.max_length))
        self.model = model
        self.carrier = Carrier(tokenizer) if config.verbatim else None

    @property
    def default_metric(self) -> str:
        """The loss: a search for every sentence at every evaluation takes long."""
        return "loss"

    def remarks(self) -> list[str]:
        """What is carried over; where a model of Marian's kind has its padding elsewhere than converters take it to be."""
        return ([message("task.note_verbatim")] if self.carrier else []) + note_padding(self.model)

    def writer(self, model: Pretrained) -> Generator:
        """What writes after a text as it is; no stand-in."""
        if self.carrier is None:
            return super().writer(model)
        return open_writer(model, self.tokenizer, self.frame, carried=self.carrier.ids)

    def record(self, row: Row, columns: Mapping[str, str]) -> Record:
        """Source and, where the file has it, target."""
        source = text_of(row, columns["source"])
        return Record((source,), text_of(row, columns["target"]) if "target" in columns else None, row.origin)

    def examples(self, records: Sequence[Record]) -> list[tuple[TrainingExample, ...]]:
        """Source and target as the family reads them."""
        pairs = [(record.inputs[0], record.gold) for record in records]
        return self._laid([carry_pair(*pair) if self.carrier else ((pair[0],), (pair[1],)) for pair in pairs])

    def training_examples(self, model: Pretrained, records: Sequence[Record]) -> list[tuple[TrainingExample, ...]]:
        """The same, and copies of some with further stand-ins."""
        if self.carrier is None:
            return super().training_examples(model, records)
        return self._laid(Placer([(record.inputs[0], record.gold) for record in records]).place())

    def _laid(self, pairs: Sequence[tuple[Parts, Parts]]) -> list[tuple[TrainingExample, ...]]:
        sources = self._encode([source for source, _ in pairs])
        targets = self._encode([target for _, target in pairs], target=True)
        return [(written_example(self.frame, source, target),) for source, target in zip(sources, targets, strict=True)]

    def _encode(self, texts: Sequence[Parts], *, target: bool = False) -> list[Ids]:
        if self.carrier is not None:
            return self.carrier.encode(texts, target=target)
        tokenizer = self.tokenizer.for_target() if target else self.tokenizer
        return tokenizer.encode_ids([str(text) for (text,) in texts], plain=True)

    def loss(self, model: Transformer, batch: Batch) -> Loss:
        """Cross-entropy of the target, smoothed in training only."""
        assert batch.labels is not None, "a loss needs labels"
        smoothing = self.config.label_smoothing if model.training else 0.0
        return Loss(*sum_cross_entropy(model.head, model(batch), batch.labels, smoothing=smoothing))

    def predict(self, model: Pretrained, records: Sequence[Record]) -> list[Prediction]:
        """The best translation that beam search finds; of a long text, of its sentences."""
        config = self.config
        search = {"length_penalty": config.length_penalty, "early_stopping": config.early_stopping}
        sampling = Sampling(
            temperature=0.0,
            beams=config.beams,
            max_tokens=config.max_tokens,
            no_repeat_ngram=config.no_repeat_ngram,
            **(search if config.beams > 1 else {}),
        )  # type: ignore[arg-type]
        room = self.frame.limit if self.frame.encoder else max(self.frame.limit // 2, 1)
        texts = [cut_at_sentences(record.inputs[0], self._fits(room)) for record in records]
        read = [self._read(piece.text) for pieces in texts for piece in pieces]
        rows = [prompt_ids(self.frame, ids, room) for ids in self._encode([parts for parts, _ in read])]
        carried = self.carrier.ids if self.carrier else ()
        answers = write_answers(model, self.tokenizer, self.frame, rows, sampling, carried=carried)
        written = iter([self._put_back(answer, *one) for answer, one in zip(answers, read, strict=True)])
        return [_translated(pieces, [next(written) for _ in pieces]) for pieces in texts]

    def _read(self, text: str) -> tuple[Parts, list[str]]:
        return carry(text) if self.carrier else ((text,), [])

    def _put_back(self, answer: Generation, carried: Parts, strings: list[str]) -> Generation:
        """What was written, with what stand-ins stood for."""
        if self.carrier is None or not strings:
            return answer
        return replace(answer, text=self.carrier.text(answer.ids, carried, strings))

    def _fits(self, room: int) -> Callable[[str], bool]:
        """Whether a text is no longer than those of training, and has room before the model."""
        usual, room = self.config.usual_length or math.inf, room - 2  # a beginning and an end

        def fits(text: str) -> bool:
            if self.config.length_of(text) > usual or (self.carrier and len(find_verbatim(text)) > COUNT):
                return False
            return len(text.encode("utf-8", "replace")) <= room or len(self._encode([self._read(text)[0]])[0]) <= room

        return fits

    def generation(self, before: dict[str, Any]) -> dict[str, Any]:
        """The same search as transformers' generation configuration says it; the start token counts in its length.

        What was never to be written by the configuration `before` never is.
        """
        never = {name: before[name] for name in ("bad_words_ids", "suppress_tokens") if name in before}
        longest = min(self.config.max_tokens or self.frame.limit, self.frame.limit) + 1
        early = self.config.early_stopping and self.config.beams > 1
        once = {"no_repeat_ngram_size": self.config.no_repeat_ngram} if self.config.no_repeat_ngram else {}
        return {
            **never,
            **once,
            "num_beams": self.config.beams,
            "length_penalty": self.config.length_penalty,
            "early_stopping": early,
            "do_sample": False,
            "max_length": longest,
        }

    @staticmethod
    def left_out(model: Pretrained) -> tuple[str, ...]:
        """What the generation configuration of a model's folder asks for and a translation does not follow."""
        rules = read_rules(model.generation)
        names = RANDOM if model.generation.get("do_sample") else ("repetition_penalty",)
        return (*rules.left_out, *(name for name in names if rules.sampling.get(name, 1) not in (0, 1)))

    def measure(self, records: Sequence[Record], predictions: Sequence[Prediction]) -> dict[str, Tally]:
        """SacreBLEU's BLEU and chrF."""
        said, gold = [one.answer for one in predictions], [record.gold for record in records]
        return {"bleu": bleu(said, gold, tokenize=self._cut(gold)), "chrf": chrf(said, gold)}

    def baselines(self, train: Sequence[Record], test: Sequence[Record]) -> dict[str, list[Prediction]]:
        """The source itself, and the translation of the most similar training sentence."""
        return {"copy": [Prediction(record.inputs[0]) for record in test], **nearest_translation(train, test)}

    def samples(self, model: Pretrained, records: Sequence[Record], said: Sequence[Prediction]) -> Sequence[Prediction]:
        """The first translations."""
        del model
        return said[: len(records)]

    def _cut(self, gold: Sequence[str]) -> str:
        """How BLEU cuts words."""
        if self.config.target_language != "auto":
            return "zh" if self.config.target_language.lower().startswith("zh") else "13a"
        return "zh" if mostly_chinese(gold[:200]) else "13a"


def _translated(pieces: list[Piece], written: list[Generation]) -> Prediction:
    """The translation of a text from those of its parts; it ended for want of room if one of these did."""
    reasons = [part.finish_reason for part in written]
    reason = "length" if "length" in reasons else reasons[0]
    return Prediction(put_together([part.text for part in written], pieces), details={"finish_reason": reason})


def translation_as(generation: Mapping[str, Any], longest: int | None) -> Translation:
    """Translation as a model's folder wants it to be searched for; greedily where it does not say.

    Args:
        generation: its generation configuration.
        longest: most tokens that the model reads.

    Example:
        >>> translation_as({"num_beams": 4, "max_length": 512}, 512).beams
        4
    """
    rules = read_rules(generation)
    asked, first = rules.sampling, 1 + len(rules.forced)  # the start token counts, and what is forced
    most = None if rules.longest is None else max(rules.longest - first, 1)
    return Translation(
        beams=int(asked.get("beams", 1)),
        length_penalty=float(asked.get("length_penalty", 1.0)),
        early_stopping=bool(asked.get("early_stopping", False)),
        no_repeat_ngram=int(asked.get("no_repeat_ngram", 0)),
        max_length=longest or 512,
        max_tokens=asked.get("max_tokens", most),
    )

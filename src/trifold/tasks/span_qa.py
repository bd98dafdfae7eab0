"""Answers that stand in a context: extractive question answering over windows of a long text.

Axes: B batch, S sequence, N windows.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Literal

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

from trifold.batch import IGNORED, Batch, Loss
from trifold.config import Chance, Config, Count, require
from trifold.data.rows import Row
from trifold.evaluation.metric import Tally, mean
from trifold.evaluation.metric_text import cmrc_exact, cmrc_f1, squad_exact, squad_f1
from trifold.example import Extras, Ids, TrainingExample
from trifold.locale import message
from trifold.model import Transformer
from trifold.model import config as model_config
from trifold.presets.pretrained import Transformer as Pretrained
from trifold.tasks.account import Cut
from trifold.tasks.answer import Answers, read_answers
from trifold.tasks.baseline import sliding_window
from trifold.tasks.frame import Frame
from trifold.tasks.head import HeadWanted, document_keys, main_layout, segment_log_softmax, task_head
from trifold.tasks.judgement import risk_at_coverage
from trifold.tasks.nearness import Nearness
from trifold.tasks.record import Record, Role, text_of
from trifold.tasks.silence import asked_elsewhere, best_threshold, try_base
from trifold.tasks.task import Folder, Prediction, Task, TaskConfig, run_places
from trifold.text import Tokenizer
from trifold.text.words import mostly_chinese

__all__ = ["SpanQA", "SpanQATask"]

ROLES = (
    Role("question", ("question", "query")),
    Role("context", ("context", "passage", "paragraph")),
    Role("answers", ("answers", "answer", "answers.text", "answer_text"), label=True),
    Role("start", ("answer_start", "answers.answer_start", "start"), needed=False, label=True),
    Role("impossible", ("is_impossible", "impossible"), needed=False, label=True),
)


@dataclass(frozen=True, kw_only=True, slots=True)
class SpanQA(TaskConfig):
    """Which stretch of a context answers a question, if any (Rajpurkar et al. 2016; 2018).

    Attributes:
        max_length: question and window of the context together, in tokens.
        stride: how far the next window of a long context begins after the one before, in tokens.
        max_question: longest question in tokens.
        max_answer: longest answer in tokens.
        threshold: the answer is "I don't know" where the best span scores less than this above no answer; None: a
            question is always answered.
        base_threshold: the same where passages of a knowledge base are read, learned from questions whose answer a base
            lacks; None: as `threshold`.
        elsewhere: share of the questions that are also trained on with a text that fits their words but does not answer
            them; none where rows say themselves that there is no answer.
        match: tell the model which tokens of the context the question has too, and how near each token is to those. Helps a
            small model; no other tool can express it, so such a model is not portable.
        rule: how answers are compared: by SQuAD's words or by CMRC's characters; `auto`: characters where the contexts
            are mostly Chinese.

    Example:
        >>> SpanQA().stride
        128
    """

    roles: ClassVar[tuple[Role, ...]] = ROLES

    kind: Literal["span_qa"] = "span_qa"
    max_length: Count = 384
    stride: Count = 128
    max_question: Count = 64
    max_answer: Count = 48
    threshold: float | None = None
    base_threshold: float | None = None
    elsewhere: Chance = 0.25
    match: bool = False
    rule: Literal["auto", "squad", "cmrc"] = "auto"

    def __post_init__(self) -> None:
        Config.__post_init__(self)
        fits = self.max_question + 8 < self.max_length
        require(fits, where="task.max_question", given=self.max_question, allowed=f"< {self.max_length - 8}")

    @property
    def may_lack_label(self) -> bool:
        """A question without an answer says that there is none."""
        return True

    @classmethod
    def as_meant(cls, saved: Mapping[str, Any]) -> Mapping[str, Any]:
        """An older run says nothing of marks, which all had, nor of questions asked elsewhere, of which there were none."""
        return {"match": True, "elsewhere": 0.0, **saved}

    @classmethod
    def found_in(cls, folder: Folder) -> "SpanQA | None":
        """A folder whose head says where an answer begins and ends."""
        return cls() if folder.outputs is not None and folder.outputs.kind == "span_qa" else None

    def build(
        self, tokenizer: Tokenizer, model: model_config.Transformer, *, class_weights: Sequence[float] | None = None
    ) -> "SpanQATask":
        """The task for a model."""
        del class_weights
        return SpanQATask(self, tokenizer, model)


@dataclass(frozen=True, slots=True)
class Span:
    """A stretch of a context.

    Attributes:
        text: its characters, white space around them left out.
        start: its first character.
        margin: log-probability of the best span less that of no answer.
    """

    text: str
    start: int
    margin: float


@dataclass(frozen=True, slots=True)
class Window:
    """A question before a part of its context.

    Attributes:
        ids: all tokens.
        begin: place of the context's first token.
        spans: characters of the context that each of its tokens here stands for.
        record: number of the record.
    """

    ids: Ids
    begin: int
    spans: np.ndarray
    record: int


class SpanQATask(Task[SpanQA]):
    """The first and last token of the answer, each by a softmax over the window; the first token stands for no answer.

    Args:
        config: how windows are cut.
        tokenizer: the model's.
        model: the model's configuration.
    """

    metrics = ("exact_match", "f1")

    def __init__(self, config: SpanQA, tokenizer: Tokenizer, model: Any) -> None:
        super().__init__(config, tokenizer, Frame(tokenizer, model, config.max_length))
        self.needs_segments = config.match
        apart = ("task.match",) if config.match else ()
        self.head = HeadWanted("span_qa", ("start", "end"), apart=apart, each=True)
        self.frame.cut, self.guesses = Cut(config.max_question, setting="task.max_question"), 0
        self.trial: dict[str, Any] = {}

    def record(self, row: Row, columns: Mapping[str, str]) -> Record:
        """Question, context and gold answers, whose offsets are checked against the context."""
        question, context = text_of(row, columns["question"]), text_of(row, columns["context"])
        gold = read_answers(row, columns, context, guessed=self._guess) if "answers" in columns else None
        return Record((question, context), gold, row.origin)

    def _guess(self) -> None:
        self.guesses += 1

    def remarks(self) -> list[str]:
        """How many answers were taken to stand at the first of several places."""
        return [message("task.note_guessed", count=self.guesses)] if self.guesses else []

    def build_parts(self, model: Any) -> dict[str, nn.Module]:
        """How near a token is to what the question asks about, where that is asked for."""
        return {"near": Nearness(model.vocab_size, 2)} if self.config.match else {}

    def _windows(self, records: Sequence[Record]) -> list[Window]:
        encoded = iter(self.tokenizer.encode_batch([text for one in records for text in one.inputs], plain=True))
        windows = []
        for number in range(len(records)):
            question, context = next(encoded), next(encoded)
            asked = self._asked(question.ids)
            room = self.frame.room(2) - len(asked)
            start = 0
            while True:
                part = slice(start, start + room)
                ids, (_, begin) = self.frame.lay([asked, context.ids[part]])
                windows.append(Window(ids, begin, context.offsets[part], number))
                if start + room >= len(context.ids):
                    break
                start += min(self.config.stride, room)
        return windows

    def _asked(self, ids: Ids) -> Ids:
        """The question as it is read: of one that is too long, which is counted, half its beginning and half its end."""
        most = min(self.config.max_question, self.frame.limit // 2)
        self.frame.cut.count(longer=len(ids) > most)
        return ids if len(ids) <= most else np.concatenate([ids[: most // 2], ids[most // 2 - most :]])

    def examples(self, records: Sequence[Record]) -> list[tuple[TrainingExample, ...]]:
        """One example a window; the answer, or no answer where it stands elsewhere."""
        per_record: list[list[TrainingExample]] = [[] for _ in records]
        for window in self._windows(records):
            first, last = self._place(window, records[window.record].gold)
            per_record[window.record].append(self._mark(window, {"span": [first, last]}))
        return [(example,) for examples in per_record for example in examples]

    def training_examples(self, model: Pretrained, records: Sequence[Record]) -> list[tuple[TrainingExample, ...]]:
        """Those, and some of questions whose answer stands in another text."""
        del model
        return self.examples([*records, *asked_elsewhere(records, self.config.elsewhere)])

    def _place(self, window: Window, gold: Answers) -> tuple[int, int]:
        """Tokens of the first gold answer that stands whole in the window; (0, 0) for none."""
        for text, start in gold:
            end = start + len(text)
            inside = (window.spans[:, 0] < end) & (window.spans[:, 1] > start)
            touched = np.flatnonzero(inside)
            whole = len(touched) and window.spans[touched[0], 0] <= start and window.spans[touched[-1], 1] >= end
            if start >= 0 and whole:
                return window.begin + int(touched[0]), window.begin + int(touched[-1])
        return 0, 0

    def _mark(self, window: Window, extras: Extras | None = None) -> TrainingExample:
        """An example that is labelled where the window begins."""
        labels = np.full(len(window.ids), IGNORED, dtype=np.int64)
        labels[0] = 0
        return self.frame.each(window.ids, labels, extras)

    def loss(self, model: Transformer, batch: Batch) -> Loss:
        """Mean of the two negative log-likelihoods of each window."""
        scores = self._scores(model, model(self._seen(batch)), batch)
        rows, places = _marks(batch)
        first, last = (places + batch.extras["span"][:, side] for side in (0, 1))
        chosen = scores[rows, first, 0] + scores[rows, last, 1]
        return Loss(-0.5 * chosen.sum(), len(rows))

    def _scores(
        self, model: Transformer, hidden: Float[Tensor, "batch seq d_model"], batch: Batch
    ) -> Float[Tensor, "batch seq 2"]:
        """Log-probabilities of each token to be the first and the last, within its window."""
        logits = task_head(model)(hidden)
        assert isinstance(model, Pretrained), "it has a head"
        if "near" in model.heads:
            tokens = batch.target if batch.source is None else batch.source
            near = model.heads["near"](tokens, batch.source_layout or batch.target_layout, self.frame.end)
            logits = logits + near.to(logits.dtype)
        keys = document_keys(main_layout(batch), *logits.shape[:2])
        return segment_log_softmax(logits.flatten(0, 1), keys.flatten()).unflatten(0, logits.shape[:2])

    def _seen(self, batch: Batch) -> Batch:
        return self.frame.marked(batch, match=self.config.match)

    def predict(self, model: Pretrained, records: Sequence[Record]) -> list[Prediction]:
        """The best span of each context, or no answer where the threshold says so."""
        return [self._prediction(span) for span in self.spans(model, records)]

    def _prediction(self, span: Span) -> Prediction:
        sure = 1 / (1 + float(np.exp(-np.clip(span.margin, -60, 60))))
        if self.config.threshold is not None and span.margin < self.config.threshold:
            return Prediction("", sure, details={"margin": span.margin})
        place = {"start": span.start, "end": span.start + len(span.text)}
        return Prediction(span.text, sure, details={**place, "margin": span.margin})

    def spans(self, model: Pretrained, records: Sequence[Record]) -> list[Span]:
        """The best span over all windows of each context, whatever the threshold."""
        width = self.frame.limit
        windows = self._windows(records)

        def read(hidden: Tensor, batch: Batch) -> Tensor:
            scores = self._scores(model, hidden, batch)
            rows, places = _marks(batch)
            reach = places[:, None] + torch.arange(width, device=places.device)
            pair_scores = scores[rows[:, None], reach.clamp(max=scores.shape[1] - 1)]  # N S 2
            return pair_scores.masked_fill((reach >= scores.shape[1])[..., None], -torch.inf)

        examples = [self._mark(window) for window in windows]
        best = [(-np.inf, 0, 0)] * len(records)
        outputs = run_places(model, examples, self.frame.pad, read, see=self._seen)
        for window, scores in zip(windows, outputs, strict=True):
            best[window.record] = max(best[window.record], self._best(window, scores[0].numpy()))
        return [_span(record.inputs[1], *span) for record, span in zip(records, best, strict=True)]

    def _best(self, window: Window, scores: np.ndarray) -> tuple[float, int, int]:
        """Margin over no answer and characters of the best span of a window."""
        begin, count = window.begin, len(window.spans)
        none = float(scores[0].sum())
        if not count:
            return -np.inf, 0, 0
        first, last = scores[begin : begin + count, 0], scores[begin : begin + count, 1]
        table = first[:, None] + last[None, :]
        distance = np.arange(count)[None, :] - np.arange(count)[:, None]
        table[(distance < 0) | (distance >= self.config.max_answer)] = -np.inf
        one, two = np.unravel_index(int(table.argmax()), table.shape)
        return float(table[one, two]) - none, int(window.spans[one, 0]), int(window.spans[two, 1])

    def calibrate(self, model: Pretrained, dev: Sequence[Record]) -> None:
        """Learn from the dev set when to be silent: about a text, where some questions have no answer, and over a base."""
        if self.config.threshold is None and dev:
            self.config = replace(self.config, threshold=self.choose_threshold(model, dev))
        trial = try_base(dev, lambda records: self._read(model, records), self._overlap)
        if trial is not None and self.config.base_threshold is None:
            least = best_threshold(trial.margins, trial.f1, (~trial.held).astype(float))
            self.config, self.trial = replace(self.config, base_threshold=least), trial.told(least)

    def _read(self, model: Pretrained, records: Sequence[Record]) -> list[tuple[str, float]]:
        return [(span.text, span.margin) for span in self.spans(model, records)]

    def _overlap(self, records: Sequence[Record], said: Sequence[str]) -> np.ndarray:
        """F1 of each answer."""
        return self.measure(records, [Prediction(text) for text in said])["f1"].rows[:, 0]

    def choose_threshold(self, model: Pretrained, records: Sequence[Record]) -> float | None:
        """The threshold with the best mean F1 on these records; None where all of them have an answer."""
        if all(record.gold for record in records):
            return None
        said, margins = zip(*self._read(model, records), strict=True)
        silent = np.array([float(not record.gold) for record in records])
        return best_threshold(np.array(margins), self._overlap(records, said), silent)

    def measure(self, records: Sequence[Record], predictions: Sequence[Prediction]) -> dict[str, Tally]:
        """F1 and exact match, by SQuAD's rule or CMRC's."""
        chinese = self.config.rule == "cmrc"
        if self.config.rule == "auto":
            chinese = mostly_chinese(record.inputs[-1][:200] for record in records[:200])
        exact, overlap = (cmrc_exact, cmrc_f1) if chinese else (squad_exact, squad_f1)
        pairs = [
            (one.answer, [text for text, _ in record.gold]) for one, record in zip(predictions, records, strict=True)
        ]
        return {
            "f1": mean([overlap(said, gold) for said, gold in pairs]),
            "exact_match": mean([exact(said, gold) for said, gold in pairs]),
        }

    def baselines(self, train: Sequence[Record], test: Sequence[Record]) -> dict[str, list[Prediction]]:
        """The sentence that shares most with the question."""
        del train
        return {"sliding_window": [sliding_window(record) for record in test]}

    def judge(self, records: Sequence[Record], predictions: Sequence[Prediction]) -> dict[str, Any]:
        """Risk and coverage where an answer counts as right when it matches exactly."""
        exact = self.measure(records, predictions)["exact_match"].rows[:, 0] > 0
        margins = np.array([one.details["margin"] for one in predictions])
        tried = {"knowledge_base": self.trial} if self.trial else {}
        return {"risk_coverage": risk_at_coverage(margins, exact), **tried}


def _span(context: str, margin: float, start: int, end: int) -> Span:
    text = context[start:end]
    return Span(text.strip(), start + len(text) - len(text.lstrip()), float(margin))


def _marks(batch: Batch) -> tuple[Tensor, ...]:
    """Rows and places of the labelled tokens, which begin their windows."""
    assert batch.labels is not None, "labels mark the windows"
    return (batch.labels != IGNORED).nonzero(as_tuple=True)

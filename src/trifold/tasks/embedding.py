"""Texts to vectors: the dense retriever, trained by contrast within a batch, or by scores of pairs.

Axes: Q queries in a batch, C candidates (passages that belong to a query, and hard negatives), D width of a vector.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice, zip_longest
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from numpy.typing import NDArray
from torch import Tensor

from trifold.batch import IGNORED, Batch, Loss
from trifold.checkpoint.hugging_face import find_folder
from trifold.config import Count, Positive
from trifold.data.rows import Row
from trifold.errors import DataError, MissingValueError
from trifold.evaluation.metric import Tally, mean
from trifold.evaluation.score import pearson, spearman
from trifold.example import Extras, TrainingExample
from trifold.model import Transformer
from trifold.model import config as model_config
from trifold.presets.pretrained import Transformer as Pretrained
from trifold.presets.pretrained import resolve
from trifold.presets.task_head import Pooling
from trifold.tasks.baseline import tfidf_vectors
from trifold.tasks.frame import Frame
from trifold.tasks.head import HeadWanted, labelled_vectors
from trifold.tasks.label import several_in
from trifold.tasks.literal import listed
from trifold.tasks.record import Placed, Record, Role, is_missing, text_of
from trifold.tasks.regression import SCORE, scale_of, score_of
from trifold.tasks.sentence_folder import SentenceFiles, is_sentence_folder, read_sentence_files, write_sentence_files
from trifold.tasks.task import Folder, Prediction, Task, TaskConfig, run_places
from trifold.text import Tokenizer

__all__ = ["Embedding", "EmbeddingTask", "Partners", "find_scores"]

NAMED = ("negative", "negatives", "neg", "hard_negative", "hard_negatives")
NEGATIVES = (*NAMED, *(f"{name}{mark}{number}" for name in NAMED for mark in ("_", "") for number in range(33)))
ROLES = (
    Role("query", ("query", "question", "sentence1", "text1", "text_a", "question1", "anchor", "text")),
    Role("positive", ("positive", "positives", "pos", "passage", "context", "answer", "sentence2", "text2", "text_b",
                      "question2", "sentence"), label=True),
    Role("negative", NEGATIVES, needed=False, label=True, together=True),
    Role("score", (*SCORE, "is_duplicate"), needed=False, label=True),
)  # fmt: skip
QUERY, POSITIVE, NEGATIVE = range(3)
"""The part of a text in its record."""


@dataclass(frozen=True, slots=True)
class Partners:
    """What a query is to be near to, and what it is to be far from.

    Attributes:
        positives: texts that belong to it, one at least.
        negatives: texts that seem to, but do not.
        score: how much the positive has in common with it; None where it simply belongs to it.

    Example:
        >>> Partners(("the cup is pink",), ("the cup is red",)).score is None
        True
    """

    positives: tuple[str, ...]
    negatives: tuple[str, ...] = ()
    score: float | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Embedding(TaskConfig):
    """Texts to vectors whose product is large for texts that belong together: the dense retriever.

    Trained by telling the partners of each query from all others in its batch, and from hard negatives where there are
    some (van den Oord et al. 2018; Karpukhin et al. 2020); pairs with scores by the order of their cosines.

    Attributes:
        temperature: what cosines are divided by.
        scores: whether pairs have scores; found in the training data.
        max_length: longest text in tokens.
        pooling: what a text's vector is: the mean over its tokens, the first or the last of them; `auto`: as the model's
            folder says, else the mean.
        query_prompt, passage_prompt: what stands before each text of a kind, such as `query: `; None: as the model's
            folder says, else nothing.

    Example:
        >>> Embedding().temperature
        0.05
    """

    roles: ClassVar[tuple[Role, ...]] = ROLES

    kind: Literal["embedding"] = "embedding"
    temperature: Positive = 0.05
    scores: bool = False
    max_length: Count = 256
    pooling: Literal["auto", "mean", "first", "last"] = "auto"
    query_prompt: str | None = None
    passage_prompt: str | None = None

    def started_from(self, start: str | None) -> "Embedding":
        """With how the folder's model pools, and its prompts; how long a text may be stays as it is."""
        if start is None:
            return self
        folder = resolve(find_folder(start))
        found = _as_told(self, folder) if is_sentence_folder(folder) else self
        return replace(found, max_length=self.max_length)

    def complete(self, rows: Sequence[Placed]) -> "tuple[Embedding, list[float] | None]":
        """With whether pairs have scores.

        Raises:
            DataError: all scores are the same, most are no numbers, or there are negatives beside them.
        """
        return find_scores(self, rows), None

    @classmethod
    def found_in(cls, folder: Folder) -> "Embedding | None":
        """A folder that says how the vectors of texts are pooled."""
        return _as_told(cls(max_length=folder.max_length), folder.path) if folder.pools else None

    def build(
        self, tokenizer: Tokenizer, model: model_config.Transformer, *, class_weights: Sequence[float] | None = None
    ) -> "EmbeddingTask":
        """The task for a model."""
        del class_weights
        return EmbeddingTask(self, tokenizer, model)


class EmbeddingTask(Task[Embedding]):
    """A text's vector is the mean over its tokens or one of them, of length 1; queries and passages share one model.

    Args:
        config: temperature, lengths, pooling and prompts, and whether pairs have scores.
        tokenizer: the model's.
        model: the model's configuration.
    """

    head = HeadWanted("embedding")

    def __init__(self, config: Embedding, tokenizer: Tokenizer, model: Any) -> None:
        super().__init__(config, tokenizer, Frame(tokenizer, model, config.max_length, reads="encoder"))
        ranks = ("reciprocal_rank", "recall_at_1", "recall_at_5", "recall_at_20")
        self.pooling: Pooling = "mean" if config.pooling == "auto" else config.pooling
        self.metrics = ("spearman", "pearson") if config.scores else ranks

    def record(self, row: Row, columns: Mapping[str, str]) -> Record:
        """A query and its partners."""
        query = text_of(row, columns["query"])
        if "positive" not in columns:
            return Record((query,), None, row.origin)
        positives = _texts(row, columns["positive"])
        if not positives:
            raise MissingValueError("task.missing_value", origin=row.origin, name=columns["positive"])
        negatives = _texts(row, columns["negative"]) if "negative" in columns else ()
        for text in set(positives) & set(negatives):
            raise DataError("task.negative_belongs", origin=row.origin, given=text[:100])
        score = score_of(row, columns["score"]) if self.config.scores and "score" in columns else None
        if self.config.scores and score is None:
            raise MissingValueError("task.missing_value", origin=row.origin, name="score")
        return Record((query,), Partners(positives, negatives, score), row.origin)

    def made_up_row(self) -> dict[str, Any]:
        """A row, with a number where pairs have scores."""
        return {**super().made_up_row(), **({"score": "1"} if self.config.scores else {})}

    def prompted(self, text: str, *, query: bool) -> str:
        """A text as the model reads it."""
        return ((self.config.query_prompt if query else self.config.passage_prompt) or "") + text

    def _lay(self, texts: Sequence[str], extras: Sequence[Extras] = ()) -> list[TrainingExample]:
        encoded = self.tokenizer.encode_ids(list(texts), plain=True)
        return [self.frame.fitted([ids], 0, more) for ids, more in zip_longest(encoded, extras)]

    def examples(self, records: Sequence[Record]) -> list[tuple[TrainingExample, ...]]:
        """The texts of each record together, each with its part in it.

        Beside the texts stand, as numbers: the record, the part, the text, for a query all texts that belong to it, and
        the score of the pair.
        """
        numbers, wanted = dict[str, int](), dict[str, set[int]]()
        for record in records:
            for text in (*record.gold.positives, *record.gold.negatives):
                numbers.setdefault(text, len(numbers))
            wanted.setdefault(record.inputs[0], set()).update(numbers[text] for text in record.gold.positives)
        texts, extras = list[str](), list[Extras]()
        for number, record in enumerate(records):
            gold, query = record.gold, record.inputs[0]
            common = {"record": [number], "score": [0.0 if gold.score is None else gold.score]}
            texts.append(self.prompted(query, query=True))
            extras.append(common | {"part": [QUERY], "text": [IGNORED], "wanted": sorted(wanted[query])})
            for part, some in ((POSITIVE, gold.positives), (NEGATIVE, gold.negatives)):
                texts += [self.prompted(text, query=False) for text in some]
                extras += [common | {"part": [part], "text": [numbers[text]], "wanted": []} for text in some]
        laid = iter(self._lay(texts, extras))
        sizes = [1 + len(record.gold.positives) + len(record.gold.negatives) for record in records]
        return [tuple(islice(laid, size)) for size in sizes]

    def _vectors(self, hidden: Tensor, batch: Batch) -> Tensor:
        vectors, _ = labelled_vectors(hidden, batch, self.pooling)
        return F.normalize(vectors.to(torch.promote_types(vectors.dtype, torch.float32)), dim=-1)

    def loss(self, model: Transformer, batch: Batch) -> Loss:
        """Per query and positive: of scored pairs that their cosines stand in the order of the scores, else contrast.

        Contrast: each query must find its positives among all texts of the batch, each positive its queries.
        """
        vectors, extras = self._vectors(model(batch), batch), batch.extras
        queries, positives, negatives = (
            (extras["part"][:, 0] == part).nonzero()[:, 0] for part in (QUERY, POSITIVE, NEGATIVE)
        )
        anchors = len(queries) + len(positives)
        if self.config.scores:
            return Loss(anchors * self._order_loss(vectors, extras, queries, positives), anchors)
        candidates = torch.cat([positives, negatives])
        scores = vectors[queries] @ vectors[candidates].T / self.config.temperature  # Q C
        belongs = (extras["wanted"][queries][:, None, :] == extras["text"][candidates][None]).any(-1)  # Q C
        count = len(positives)
        back = _contrast(scores[:, :count].T, belongs[:, :count].T)
        return Loss(_contrast(scores, belongs) + back, anchors)

    def _order_loss(self, vectors: Tensor, extras: Mapping[str, Tensor], queries: Tensor, positives: Tensor) -> Tensor:
        """CoSENT: `log(1 + sum exp((cos_j - cos_i) / temperature))` over pairs i with a higher score than pairs j."""
        records, wanted = extras["record"][:, 0], extras["score"][positives, 0]
        left = queries[(records[queries][None] == records[positives][:, None]).long().argmax(1)]
        cosines = (vectors[left] * vectors[positives]).sum(-1) / self.config.temperature
        higher = wanted[:, None] > wanted[None, :]
        return torch.cat([cosines.new_zeros(1), (cosines[None, :] - cosines[:, None])[higher]]).logsumexp(0)

    def predict(self, model: Pretrained, records: Sequence[Record]) -> list[Prediction]:
        """The vector of each query, and of its partners where they are known."""
        queries = self.embed(model, [record.inputs[0] for record in records], query=True)
        golds = [record.gold for record in records]
        if any(gold is None for gold in golds):
            return [Prediction(vector) for vector in queries]
        texts = list(dict.fromkeys(text for gold in golds for text in (*gold.positives, *gold.negatives)))
        table = dict(zip(texts, self.embed(model, texts), strict=True))
        return [Prediction(one, details={"texts": table}) for one in queries]

    def embed(self, model: Pretrained, texts: Sequence[str], *, query: bool = False) -> NDArray[np.float32]:
        """Unit vectors of passages, or of queries, one a row."""

        def read(hidden: Tensor, batch: Batch) -> Tensor:
            return self._vectors(hidden, batch).float()

        prompted = [self.prompted(text, query=query) for text in texts]
        found = run_places(model, self._lay(prompted), self.frame.pad, read)
        return np.stack([one[0].numpy() for one in found]) if found else np.zeros((0, 0), np.float32)

    def measure(self, records: Sequence[Record], predictions: Sequence[Prediction]) -> dict[str, Tally]:
        """Where each query finds its first positive among all texts of the data, or how cosines follow the scores."""
        if self.config.scores:
            gold = np.array([record.gold.score for record in records])
            said = np.array(
                [
                    one.answer @ one.details["texts"][record.gold.positives[0]]
                    for record, one in zip(records, predictions, strict=True)
                ]
            )
            return {"spearman": spearman(gold, said), "pearson": pearson(gold, said)}
        places = _places(records, predictions)
        return {
            "reciprocal_rank": mean((1 / places).tolist()),
            **{f"recall_at_{k}": mean((places <= k).astype(float).tolist()) for k in (1, 5, 20)},
        }

    def baselines(self, train: Sequence[Record], test: Sequence[Record]) -> dict[str, list[Prediction]]:
        """TF-IDF vectors, ranked in the same way."""
        return tfidf_vectors(train, test)

    def write_beside(self, folder: Path, width: int) -> None:
        """Make the folder one of sentence-transformers."""
        prompts = (self.config.query_prompt or "", self.config.passage_prompt or "")
        write_sentence_files(folder, SentenceFiles(self.pooling, *prompts, self.frame.limit), width=width)


def _places(records: Sequence[Record], predictions: Sequence[Prediction]) -> NDArray[np.float64]:
    """The rank of the nearest positive of each query among the texts that do not belong to it."""
    texts = list(dict.fromkeys(text for record in records for text in (*record.gold.positives, *record.gold.negatives)))
    at = {text: number for number, text in enumerate(texts)}
    wanted: dict[str, set[int]] = {}
    for record in records:
        wanted.setdefault(record.inputs[0], set()).update(at[text] for text in record.gold.positives)
    known = (
        {text: vector for prediction in predictions for text, vector in prediction.details["texts"].items()}
        if records
        else {}
    )
    table = np.stack([known[text] for text in texts])
    ranks = []
    for record, prediction in zip(records, predictions, strict=True):
        scores = table @ prediction.answer
        own = scores[[at[text] for text in record.gold.positives]].max()
        scores[list(wanted[record.inputs[0]])] = -np.inf
        ranks.append(int((scores > own).sum()) + 1)
    return np.array(ranks, dtype=np.float64)


def find_scores(config: Embedding, rows: Sequence[Placed]) -> Embedding:
    """The configuration with what the training data has: scores, or texts that belong together.

    Raises:
        DataError: all scores are the same, most are no numbers, or there are negatives beside them.
    """
    scored = [(row, columns) for row, columns in rows if "score" in columns]
    if not scored:
        return config
    row, columns = scored[0]
    if "negative" in columns:
        raise DataError(
            "task.scores_and_negatives", origin=row.origin, score=columns["score"], negative=columns["negative"]
        )
    count, _, deviation = scale_of(scored)
    if 2 * count < len(scored):
        raise DataError("task.no_scores", origin=row.origin, name=columns["score"])
    if not deviation:
        raise DataError("task.one_score", given=score_of(row, columns["score"]), count=count)
    return replace(config, scores=True)


def _as_told(wanted: Embedding, folder: Path) -> Embedding:
    """The task with what a folder says of it, where that is left open."""
    told = read_sentence_files(folder)
    return replace(
        wanted,
        pooling=told.pooling if wanted.pooling == "auto" else wanted.pooling,
        query_prompt=told.query_prompt if wanted.query_prompt is None else wanted.query_prompt,
        passage_prompt=told.passage_prompt if wanted.passage_prompt is None else wanted.passage_prompt,
        max_length=min(wanted.max_length, told.max_length or wanted.max_length),
    )


def _texts(row: Row, column: str) -> tuple[str, ...]:
    """The texts in a column or in several: one, or a list of them; each once."""
    found = several_in(row.values, column)
    cells = list(found.values()) if isinstance(found, Mapping) else [found]
    opened = [one if isinstance(one, list) else [one] for one in map(listed, cells)]
    parts = [part for one in opened for part in one]
    told = [text_of(Row({column: part}, row.origin), column) for part in parts if not is_missing(part)]
    return tuple(dict.fromkeys(told))


def _contrast(scores: Float[Tensor, "n m"], belongs: Bool[Tensor, "n m"]) -> Float[Tensor, ""]:
    """Summed negative log-probability of what belongs together, each against all that does not; the mean of several."""
    rivals = scores.masked_fill(belongs, -1e9).logsumexp(1, keepdim=True)
    each = torch.logaddexp(scores, rivals) - scores
    return (each.masked_fill(~belongs, 0.0).sum(1) / belongs.sum(1)).sum()

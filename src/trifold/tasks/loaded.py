"""A model ready for use, whatever it was trained for: `trifold.load(path)`."""

import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, overload

import numpy as np
import torch
from numpy.typing import NDArray

from trifold.checkpoint.hugging_face import find_folder
from trifold.config import require
from trifold.data.rows import file_digest
from trifold.errors import UsageError
from trifold.evaluation.language_model import load_run
from trifold.generation import Candidate, Generation, Generator, Precision, Sampling, StreamedToken, lower_precision
from trifold.generation.fill_mask import fill_mask
from trifold.generation.generator import evaluating
from trifold.generation.output import note_cut, pass_on
from trifold.locale import message
from trifold.presets.pretrained import Transformer, resolve
from trifold.retrieval import Embedder, KnowledgeBase
from trifold.task_kinds import classifying_kinds
from trifold.tasks.build import is_fine_tuned, is_translator, open_task
from trifold.tasks.embedding import EmbeddingTask
from trifold.tasks.familiar import Familiar, InputCheck
from trifold.tasks.judge import judge
from trifold.tasks.knowledge import KnowledgeAnswer
from trifold.tasks.knowledge import ask as look_up
from trifold.tasks.record import Record
from trifold.tasks.span_qa import SpanQATask
from trifold.tasks.task import Prediction, Task
from trifold.tasks.trained_columns import Input, labelled_records, listed, records_of, trained_columns
from trifold.text import Tokenizer
from trifold.training.precision import find_device

__all__ = ["Input", "LoadedModel", "load"]


def load(path: str | Path, *, precision: Precision = "float32", device: torch.device | str = "cpu") -> "LoadedModel":
    """A model with all that its use needs, from a run, a folder of Hugging Face's, or the hub (`owner/name`).

    Args:
        path: where it is.
        precision: number format to compute in; `bfloat16` and `int8` are faster and less exact.
        device: where to compute.

    Raises:
        ModelFileError: there is none, or a file is missing or damaged.

    Example:
        >>> import tempfile
        >>> from trifold.text import train_tokenizer
        >>> tokenizer = train_tokenizer(["to be or not to be"] * 9, kind="byte_bpe", vocab_size=300)
        >>> model = Transformer.from_preset("gpt2", size="tiny", vocab_size=tokenizer.vocab_size)
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     model.save_pretrained(folder, tokenizer=tokenizer)
        ...     loaded = load(folder)
        >>> [len(answer.ids) for answer in loaded.generate("to be", max_tokens=4, n=2, seed=1)]
        [4, 4]
        >>> len(loaded.score("to be", " or")) == len(tokenizer.encode(" or").ids)
        True
    """
    folder = resolve(find_folder(str(path)))
    tuned = is_fine_tuned(folder) or is_translator(folder)
    loaded = LoadedModel(*(open_task(folder) if tuned else (*load_run(folder), None)), folder)
    loaded.model.to(find_device(device))  # first: how weights are packed depends on where they lie
    lower_precision(loaded.model, precision, decoding=loaded.task is None and loaded.model.config.decoder is not None)
    return loaded


class LoadedModel:
    """A model ready for use; many threads may use it at once.

    Args:
        model: in evaluation mode.
        tokenizer: that it was trained with.
        task: what it was fine-tuned for; None for a model that was only pre-trained.
        folder: where it came from.

    Attributes:
        kind: name of the task; `pretrained` without one.
    """

    def __init__(self, model: Transformer, tokenizer: Tokenizer, task: Task | None, folder: Path) -> None:
        self.model, self.tokenizer, self.task, self.folder = model, tokenizer, task, folder
        self.kind = "pretrained" if task is None else task.config.kind

    @property
    def device(self) -> torch.device:
        """Where it computes."""
        return self.model.embedding.tokens.weight.device

    @property
    def dtype(self) -> torch.dtype:
        """The number format of its embedding."""
        return self.model.embedding.tokens.weight.dtype

    def require(self, *kinds: str) -> Task:
        """Its task, which must be one of these kinds; any, where none is named.

        Raises:
            UsageError: the model was fine-tuned for something else, or only pre-trained.
        """
        if self.task is None:
            raise UsageError("task.not_fine_tuned", path=self.folder)
        if kinds and self.kind not in kinds:
            raise UsageError("cli.other_task", path=self.folder, given=self.kind, wanted=", ".join(kinds))
        return self.task

    def predict(self, inputs: Sequence[Input], *, batch_size: int | None = None) -> list[Prediction]:
        """What the model says about each input: a label, labels, tags, a score, an answer, a text or a vector.

        Args:
            inputs: texts, pairs of texts, rows with the columns that the task reads, or records.
            batch_size: most inputs that are worked on at once; None for as many as fit well.

        Raises:
            UsageError: the model was only pre-trained, `inputs` is one text, or has more texts than the task reads.
            DataError: a row lacks a column.
        """
        task = self.require()
        fits = batch_size is None or (isinstance(batch_size, int | np.integer) and batch_size > 0)
        require(fits, where="batch_size", given=batch_size, allowed="1 or more, or None")
        records = self.records(inputs)
        size = int(batch_size or len(records) or 1)
        starts = range(0, len(records), size)
        return [said for start in starts for said in task.predict(self.model, records[start : start + size])]

    def classify(self, texts: Sequence[Input]) -> list[Prediction]:
        """The label of each text, or of each of its words, its score, or the right one of its choices.

        Raises:
            UsageError: the model is for something else.
        """
        self.require(*classifying_kinds())
        return self.predict(texts)

    def translate(self, texts: Sequence[Input]) -> list[str]:
        """The translation of each text.

        Raises:
            UsageError: the model is for something else.
        """
        self.require("translation")
        return [said.answer for said in self.predict(texts)]

    def ask(
        self,
        question: str,
        *,
        context: str | None = None,
        kb: KnowledgeBase | None = None,
        embedder: Embedder | None = None,
        k: int = 5,
        threshold: float | None = None,
    ) -> KnowledgeAnswer:
        """The answer to a question, in a text or in a knowledge base; its text is empty for "I don't know".

        Args:
            question: in plain words.
            context: the text to look in.
            kb: the knowledge base to look in.
            embedder: for a search of `kb` by vectors too, such as a model that is loaded.
            k: passages of `kb` to read.
            threshold: least margin of an answer; None: the model's own.

        Raises:
            UsageError: the model is for something else, or not one of `context` and `kb` is given.
        """
        task = SpanQATask.of(self.require("span_qa"))
        if (context is None) == (kb is None):
            raise UsageError("task.context_or_kb")
        if kb is not None:
            self.input_check.look_at([question])
            return look_up(kb, self, question, embedder=embedder, k=k, threshold=threshold)
        (span,) = task.spans(self.model, self.records([(question, context or "")]))
        least = task.config.threshold if threshold is None else threshold
        if not span.text or (least is not None and span.margin < least):
            return KnowledgeAnswer("", score=span.margin, passage=context or "")
        return KnowledgeAnswer(span.text, "", span.start, span.start + len(span.text), span.margin, context or "")

    def embed(self, texts: Sequence[str], *, query: bool = False) -> NDArray[np.float32]:
        """A unit vector a text, [texts, D]; `query` says that they are questions, not passages.

        Raises:
            UsageError: the model is for something else.
        """
        return EmbeddingTask.of(self.require("embedding")).embed(self.model, listed(texts, "texts"), query=query)

    @cached_property
    def name(self) -> str:
        """Changes whenever the vectors of `embed` would: a knowledge base takes a loaded model for its embedder.

        Raises:
            UsageError: the model is for something else.
        """
        config: Any = self.require("embedding").config
        pooling = [] if config.pooling in ("auto", "mean") else [config.pooling]
        prompts = [repr(one) for one in (config.query_prompt, config.passage_prompt) if one]
        weights = sorted(self.folder.glob("model*.safetensors"))
        return " ".join([*(file_digest(file)[:16] for file in weights), *pooling, *prompts])

    def fill_mask(self, text: str, *, top_k: int = 5) -> list[list[Candidate]]:
        """The likeliest tokens for each mask in a text.

        Raises:
            UsageError: there is no mask, or the model fills none.
        """
        return fill_mask(self.model, self.tokenizer, text, top_k=top_k)

    def generate(
        self,
        prompt: str | Sequence[str],
        *,
        max_tokens: int | None = None,
        n: int = 1,
        seed: int | None = None,
        sampling: Sampling | None = None,
        on_token: Callable[[str], object] | None = None,
    ) -> list[Generation]:
        """So many texts for each prompt: continuations, or answers of a model that was tuned on instructions.

        Args:
            prompt: one text, or several.
            max_tokens: most tokens of a text.
            n: texts for each prompt, which stand one after another; text k is that of `seed + k`.
            seed: start of the random numbers; None for a new one.
            sampling: how tokens are chosen; None for what the model's folder says.
            on_token: is told the text as it comes, where there is one prompt and `n` is 1.

        Raises:
            UsageError: the model writes no text, a prompt is empty or too long, or all `n` texts would be the same.
        """
        require(isinstance(n, int | np.integer) and n > 0, where="n", given=n, allowed="1 or more")
        prompts = [prompt] if isinstance(prompt, str) else listed(prompt, "prompt")
        chosen = self._sampling(sampling, max_tokens, seed)
        if n > 1 and (chosen.beams > 1 or chosen.temperature == 0.0):
            raise UsageError("task.same_texts", n=n)
        if on_token is not None:
            if len(prompts) * n != 1:
                raise UsageError("task.one_stream", prompts=len(prompts), n=n)
            row, cut = self._read(prompts[0], chosen)
            return [note_cut(pass_on(self.writer.stream(row, chosen), on_token), cut)]
        seeds = None
        if n > 1 and chosen.seed is not None:
            seeds = [chosen.seed + number for _ in prompts for number in range(n)]
        laid = [one for prompt in prompts for one in [self._read(prompt, chosen)] * n]
        texts = self.writer.generate([row for row, _ in laid], chosen, seeds=seeds)
        return [note_cut(text, cut) for text, (_, cut) in zip(texts, laid, strict=True)]

    @overload
    def stream(
        self,
        prompt: str,
        *,
        max_tokens: int | None = None,
        seed: int | None = None,
        sampling: Sampling | None = None,
        logprobs: Literal[True],
    ) -> Iterator[StreamedToken]: ...
    @overload
    def stream(
        self,
        prompt: str,
        *,
        max_tokens: int | None = None,
        seed: int | None = None,
        sampling: Sampling | None = None,
        logprobs: Literal[False] = False,
    ) -> Iterator[str]: ...
    def stream(
        self,
        prompt: str,
        *,
        max_tokens: int | None = None,
        seed: int | None = None,
        sampling: Sampling | None = None,
        logprobs: bool = False,
    ) -> Iterator[str] | Iterator[StreamedToken]:
        """The text of `generate`, piece by piece as it is written; a warning says where the prompt had to be cut.

        Args:
            prompt: one text.
            max_tokens: most tokens of the text.
            seed: start of the random numbers; None for a new one.
            sampling: how tokens are chosen; None for what the model's folder says.
            logprobs: give each token, with its log-probability, instead of pieces of text.

        Raises:
            UsageError: as for `generate`, or beam search, which knows its text only at the end.
        """
        chosen = self._sampling(sampling, max_tokens, seed)
        row, cut = self._read(prompt, chosen)
        if cut:
            warnings.warn(message("cli.chat_prompt_cut", cut=f"{cut:,}"), stacklevel=2)
        return self.writer.stream_tokens(row, chosen) if logprobs else self.writer.stream(row, chosen)

    @torch.inference_mode()
    def score(self, prompt: str, continuation: str) -> tuple[float, ...]:
        """Log-probability (nats) of each token of a continuation of a prompt, without the end token.

        Raises:
            UsageError: the model writes no text, or both together are too long for it.
        """
        require(isinstance(continuation, str), where="continuation", given=continuation, allowed="a text (str)")
        writer = self.writer
        asked, cut = self._read(prompt, Sampling())
        read = writer.encode(asked)
        wanted = self.tokenizer.for_target().encode_ids([continuation], plain=True)[0].tolist()
        limit = (self.task.longest_text if self.task else None) or writer.longest
        longest = max(len(writer.before(read)) + len(wanted) - 1, len(read) + cut)
        if limit is not None and (longest > limit or cut):
            raise UsageError("task.score_too_long", length=longest, limit=limit)
        with evaluating(self.model):
            return tuple(writer.logprobs(read, wanted).tolist())

    def evaluate(
        self,
        inputs: Sequence[Input],
        labels: Sequence[Any] | None = None,
        *,
        train: Sequence[Input] = (),
        train_labels: Sequence[Any] | None = None,
    ) -> dict[str, Any]:
        """How well the model does on inputs whose labels are known: metrics with intervals, and the worst errors.

        Args:
            inputs: as for `predict`; without `labels`, rows that have a column of labels, or records with gold answers.
            labels: what the model should say, one an input.
            train: what it was trained with, for baselines beside it and for the search for test texts in training.
            train_labels: of `train`, where it has none of its own.

        Raises:
            UsageError: the model was only pre-trained, or there are not as many labels as inputs.
            DataError: a label is missing, or is none of the model's.
        """
        task = self.require()
        records, known = self._labelled(inputs, labels), self._labelled(train, train_labels)
        return judge(task, records, task.predict(self.model, records), train=known)

    def _labelled(self, inputs: Sequence[Input], labels: Sequence[Any] | None) -> list[Record]:
        if labels is None:
            return labelled_records(self.require(), self.trained_columns, listed(inputs, "inputs"))
        return self.records(inputs, labels)

    def records(self, inputs: Sequence[Input], labels: Sequence[Any] | None = None) -> list[Record]:
        """What the task reads of each input; with labels, what it should say too.

        Rows are read from the columns that the model was trained with, else from those with usual names; a warning names
        the columns that are not read.

        Raises:
            UsageError: the model was only pre-trained, or an input has more texts than the task reads.
            DataError: a row lacks a column.
        """
        records = records_of(self.require(), self.trained_columns, inputs, labels)
        self.input_check.look_at(records)
        return records

    @cached_property
    def trained_columns(self) -> dict[str, list[str]]:
        """The columns that it was trained with, by role."""
        return trained_columns(self.folder)

    @cached_property
    def input_check(self) -> InputCheck:
        """Warns once of texts of another kind than those that it was fine-tuned on."""
        return InputCheck(Familiar.of_run(self.folder))

    @cached_property
    def writer(self) -> Generator:
        """What writes its texts.

        Raises:
            UsageError: the model writes none.
        """
        return Generator.by_rules(self.model, self.tokenizer) if self.task is None else self.task.writer(self.model)

    def _read(self, prompt: str, sampling: Sampling) -> tuple[str | list[int], int]:
        """What the model reads of a prompt, through the template of its tuning, and how many tokens had no room."""
        require(isinstance(prompt, str), where="prompt", given=prompt, allowed="a text (str)")
        return (prompt, 0) if self.task is None else self.task.read_prompt(prompt, sampling)

    def _sampling(self, sampling: Sampling | None, max_tokens: int | None, seed: int | None) -> Sampling:
        require(
            isinstance(sampling, Sampling | None), where="sampling", given=sampling, allowed="Sampling(...) or None"
        )
        chosen = sampling or Sampling(**self.writer.rules.sampling_with({}))
        changed = {"max_tokens": max_tokens, "seed": seed}
        return replace(chosen, **{name: value for name, value in changed.items() if value is not None})

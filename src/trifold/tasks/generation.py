"""Instruction tuning and conversations: the loss is on the answers alone; without prompts, plain continuation."""

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Literal

import numpy as np

from trifold.batch import IGNORED, Batch, Loss
from trifold.config import Config, Count, require
from trifold.data.rows import Row
from trifold.errors import DataError, MissingValueError
from trifold.evaluation.metric import Tally
from trifold.example import Ids, TrainingExample
from trifold.generation import Generator, Sampling
from trifold.model import Transformer
from trifold.model import config as model_config
from trifold.objective import token_cross_entropy
from trifold.objective.objective import language_model_loss
from trifold.presets.pretrained import Transformer as Pretrained
from trifold.tasks.chat_format import ChatFormat, Laid
from trifold.tasks.chat_template import settle_template, template_source
from trifold.tasks.conversation import Turn, arrange, is_conversation, read_history, read_messages
from trifold.tasks.frame import Frame
from trifold.tasks.record import Placed, Record, Role, file_of, optional_text, value_of
from trifold.tasks.task import Prediction, Task, TaskConfig, run_places
from trifold.tasks.writing import open_writer, write_answers, written_example
from trifold.text import Tokenizer

__all__ = ["MESSAGES", "PROMPT", "Conversation", "Generation", "GenerationTask", "without_questions"]

MESSAGES = ("messages", "conversations", "conversation", "dialogue", "dialog", "chat", "turns")
"""What a column of messages is usually called."""

ROLES = (
    Role("response", ("output", "response", "answer", "completion", "chosen", "assistant", "summary", "text"),
         needed=False, label=True),
    Role("prompt", ("instruction", "prompt", "question", "query", "user", "human", "problem", "document", "article",
                    "input", "context", "text"), needed=False, alone=("text", *MESSAGES)),
    Role("input", ("input", "context", "passage"), needed=False),
    Role("messages", MESSAGES, needed=False),
    Role("history", ("history",), needed=False),
    Role("system", ("system", "system_prompt", "system_message"), needed=False),
)  # fmt: skip

PROMPT = ROLES[1]
QUESTIONS = {"prompt", "input", "messages"}
"""Roles that ask something."""
SLOT = re.compile(r"\{(?:prompt|input)\}")


@dataclass(frozen=True, kw_only=True, slots=True)
class Generation(TaskConfig):
    """Answers to instructions and conversations, with the loss on the answers only; without prompts, plain continuation.

    Attributes:
        chat_template: how a conversation is put before the model, in jinja2: `auto`, the one that the model's folder has,
            else Trifold's; `default`, `chatml`, or `none` for no marks at all; a template, or a file that holds one.
        template: how an instruction and its input become one question; `{prompt}` and `{input}` are filled in.
        template_without_input: the same for an instruction that has no input.
        answers: whether all answers of a conversation are learned from, or the last alone.
        max_length: longest conversation in tokens; of a longer one the oldest turns go first, then the middle of the last
            question's input.

    Example:
        >>> "{prompt}" in Generation().template
        True
    """

    family: ClassVar[str] = "llama"
    roles: ClassVar[tuple[Role, ...]] = ROLES
    less_is_better: ClassVar[bool] = True

    kind: Literal["generation"] = "generation"
    chat_template: str = "auto"
    template: str = "{prompt}\n{input}"
    template_without_input: str = "{prompt}"
    answers: Literal["all", "last"] = "all"
    max_length: Count = 512

    def __post_init__(self) -> None:
        Config.__post_init__(self)
        for name in ("template", "template_without_input"):
            text = getattr(self, name)
            require("{prompt}" in text, where=f"task.{name}", given=text, allowed="a text with {prompt} in it")

    def complete(self, rows: Sequence[Placed]) -> "tuple[Generation, list[float] | None]":
        """Without a chat template where no file asks anything."""
        return without_questions(self, [columns for _, columns in rows]), None

    def settle(self, tokenizer: Tokenizer, model: Pretrained) -> tuple["Generation", Pretrained, list[str]]:
        """With the template given to the tokenizer, which is saved with it."""
        template, model, added = settle_template(self.chat_template, tokenizer, model)
        return replace(self, chat_template=template), model, added

    @classmethod
    def as_meant(cls, saved: Mapping[str, Any]) -> Mapping[str, Any]:
        """An older run says nothing of chat templates, of which there were none."""
        return saved if "chat_template" in saved else {**saved, "chat_template": "none"}

    def build(
        self, tokenizer: Tokenizer, model: model_config.Transformer, *, class_weights: Sequence[float] | None = None
    ) -> "GenerationTask":
        """The task for a model."""
        del class_weights
        return GenerationTask(self, tokenizer, model)


@dataclass(frozen=True, slots=True)
class Conversation(Record):
    """An example with all that was said, its last answer being the gold one.

    Attributes:
        turns: in order; without questions, a text that is continued.

    Example:
        >>> Conversation(("hello",), "good day", turns=(Turn("user", "hello"), Turn("assistant", "good day"))).gold
        'good day'
    """

    turns: tuple[Turn, ...] = ()

    @property
    def asked(self) -> list[Turn]:
        """The turns up to the last question."""
        last = max((place for place, turn in enumerate(self.turns) if turn.role == "user"), default=-1)
        return list(self.turns[: last + 1])


class GenerationTask(Task[Generation]):
    """Reads a conversation through the chat template, writes the answer.

    Args:
        config: with the template.
        tokenizer: the model's.
        model: the model's configuration.
    """

    metrics = ("bits_per_byte",)
    writes = True

    def __init__(self, config: Generation, tokenizer: Tokenizer, model: Any) -> None:
        super().__init__(config, tokenizer, Frame(tokenizer, model, config.max_length))
        self.format = ChatFormat(tokenizer, template_source(config.chat_template, tokenizer))

    def record(self, row: Row, columns: Mapping[str, str]) -> Conversation:
        """What was said, with an answer to learn from or to judge by."""
        if not {"response", "messages"} & columns.keys():
            known = ", ".join(row.values)[:300]
            role = ROLES[0]
            raise DataError(
                "task.no_column", path=file_of(row), role=role.name, usual=", ".join(role.names), known=known
            )
        return self._conversation(row, columns, answered=True)

    def question(self, row: Row, columns: Mapping[str, str]) -> Conversation:
        """What was said up to the last question, to which the model is to find an answer."""
        return self._conversation(row, columns, answered=False)

    def _conversation(self, row: Row, columns: Mapping[str, str], *, answered: bool) -> Conversation:
        name = columns.get("messages", columns.get("prompt", columns.get("response", "")))
        turns = self._turns(row, columns)
        if any(turn.role == "user" for turn in turns) or self._prompted(columns):
            turns = list(arrange(turns, row.origin, name, answered=answered))
            problem = self.format.problem(turns)
            if problem:
                raise DataError("task.template_refuses", origin=row.origin, name=name, problem=problem)
        if not turns:
            raise MissingValueError("task.empty_value", origin=row.origin, name=name)
        gold = turns[-1].content if turns[-1].role == "assistant" else None
        said = "\n".join(turn.content for turn in (turns if gold is None else turns[:-1]))
        return Conversation((said,), gold, row.origin, turns=tuple(turns))

    @property
    def text_roles(self) -> list[str]:
        """A text without a name is a question."""
        return [PROMPT.name]

    @property
    def longest_text(self) -> int | None:
        """Question and answer stand in one frame."""
        return self.frame.limit

    @staticmethod
    def _prompted(columns: Mapping[str, str]) -> bool:
        """Whether the file has anything that is asked."""
        return bool(QUESTIONS & columns.keys())

    def _turns(self, row: Row, columns: Mapping[str, str]) -> list[Turn]:
        system = optional_text(row, columns.get("system"))
        turns = [Turn("system", system)] if system else []
        messages = _value(row, columns.get("messages"))
        if messages is not None:
            return [*turns, *read_messages(messages, row.origin, columns["messages"])]
        history = _value(row, columns.get("history"))
        if history not in (None, []):
            turns += read_history(history, row.origin, columns["history"])
        return [*turns, *self._asked(row, columns), *_answer(row, columns.get("response"))]

    def _asked(self, row: Row, columns: Mapping[str, str]) -> list[Turn]:
        """The question of a row: its instruction with its input, or messages in place of it."""
        column = columns.get("prompt")
        if column is not None and is_conversation(asked := value_of(row, column)):
            return read_messages(asked, row.origin, column)
        prompt, input_text = optional_text(row, column), optional_text(row, columns.get("input"))
        if prompt or input_text:
            return [self._question(prompt, input_text)]
        if self._prompted(columns):
            name = column or columns.get("input") or columns.get("messages")
            raise MissingValueError("task.empty_value", origin=row.origin, name=name)
        return []

    def _question(self, prompt: str, input_text: str) -> Turn:
        if not prompt or not input_text:
            return Turn("user", self.render(prompt or input_text))
        content = self.render(prompt, input_text)
        before, slot, _ = self.config.template.partition("{input}")
        start = len(before.replace("{prompt}", prompt))
        return Turn("user", content, (start, start + len(input_text)) if slot else None)

    def render(self, prompt: str, input_text: str = "") -> str:
        """What is asked with an instruction and its input: the same in training and at inference."""
        if not prompt:
            return ""
        template = self.config.template if input_text.strip() else self.config.template_without_input
        parts = {"{input}": input_text, "{prompt}": prompt}  # put in at once: a text may itself speak of "{prompt}"
        return SLOT.sub(lambda match: parts[match[0]], template)

    def examples(self, records: Sequence[Record]) -> list[tuple[TrainingExample, ...]]:
        """Each conversation as the family reads it: a decoder all of it, an encoder-decoder once for each answer."""
        asked = [_turns_of(record) for record in records if _is_asked(record)]
        made = map(self._answers, asked) if self.frame.encoder else map(self._whole, asked, self.format.lay(asked))
        texts = iter(self.tokenizer.encode_ids([one.gold or "" for one in records if not _is_asked(one)], plain=True))
        return [next(made) if _is_asked(record) else (self._continued(next(texts)),) for record in records]

    def _continued(self, text: Ids) -> TrainingExample:
        return written_example(self.frame, np.zeros(0, dtype=np.int64), text)

    def _whole(self, turns: Sequence[Turn], laid: Laid) -> tuple[TrainingExample, ...]:
        """A conversation for a decoder."""
        limit = self.frame.limit + 1
        longer = len(laid.ids) > limit
        self.frame.cut.count(longer=longer)
        if longer:
            answer = int((laid.answers == laid.answers.max()).sum())
            asked, _ = self.format.shorten(turns[:-1], max(limit - answer - 1, limit // 4))
            turns = [*asked, turns[-1]]
            (laid,) = self.format.lay([turns])
        return (self._example(laid, turns, limit),)

    def _example(self, laid: Laid, turns: Sequence[Turn], limit: int) -> TrainingExample:
        answers = [turn for turn in turns if turn.role == "assistant"]
        wanted = [turn.learned and (self.config.answers == "all" or turn is answers[-1]) for turn in answers]
        ids, which = laid.ids[:limit], laid.answers[:limit]
        learned = np.append(wanted, False)[which]
        return TrainingExample(labels=np.where(learned, ids, IGNORED)[1:], target=ids[:-1])

    def _answers(self, turns: Sequence[Turn]) -> tuple[TrainingExample, ...]:
        """A conversation for an encoder-decoder, which reads all that comes before an answer."""
        places = [place for place, turn in enumerate(turns) if turn.role == "assistant" and turn.learned]
        chosen = places if self.config.answers == "all" else places[-1:]
        answers = self.tokenizer.encode_ids([turns[place].content for place in chosen], plain=True)
        examples = []
        for place, answer in zip(chosen, answers, strict=True):
            kept, cut = self.fit(turns[:place], self.frame.limit - 1)
            source = self.prompt(kept, self.frame.limit - 1)
            self.frame.cut.count(longer=cut or len(answer) >= self.frame.limit)
            labels = np.append(answer[: self.frame.limit - 1], self.frame.end)
            target = np.concatenate([[self.frame.start], labels[:-1]])
            examples.append(TrainingExample(labels=labels, source=np.array(source), target=target))
        return tuple(examples)

    def fit(self, turns: Sequence[Turn], room: int) -> tuple[list[Turn], bool]:
        """Turns that fit into so many tokens, and whether some of them was left off."""
        return self.format.shorten(turns, room)

    def prompt(self, turns: Sequence[Turn], room: int) -> list[int]:
        """What the model reads before it speaks; of what does not fit all the same, the end."""
        ids = self.format.prompt(turns)[-room:] if turns else list(self.frame.first)
        return [*ids, self.frame.end] if self.frame.encoder or not ids else ids

    def lay(self, turns: Sequence[Turn], room: int) -> tuple[list[int], int]:
        """What the model reads of a conversation in so many places, and how many of its tokens were left off for that."""
        kept, cut = self.fit(turns, room)
        lost = len(self.format.prompt(turns)) - len(self.format.prompt(kept)) if cut else 0
        return self.prompt(kept, room), lost

    def loss(self, model: Transformer, batch: Batch) -> Loss:
        """Cross-entropy of the answers."""
        return language_model_loss(model, batch)

    def predict(self, model: Pretrained, records: Sequence[Record]) -> list[Prediction]:
        """How well the model foresees each gold answer (nats and bytes); an answer of its own where there is none."""
        if any(record.gold is None for record in records):
            return self.write(model, records, Sampling(temperature=0.0))
        groups, spelled = self.examples(records), self.tokenizer.token_bytes()
        examples = [example for group in groups for example in group]

        def read(hidden: Any, batch: Batch) -> Any:
            return token_cross_entropy(model.head, hidden, batch.labels)  # type: ignore[arg-type]

        losses = iter(run_places(model, examples, self.frame.pad, read))
        predictions = []
        for group in groups:
            nats = sum(float(next(losses).double().sum()) for _ in group)
            size = sum(int(spelled[example.labels[example.labels >= 0]].sum()) for example in group)
            predictions.append(Prediction("", details={"nats": nats, "bytes": size}))
        return predictions

    def write(self, model: Pretrained, records: Sequence[Record], sampling: Sampling) -> list[Prediction]:
        """Answers of the model's own to the last question of each, which says how many tokens its prompt has lost."""
        laid = [self.lay(asked_of(record), self.prompt_room(sampling)) for record in records]
        rows, cuts = [row for row, _ in laid], [cut for _, cut in laid]
        texts = write_answers(model, self.tokenizer, self.frame, rows, sampling, ends=self.format.ends)
        answers = []
        for text, cut in zip(texts, cuts, strict=True):
            said = {"finish_reason": text.finish_reason, "ids": list(text.ids), "logprobs": list(text.logprobs)}
            answers.append(Prediction(text.text, details={**said, "prompt_cut": cut}))
        return answers

    def prompt_room(self, sampling: Sampling) -> int:
        """Most tokens of a prompt: on a decoder, the answer has room too."""
        limit = self.frame.limit
        if self.frame.encoder:
            return limit - 1
        return max(limit - min(sampling.max_tokens or limit // 4, limit // 2), 1)

    def read_prompt(self, prompt: str, sampling: Sampling) -> tuple[str | list[int], int]:
        """What the model reads of a question, through the template of its tuning."""
        asked = self.question(*self.place([prompt], "input:1")).asked
        return self.lay(asked, self.prompt_room(sampling))

    def writer(self, model: Pretrained) -> Generator:
        """What writes answers, which end where a turn does."""
        return open_writer(model, self.tokenizer, self.frame, self.format.ends)

    def before(self, model: Pretrained, records: Sequence[Record]) -> list[Prediction]:
        """What the model says before it is tuned: it writes already."""
        return self.predict(model, records)

    def samples(self, model: Pretrained, records: Sequence[Record], said: Sequence[Prediction]) -> Sequence[Prediction]:
        """Answers of its own, as likely as possible."""
        del said
        return self.write(model, records, Sampling(temperature=0.0))

    def measure(self, records: Sequence[Record], predictions: Sequence[Prediction]) -> dict[str, Tally]:
        """Bits per byte of the answers, and perplexity a byte."""
        del records
        rows = np.array([[one.details["nats"], one.details["bytes"]] for one in predictions], dtype=np.float64)
        return {"bits_per_byte": Tally(rows, lambda total: total[..., 0] / math.log(2) / total[..., 1].clip(1))}


def without_questions(config: Generation, columns: Iterable[Mapping[str, str]]) -> Generation:
    """The configuration for texts that are continued where no file asks anything.

    Example:
        >>> without_questions(Generation(), [{"response": "text"}]).chat_template
        'none'
    """
    asked = any(QUESTIONS & found.keys() for found in columns)
    return config if asked or config.chat_template != "auto" else replace(config, chat_template="none")


def _turns_of(record: Record) -> tuple[Turn, ...]:
    assert isinstance(record, Conversation), "records of this task are conversations"
    return record.turns


def asked_of(record: Record) -> list[Turn]:
    """The turns of a conversation up to its last question."""
    assert isinstance(record, Conversation), "records of this task are conversations"
    return record.asked


def _is_asked(record: Record) -> bool:
    return any(turn.role == "user" for turn in _turns_of(record))


def _value(row: Row, column: str | None) -> Any:
    return None if column is None else value_of(row, column)


def _answer(row: Row, column: str | None) -> list[Turn]:
    """The answer of a row, which may be messages too."""
    if column is None:
        return []
    cell = value_of(row, column)
    if is_conversation(cell):
        return read_messages(cell, row.origin, column)
    if cell is None:
        raise MissingValueError("task.empty_value", origin=row.origin, name=column)
    text = optional_text(row, column)
    return [Turn("assistant", text)]

"""Talking with a model: the turns so far, and its next answer as it comes."""

from collections.abc import Iterator

from trifold.data.rows import Row
from trifold.errors import UsageError
from trifold.generation import Generator, Precision, Sampling
from trifold.generation.rules import read_rules
from trifold.presets.pretrained import Transformer
from trifold.tasks.conversation import Turn, is_conversation
from trifold.tasks.generation import MESSAGES, Generation, GenerationTask
from trifold.tasks.loaded import load
from trifold.tasks.writing import open_writer
from trifold.text import Tokenizer

__all__ = ["Talk", "conversation_ids", "open_chat_model"]

LONGEST = 4096
"""Tokens of a conversation where the model itself has no limit."""


class Talk:
    """One conversation with a model.

    Args:
        model: that answers.
        task: how it reads conversations.
        system: what it is told before anything is asked; nothing for none.

    Attributes:
        rules: how the model's folder wants text to be written.
        turns: what was said, as far as the model still reads it.
        dropped: how many questions, with their answers, were dropped for the last answer since there was no room.
        cut: whether the middle of the last question was left out for want of room.

    Example:
        >>> from trifold.text import train_tokenizer
        >>> tokenizer = train_tokenizer(["hello world"] * 9, kind="byte_bpe", vocab_size=300)
        >>> model = Transformer.from_preset("gpt2", size="tiny", vocab_size=tokenizer.vocab_size)
        >>> talk = Talk(model, GenerationTask(Generation(), tokenizer, model.config))
        >>> answer = "".join(talk.say("hello", Sampling(max_tokens=4, seed=1)))
        >>> [turn.role for turn in talk.turns]
        ['user', 'assistant']
    """

    def __init__(self, model: Transformer, task: GenerationTask, system: str = "") -> None:
        self.model, self.task, self.rules = model, task, read_rules(model.generation)
        self.first = [Turn("system", system)] if system.strip() else []
        self.turns, self.dropped, self.cut = list(self.first), 0, False

    def reset(self) -> None:
        """Forget all that was said, but not the system's text."""
        self.turns, self.dropped, self.cut = list(self.first), 0, False

    def say(self, text: str, sampling: Sampling) -> Iterator[str]:
        """The answer to a question, piece by piece; what was given of it becomes a turn.

        Raises:
            ModelFileError: the chat template refuses the conversation.
        """
        task = self.task
        before = [*self.turns, Turn("user", text)]
        room = task.prompt_room(sampling)
        kept, cut = task.fit(before, room)
        self.dropped = _questions(before) - _questions(kept)
        self.cut = cut and kept[-1] != before[-1]
        self.turns = kept
        row = task.prompt(kept, room)
        generator = open_writer(self.model, task.tokenizer, task.frame, task.format.ends)
        pieces: list[str] = []
        try:
            for piece in generator.stream(row, sampling):
                shown = piece if any(pieces) else piece.lstrip()
                pieces.append(shown)
                yield shown
        finally:
            answer = "".join(pieces).strip()
            self.turns = [*kept, Turn("assistant", answer)] if answer else kept[:-1]


def _questions(turns: list[Turn]) -> int:
    return sum(turn.role == "user" for turn in turns)


def open_chat_model(path: str, *, precision: Precision = "float32") -> tuple[Transformer, GenerationTask]:
    """A model that can be talked with: tuned on conversations, or a folder with a chat template.

    Raises:
        UsageError: it was tuned for something else, or has no chat template.
        ModelFileError: there is none, or a file is damaged.
    """
    loaded = load(path, precision=precision)
    if loaded.task is not None:
        return loaded.model, GenerationTask.of(loaded.require("generation"))
    if loaded.tokenizer.chat_template is None:
        raise UsageError("task.no_chat_template", path=path)
    return loaded.model, _task_of(loaded.model, loaded.tokenizer)


def _task_of(model: Transformer, tokenizer: Tokenizer) -> GenerationTask:
    return GenerationTask(Generation(max_length=model.context or LONGEST), tokenizer, model.config)


def conversation_ids(generator: Generator, row: Row, sampling: Sampling) -> tuple[list[int], int] | None:
    """What a model with a chat template of its own reads of a conversation, and how many tokens had no room.

    None for a row that holds no conversation.

    Raises:
        DataError: the conversation is damaged.
    """
    model, tokenizer = generator.model, generator.tokenizer
    column = next((name for name in MESSAGES if is_conversation(row.values.get(name))), None)
    if column is None or tokenizer.chat_template is None or not isinstance(model, Transformer):
        return None
    task = _task_of(model, tokenizer)
    return task.lay(task.question(row, {"messages": column}).asked, task.prompt_room(sampling))

"""Conversations as people write them down: messages, histories and single questions become turns.

Rules: turns of one speaker in a row are one, with a line break between; a question at the end that nobody answered is not
learned from; system turns stand at the beginning; the first speaker is the user. A turn without text, and a conversation
without an answer, count as missing; turns out of order and turns of tools as damaged.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any, Literal

from trifold.errors import DataError, MissingValueError

__all__ = ["Speaker", "Turn", "arrange", "is_conversation", "read_history", "read_messages"]

Speaker = Literal["system", "user", "assistant"]

SPEAKERS: dict[str, Speaker] = {
    **dict.fromkeys(("system", "developer", "system_prompt"), "system"),
    **dict.fromkeys(("user", "human", "prompter", "question", "instruction", "用户"), "user"),
    **dict.fromkeys(("assistant", "gpt", "chatgpt", "bot", "model", "bard", "answer", "chatbot", "助手"), "assistant"),
}  # type: ignore[assignment]
TOOLS = {
    "tool",
    "function",
    "function_call",
    "function_response",
    "observation",
    "tool_call",
    "tool_response",
    "ipython",
}


@dataclass(frozen=True, slots=True)
class Turn:
    """What one side says.

    Attributes:
        role: who speaks.
        content: the text.
        loose: where the part of it begins and ends that may be shortened first; None for all of it.
        learned: whether an answer is learned from.

    Example:
        >>> Turn("user", "hello").message()
        {'role': 'user', 'content': 'hello'}
    """

    role: Speaker
    content: str
    loose: tuple[int, int] | None = None
    learned: bool = True

    def message(self) -> dict[str, str]:
        """As a template reads it."""
        return {"role": self.role, "content": self.content}


def is_conversation(value: Any) -> bool:
    """Whether a value is a list of messages, or the JSON text of one.

    Example:
        >>> is_conversation([{"role": "user", "content": "hello"}]), is_conversation('[{"from": "human"}]')
        (True, True)
    """
    if isinstance(value, str):
        return value.lstrip().startswith("[{") and isinstance(_parsed(value), list)
    return isinstance(value, list) and bool(value) and all(isinstance(one, dict) for one in value)


def read_messages(value: Any, origin: str, name: str) -> list[Turn]:
    """The turns of a list of messages: `role` and `content`, or `from` and `value`.

    Args:
        value: the list, or the JSON text of one.
        origin: file and line, for messages.
        name: of the column.

    Raises:
        MissingValueError: there is none, or a turn has no text.
        DataError: a message is of another shape, of an unknown role, or of a tool.

    Example:
        >>> [turn.role for turn in read_messages([{"from": "human", "value": "hello"}], "a.jsonl:1", "conversations")]
        ['user']
    """
    messages = _parsed(value) if isinstance(value, str) else value
    if not isinstance(messages, list):
        raise DataError("task.bad_messages", origin=origin, name=name, given=type(messages).__name__)
    if not messages:
        raise MissingValueError("task.missing_value", origin=origin, name=name)
    return [_turn(message, origin, name) for message in messages]


def read_history(value: Any, origin: str, name: str) -> list[Turn]:
    """The turns of a history: pairs of question and answer, or messages.

    Raises:
        MissingValueError: a turn has no text.
        DataError: it is of another shape.

    Example:
        >>> [turn.content for turn in read_history([["hello", "good day"]], "a.jsonl:1", "history")]
        ['hello', 'good day']
    """
    history = _parsed(value) if isinstance(value, str) else value
    if is_conversation(history):
        return read_messages(history, origin, name)
    if not isinstance(history, list) or not all(isinstance(pair, list | tuple) and len(pair) == 2 for pair in history):
        raise DataError(
            "task.bad_history", origin=origin, name=name, given=json.dumps(history, ensure_ascii=False)[:80]
        )
    turns = []
    for question, answer in history:
        turns += [Turn("user", _text(question, origin, name)), Turn("assistant", _text(answer, origin, name))]
    return turns


def arrange(turns: Sequence[Turn], origin: str, name: str, *, answered: bool) -> tuple[Turn, ...]:
    r"""The turns in order: of each speaker in a row one, and up to the last answer.

    Args:
        turns: as they were read.
        origin: file and line, for messages.
        name: of the column.
        answered: whether an answer is needed; without, what stands after the last question is left off.

    Raises:
        MissingValueError: there is no question, or no answer where one is needed.
        DataError: a system turn stands later than at the beginning, or the assistant speaks first.

    Example:
        >>> said = [Turn("user", "hello"), Turn("user", "who is there?"), Turn("assistant", "nobody"), Turn("user", "oh")]
        >>> [turn.content for turn in arrange(said, "a.jsonl:1", "messages", answered=True)]
        ['hello\nwho is there?', 'nobody']
    """
    merged: list[Turn] = []
    for turn in turns:
        if merged and merged[-1].role == turn.role:
            before = merged.pop()
            both, learned = f"{before.content}\n{turn.content}", before.learned and turn.learned
            merged.append(replace(before, content=both, loose=None, learned=learned))
        else:
            merged.append(turn)
    last = "assistant" if answered else "user"
    while merged and merged[-1].role != last:
        merged.pop()
    if not merged and answered:
        raise MissingValueError("task.no_answer", origin=origin, name=name)
    if not merged:
        raise MissingValueError("task.no_question", origin=origin, name=name)
    if any(turn.role == "system" for turn in merged[1:]):
        raise DataError("task.late_system", origin=origin, name=name)
    first = merged[merged[0].role == "system"]
    if first.role == "assistant":
        raise DataError("task.answer_first", origin=origin, name=name)
    assert all(one.role != other.role for one, other in pairwise(merged)), "neighbours are merged"
    return tuple(merged)


def _parsed(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return text


def _turn(message: Any, origin: str, name: str) -> Turn:
    if not isinstance(message, dict):
        raise DataError("task.bad_messages", origin=origin, name=name, given=type(message).__name__)
    speaker = next((message[key] for key in ("role", "from", "speaker") if key in message), None)
    if speaker in TOOLS or message.get("tool_calls") or message.get("function_call"):
        raise DataError("task.tool_turn", origin=origin, name=name, given=speaker)
    role = SPEAKERS.get(speaker.strip().lower()) if isinstance(speaker, str) else None
    if role is None:
        raise DataError("task.unknown_role", origin=origin, name=name, given=speaker)
    content = next((message[key] for key in ("content", "value", "text") if key in message), None)
    return Turn(role, _text(content, origin, name), learned=message.get("weight") != 0)


def _text(content: Any, origin: str, name: str) -> str:
    """A text, or the texts of the parts that a message is made of."""
    if isinstance(content, list):
        content = "".join(_part(block, origin, name) for block in content)
    if content is None or (isinstance(content, str) and not content.strip()):
        raise MissingValueError("task.empty_turn", origin=origin, name=name)
    if not isinstance(content, str):
        raise DataError("task.bad_messages", origin=origin, name=name, given=type(content).__name__)
    return content


def _part(block: Any, origin: str, name: str) -> str:
    text = block.get("text") if isinstance(block, dict) and block.get("type", "text") == "text" else block
    if not isinstance(text, str):
        kind = block.get("type") if isinstance(block, dict) else type(block).__name__
        raise DataError("task.message_part", origin=origin, name=name, given=kind)
    return text

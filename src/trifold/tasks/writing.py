"""What translation and answering have in common: a text in, a text out, by an encoder-decoder or a decoder.

| family | reads | writes |
|---|---|---|
| encoder-decoder | source `prompt </s>` | target `<pad> answer`, labels `answer </s>` |
| decoder | `<s> prompt` | `answer </s>`, with the loss on these alone |
"""

from collections.abc import Collection, Sequence
from dataclasses import replace

import numpy as np

from trifold.batch import IGNORED
from trifold.errors import ConfigError
from trifold.example import Ids, TrainingExample
from trifold.generation import Generation, Generator, Sampling
from trifold.generation.rules import read_rules
from trifold.presets.pretrained import Transformer
from trifold.tasks.frame import Frame
from trifold.text import Tokenizer

__all__ = ["open_writer", "prompt_ids", "write_answers", "written_example"]

BATCH = 32


def prompt_ids(frame: Frame, prompt: Ids, room: int) -> list[int]:
    """A prompt as the model reads it, cut to `room` places."""
    if frame.encoder:
        last = frame.framing.last or (frame.end,)
        return [*frame.first, *frame.kept(prompt, room - len(frame.first) - len(last)).tolist(), *last]
    return [*frame.first, *frame.kept(prompt, room - len(frame.first)).tolist()]


def written_example(frame: Frame, prompt: Ids, answer: Ids) -> TrainingExample:
    """A training example; on a decoder the answer keeps at least half of the places."""
    if not frame.decoder:
        raise ConfigError(
            "objective.wrong_model", objective="writing", given="encoder", needed="decoder, encoder-decoder"
        )
    if frame.encoder:
        frame.cut.count(longer=max(len(prompt) + len(frame.first) + 1, len(answer) + 1) > frame.limit)
        labels = np.append(answer[: frame.limit - 1], frame.end)
        source = np.array(prompt_ids(frame, prompt, frame.limit), dtype=np.int64)
        return TrainingExample(labels=labels, source=source, target=np.concatenate([[frame.start], labels[:-1]]))
    room = max(frame.limit - len(answer) - 1, frame.limit // 2)
    asked = prompt_ids(frame, prompt, room)
    written = np.append(answer, frame.end)[: frame.limit + 1 - len(asked)]
    ids = np.concatenate([asked, written]).astype(np.int64)
    labels = np.concatenate([np.full(len(asked) - 1, IGNORED), written]).astype(np.int64)
    return TrainingExample(labels=labels, target=ids[:-1])


def open_writer(
    model: Transformer, tokenizer: Tokenizer, frame: Frame, ends: Collection[int] = (), carried: Collection[int] = ()
) -> Generator:
    """What goes on after the prompts of a task, by the rules of the model's folder.

    Args:
        model: that writes.
        tokenizer: of the model.
        frame: of the task.
        ends: tokens that end an answer beside the frame's and the folder's.
        carried: tokens that are written once where a prompt has them, and never where it has not.
    """
    rules = read_rules(model.generation)
    return Generator(model, tokenizer, ends={frame.end, *ends, *rules.ends}, rules=rules, carried=carried)


def write_answers(
    model: Transformer,
    tokenizer: Tokenizer,
    frame: Frame,
    rows: Sequence[Sequence[int]],
    sampling: Sampling,
    *,
    ends: Collection[int] = (),
    carried: Collection[int] = (),
) -> list[Generation]:
    """What the model writes after each prompt.

    Where `sampling.max_tokens` is None, an encoder-decoder may fill its frame, a decoder twice the prompt and 16 more.

    Args:
        model: that writes.
        tokenizer: of the model.
        frame: of the task.
        rows: prompts as the model reads them.
        sampling: how to choose tokens.
        ends: tokens that end an answer beside the frame's.
        carried: as for `open_writer`.
    """
    generator = open_writer(model, tokenizer, frame, ends, carried)
    answers: list[Generation | None] = [None] * len(rows)
    order = sorted(range(len(rows)), key=lambda number: len(rows[number]))
    for start in range(0, len(order), BATCH):
        chosen = order[start : start + BATCH]
        longest = max(len(rows[number]) for number in chosen)
        room = frame.limit if frame.encoder else frame.limit - longest
        limit = sampling.max_tokens or (room if frame.encoder else 2 * longest + 16)
        options = replace(sampling, max_tokens=max(min(limit, room), 1))
        for number, answer in zip(chosen, generator.generate([list(rows[n]) for n in chosen], options), strict=True):
            answers[number] = answer
    return [answer for answer in answers if answer is not None]

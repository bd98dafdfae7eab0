"""Checks of text on its way to the model: tokenizer, end of text, template."""

from itertools import islice

from torch import Tensor

from trifold.batch import IGNORED
from trifold.data.rows import Row
from trifold.doctor.finding import Finding, not_for
from trifold.doctor.subject import Subject
from trifold.example import TrainingExample
from trifold.tasks.record import Record

__all__ = ["end_of_text", "round_trip", "template"]

HARD = (
    "",
    " ",
    "  two  spaces ",
    "tab\tand\nline",
    "Ünïcödé naïve",
    "中文没有空格。混排 English 也行！",
    "👩‍👩‍👧",
    "1,234.50 €",
    "e\u0301 is not é",
    "\u200bzero width",
)
BATCHES = 40
MOST_UNKNOWN = 0.02


def round_trip(subject: Subject) -> Finding:
    """Byte-level tokenizers give back every text as it was; no tokenizer takes much of the run's own text for unknown."""
    tokenizer = subject.tokenizer
    texts, unknown = [*HARD, *subject.lines], tokenizer.special.unk
    ids = [tokenizer.encode(text).ids.tolist() for text in texts]
    other = sum(text != tokenizer.decode(one) for text, one in zip(texts, ids, strict=True))
    read = [token for one in ids[len(HARD) :] for token in one]
    share = read.count(unknown) / max(len(read), 1) if unknown is not None else 0.0
    detail = not_for("round_trip", texts=len(texts), other=other, unknown=f"{share:.1%}").detail
    return Finding(share <= MOST_UNKNOWN and not (other and tokenizer.kind == "byte_bpe"), detail)


def end_of_text(subject: Subject) -> Finding:
    """A model that writes learns where a text ends: the end-of-text token is among its labels."""
    end = subject.tokenizer.special.eos
    if subject.model.config.decoder is None:
        return not_for("not_causal")
    if end is None:
        return Finding(False, not_for("no_end").detail)
    labels = [batch.labels for batch in islice(subject.prepared.train, BATCHES) if batch.labels is not None]
    ends = sum(int((one == end).sum()) for one in labels)
    count = sum(int((one != IGNORED).sum()) for one in labels)
    return Finding(ends > 0, not_for("ends", ends=ends, labels=count).detail)


def template(subject: Subject) -> Finding:
    """A fine-tuned model sees in use exactly the tokens that it saw in training, up to where it has to answer."""
    tuned = subject.tuned
    if tuned is None:
        return not_for("not_tuned")
    record = _record(subject)
    task = tuned.require()
    learned = task.examples([record])[0][0]
    seen: list[Tensor] = []
    handle = tuned.model.embedding.register_forward_pre_hook(lambda _, given: seen.append(given[0].detach().clone()))
    try:
        task.predict(tuned.model, [record])
    finally:
        handle.remove()
    same = bool(seen) and _agrees(learned, seen[0][0].tolist())
    return Finding(same, not_for("rendered", tokens=len(seen[0][0]) if seen else 0).detail)


def _record(subject: Subject) -> Record:
    """One made-up record of the task, with an answer that the task knows."""
    assert subject.tuned is not None
    task = subject.tuned.require()
    values = task.made_up_row()
    return task.record(Row(values, "#1"), {name: name for name in values})


def _agrees(learned: TrainingExample, seen: list[int]) -> bool:
    """Whether the first tokens that a model read in use are those of the training example, or its beginning."""
    sides = [side.tolist() for side in (learned.source, learned.target) if side is not None]
    return any(side[: len(seen)] == seen or seen[: len(side)] == side for side in sides)

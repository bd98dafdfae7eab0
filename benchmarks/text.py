"""The text that benchmarks work on: public data where its folder is given, else made up."""

import gzip
import json
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.work import Work
from trifold.data.rows import Row
from trifold.tasks.record import Record
from trifold.tasks.task import Task
from trifold.text import Tokenizer

__all__ = [
    "PAIRS",
    "SENTENCES",
    "WIKIPEDIA",
    "Setting",
    "english_documents",
    "labelled_sentences",
    "records_of",
    "sentence_pairs",
]

WIKIPEDIA = "lm_en/enwiki_sample/train.jsonl.gz"
SENTENCES = "sentiment_en/sst2/train.tsv.gz"
PAIRS = "mt_en_de/multi30k/train.tsv.gz"
"""Files of the public data sets."""
SYLLABLES = ("ba", "co", "di", "fu", "ga", "he", "li", "mo", "na", "pe", "qui", "ro", "sa", "ti", "vu", "we")


def english_documents(work: Work) -> Iterator[str]:
    """Articles of Wikipedia; made-up ones where little is to be done.

    Raises:
        BenchmarkError: there is no folder of data sets.
    """
    if work.smoke:
        yield from (made_up(number, 200) for number in range(100))
        return
    with gzip.open(work.file(WIKIPEDIA), "rt", encoding="utf-8") as lines:
        yield from (json.loads(line)["text"] for line in lines)


def labelled_sentences(work: Work, split: str) -> list[tuple[str, str]]:
    """Sentences of SST-2 with their labels, as they come: short and unequal.

    Raises:
        BenchmarkError: there is no folder of data sets.
    """
    if work.smoke:
        return [(made_up(number, 1 + number * 7 % 30), str(number % 2)) for number in range(64)]
    with gzip.open(work.file(f"sentiment_en/sst2/{split}.tsv.gz"), "rt", encoding="utf-8") as lines:
        next(lines)
        rows = [line.rstrip("\n").split("\t") for line in lines]
    return [(text, label) for label, text in rows]


def sentence_pairs(work: Work, split: str) -> Iterator[tuple[str, str]]:
    """Sentences of Multi30k, English and German.

    Raises:
        BenchmarkError: there is no folder of data sets.
    """
    if work.smoke:
        yield from ((made_up(number, 3 + number % 9), made_up(number + 1, 3 + number % 7)) for number in range(64))
        return
    with gzip.open(work.file(f"mt_en_de/multi30k/{split}.tsv.gz"), "rt", encoding="utf-8") as lines:
        next(lines)
        for line in lines:
            english, german = line.rstrip("\n").split("\t")
            yield english, german


@dataclass(frozen=True, slots=True)
class Setting:
    """What every side of a benchmark of a task starts from.

    Attributes:
        train, test: texts with their labels or translations.
        tokenizer: trained on them.
        folder: the first weights and the tokenizer, as a Hugging Face folder.
    """

    train: list[tuple[str, str]]
    test: list[tuple[str, str]]
    tokenizer: Tokenizer
    folder: Path


def records_of(pairs: Sequence[tuple[str, str]], task: Task, names: tuple[str, str]) -> list[Record]:
    """Pairs as `trifold finetune` reads them; `names` are the roles of their two parts."""
    columns = {name: name for name in names}
    return [task.record(Row(dict(zip(names, pair, strict=True)), "-"), columns) for pair in pairs]


def made_up(seed: int, words: int) -> str:
    """Words that look like words, the same for the same seed.

    Example:
        >>> made_up(1, 3) == made_up(1, 3), len(made_up(1, 3).split())
        (True, 3)
    """
    chance = random.Random(seed)
    return " ".join("".join(chance.choices(SYLLABLES, k=chance.randint(1, 3))) for _ in range(words))

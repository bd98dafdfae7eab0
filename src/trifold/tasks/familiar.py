"""What kind of texts a run learned from, and a warning, once, about a text that is of another kind.

A model answers whatever it is given. A translator that is given the language it translates into, or a classifier of English
reviews that is given Chinese ones, answers with nonsense, and looks as sure as ever. Two signs are cheap and rarely wrong:
the script that a text is written in, and, where a translator's sides have the same script, their most frequent words.
"""

import re
import warnings
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from trifold.config import Config, Fraction, from_json
from trifold.locale import catalogue, language, message
from trifold.tasks.record import Record
from trifold.text.script import main_script, script_shares
from trifold.training.description import DESCRIPTION, read_description

__all__ = ["Familiar", "InputCheck"]

READ = 5000
"""Training examples that are looked at."""
RARE = 0.01
"""A script in which fewer of the training texts are written than this part is another than theirs."""
WORD = re.compile(r"[^\W\d_]+")
FREQUENT, RATIO, TYPICAL = 0.0005, 20.0, 150
"""How often a word stands among those of one side, how many times as often as on the other, and how many such are kept."""
SIGNS = 3
"""Typical words of the other side that tell, where there is none of a text's own."""
SHOWN = 60


@dataclass(frozen=True, kw_only=True, slots=True)
class Familiar(Config):
    """The kind of texts that a run learned to read, and for a translator to write.

    Attributes:
        scripts: part of the texts in each script; empty where nobody knows.
        target_scripts: of what a translator writes; empty for other tasks.
        words: frequent words of a translator's source side that are rare on the other.
        target_words: likewise of what it writes.

    Example:
        >>> familiar = Familiar.learned([Record("a good film", "yes"), Record("a very dull film", "no")])
        >>> familiar.strange("一部很好的电影"), familiar.strange("another good film")
        ('han', None)
    """

    scripts: dict[str, Fraction] = field(default_factory=dict)
    target_scripts: dict[str, Fraction] = field(default_factory=dict)
    words: tuple[str, ...] = ()
    target_words: tuple[str, ...] = ()

    @classmethod
    def learned(cls, records: Sequence[Record], *, translates: bool = False) -> "Familiar":
        """What training examples are like; of a translation, both sides."""
        chosen = records[:: max(len(records) // READ, 1)]
        sources = [_text(record) for record in chosen]
        if not translates:
            return cls(scripts=script_shares(sources))
        targets = [str(record.gold) for record in chosen]
        here, there = _frequencies(sources), _frequencies(targets)
        return cls(
            scripts=script_shares(sources),
            target_scripts=script_shares(targets),
            words=_typical(here, there),
            target_words=_typical(there, here),
        )

    @classmethod
    def of_run(cls, folder: Path) -> "Familiar":
        """What a run's description says; nothing is known of a run of an earlier version, and of other folders.

        Raises:
            ConfigError: the description is damaged there.
        """
        known = read_description(folder) if (folder / DESCRIPTION).is_file() else {}
        return from_json(cls, known.get("texts", {}), where=f"{folder / DESCRIPTION}: texts")

    def strange(self, text: str) -> str | None:
        """The script of a text where it is another than that of the texts known, `target` where its words are."""
        script = main_script(text)
        if script is not None and self.scripts and self.scripts.get(script, 0.0) < RARE:
            return script
        said = set(map(str.lower, WORD.findall(text))) if self.target_words else set()
        other = len(said.intersection(self.target_words))
        return "target" if other >= SIGNS and said.isdisjoint(self.words) else None


@dataclass(slots=True)
class InputCheck:
    """Looks at what a model is given, and warns of a text that is of another kind than those it learned from."""

    familiar: Familiar
    warned: bool = False

    def look_at(self, inputs: Iterable[Record | str]) -> None:
        """Warn of the first text that is of another kind; once, however many there are."""
        known = self.familiar
        if self.warned or not known.scripts:
            return
        texts = (entry if isinstance(entry, str) else _text(entry) for entry in inputs)
        text, sign = next(((text, sign) for text in texts if (sign := known.strange(text))), ("", None))
        if sign is None:
            return
        self.warned = True
        facts = {"expected": _names(known.scripts), "target": _names(known.target_scripts), "found": script_name(sign)}
        by_script = "task.other_source" if known.target_scripts else "task.other_script"
        told = message("task.other_side" if sign == "target" else by_script, text=text[:SHOWN], **facts)
        warnings.warn(told, stacklevel=3)


def script_name(script: str) -> str:
    """What a script is called in the reader's language; its own name, where it has no other.

    Example:
        >>> script_name("han"), script_name("georgian")
        ('Chinese characters', 'Georgian')
    """
    known = f"script_{script}" in catalogue(language())["task"]
    return message(f"task.script_{script}") if known else script.capitalize()


def _names(scripts: Mapping[str, float]) -> str:
    return ", ".join(script_name(script) for script, share in scripts.items() if share >= RARE)


def _text(record: Record) -> str:
    return " ".join(record.inputs)


def _frequencies(texts: Sequence[str]) -> dict[str, float]:
    """How often each word occurs among all; runs of letters are words."""
    counts = Counter(word for text in texts for word in WORD.findall(text.lower()))
    return {word: count / counts.total() for word, count in counts.items()}


def _typical(here: Mapping[str, float], there: Mapping[str, float]) -> tuple[str, ...]:
    """The most frequent words of one side that the other hardly has."""
    typical = [word for word, often in here.items() if often > max(FREQUENT, RATIO * there.get(word, 0.0))]
    return tuple(sorted(typical, key=here.__getitem__, reverse=True)[:TYPICAL])

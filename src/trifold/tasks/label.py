"""Labels as people write them: trimmed, numbers and names, several in one cell, tables of yes and no.

| what stands there | label |
|---|---|
| `" pos "`, `"pos"` | `pos`; case counts |
| `1`, `1.0`, `"1"`, `"1.0"` | `1` |
| `true`, `"True"` | `true`, or `1` where that is a label |
| `null`, NaN, `""` | none: missing |
"""

import math
import re
import unicodedata
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from trifold.data.columnar import class_names
from trifold.data.rows import Row
from trifold.errors import DataError
from trifold.presets.pretrained import Transformer
from trifold.tasks.literal import listed

__all__ = [
    "LabelFormat",
    "agreed_labels",
    "alike",
    "balanced_weights",
    "divide_known",
    "find_format",
    "label_keys",
    "label_of",
    "named",
    "names_in_files",
    "refuse_marks",
    "several_in",
    "sort_labels",
]

SEPARATORS = ("|", ";", "；", "、", ",", "，")
INVISIBLE = "\ufeff\u200b\u200c\u200d\u2060"
WHOLE = re.compile(r"-?(?:0|[1-9]\d*)(?:\.0+)?")
NOTHING = frozenset({"nan", "null", "<na>"})
TWINS = {"true": "1", "1": "true", "false": "0", "0": "false"}
YES, NO = ("1", "true"), ("0", "false")


def label_of(value: object) -> str | None:
    """A label as it is called everywhere, however it is written; None where there is none.

    Example:
        >>> [label_of(value) for value in (" pos ", "very  good", 1.0, "2.0", 2.5, True, "FALSE", None, "")]
        ['pos', 'very good', '1', '2', '2.5', 'true', 'false', None, None]
    """
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return None
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    text = " ".join(unicodedata.normalize("NFC", str(value)).strip().strip(INVISIBLE).split())
    if text.lower() in ("true", "false"):
        return text.lower()
    if WHOLE.fullmatch(text):
        return str(int(text.partition(".")[0]))
    return None if not text or text.lower() in NOTHING else text


def balanced_weights(counts: Mapping[str, int], labels: Sequence[str], names: Sequence[str]) -> list[float]:
    """The weight of each label as if all were equally frequent; `names` are those of integer labels.

    Example:
        >>> balanced_weights({"a": 1, "b": 3}, ("a", "b"), ())
        [2.0, 0.6666666666666666]
    """
    keys, numbers = label_keys(labels, names), Counter[int]()
    for label, count in counts.items():
        numbers[keys.get(label, -1)] += count
    total = sum(counts.values())
    return [total / (len(labels) * max(numbers[number], 1)) for number in range(len(labels))]


def label_keys(labels: Sequence[str], names: Sequence[str] = ()) -> dict[str, int]:
    """The number of each label, under every way to write it.

    Args:
        labels: in their order.
        names: of integer labels, in their order, or each as `number=name`; those numbers then stand for the labels too.

    Example:
        >>> label_keys(("0", "1"))["true"], label_keys(("neg", "pos"), ("1=neg", "2=pos"))["2"]
        (1, 1)
    """
    keys = {label: place for place, label in enumerate(labels)}
    for place, label in enumerate(labels):
        keys.setdefault(label_of(label) or label, place)
    for place, entry in enumerate(names):
        written, name = _name_in(entry)
        if name in labels:
            keys.setdefault(written or str(place), labels.index(name))
    for key, place in list(keys.items()):
        keys.setdefault(TWINS.get(key, key), place)
    return keys


def named(names: Sequence[str]) -> tuple[str, ...]:
    """The labels of names that may say which number they stand for.

    Example:
        >>> named(("1=neg", "2=pos"))
        ('neg', 'pos')
    """
    return tuple(_name_in(entry)[1] for entry in names)


def _name_in(entry: str) -> tuple[str, str]:
    """The number and the name in `number=name`; no number where there is only a name."""
    written, _, name = entry.partition("=")
    return (written.strip(), name.strip()) if name and WHOLE.fullmatch(written.strip()) else ("", entry.strip())


def sort_labels(labels: Iterable[str]) -> tuple[str, ...]:
    """Labels by number, then by name; where there is 0 or 1, `true` and `false` are these.

    Example:
        >>> sort_labels(["b", "10", "9", "-1", "a"]), sort_labels(["true", "0", "1"])
        (('-1', '9', '10', 'a', 'b'), ('0', '1'))
    """
    distinct = set(labels)
    if distinct & {"0", "1"}:
        distinct = {TWINS[label] if label in ("true", "false") else label for label in distinct}

    def key(label: str) -> tuple[float, str]:
        try:
            number = float(label)
        except ValueError:
            return math.inf, label
        return (number, label) if math.isfinite(number) else (math.inf, label)

    return tuple(sorted(distinct, key=key))


def alike(labels: Iterable[str]) -> list[tuple[str, ...]]:
    """Labels that differ only by case or width, which are probably meant as one.

    Example:
        >>> alike(["pos", "neg", "Pos", "ＰＯＳ"])
        [('Pos', 'pos', 'ＰＯＳ')]
    """
    groups: dict[str, list[str]] = {}
    for label in sorted(set(labels)):
        groups.setdefault(unicodedata.normalize("NFKC", label).casefold(), []).append(label)
    return [tuple(group) for group in groups.values() if len(group) > 1]


@dataclass(frozen=True, slots=True)
class LabelFormat:
    """How a column writes the labels of a row.

    Attributes:
        multi: whether a row may have any number of them.
        separator: what divides several in one text; empty for nothing.
        vector: the label at each place of lists of 0 and 1; empty where there are none.

    Example:
        >>> LabelFormat(multi=True, separator="|").read("red| round", "a.tsv:2", "label")
        ('red', 'round')
    """

    multi: bool = False
    separator: str = ""
    vector: tuple[str, ...] = ()

    def read(self, value: Any, origin: str, name: str) -> tuple[str, ...] | None:
        """The labels that stand in a cell, each once; None where nothing does.

        Raises:
            DataError: there are several where one is wanted, or a list has another length than those of training.
        """
        cell = listed(value)
        if isinstance(cell, Mapping):
            if all(label_of(mark) is None for mark in cell.values()):
                return None
            return self._checked(
                [column for column, mark in cell.items() if _is_yes(mark, origin, column)], cell, origin
            )
        if isinstance(cell, str) and (self.multi or self.vector):
            if not cell.strip():
                return () if self.multi else None
            cell = _divided(cell, self.separator)
        if not isinstance(cell, list):
            label = label_of(cell)
            return None if label is None else (label,)
        if self.vector and (self.multi or len(cell) > 1):
            return self._checked(self._marked(cell, origin, name), value, origin)
        labels = [label for part in cell if (label := label_of(part)) is not None]
        return self._checked(labels, value, origin) if self.multi or labels else None

    def _marked(self, cell: Sequence[Any], origin: str, name: str) -> list[str]:
        if len(cell) != len(self.vector):
            raise DataError("task.vector_length", origin=origin, name=name, given=len(cell), wanted=len(self.vector))
        return [label for label, mark in zip(self.vector, cell, strict=True) if _is_yes(mark, origin, name)]

    def _checked(self, labels: Sequence[str], cell: Any, origin: str) -> tuple[str, ...]:
        distinct = tuple(dict.fromkeys(labels))
        if not self.multi and len(distinct) != 1:
            raise DataError("task.several_labels", origin=origin, given=str(cell)[:100])
        return distinct


def find_format(
    cells: Sequence[tuple[Any, str]], *, multi: bool, separator: str | None, names: Sequence[str] = ()
) -> LabelFormat:
    """How the cells of a column write labels.

    Args:
        cells: what stands in each row, and where.
        multi: whether rows may have several labels.
        separator: what divides them, where the user said; None to look for it.
        names: of the places of lists of 0 and 1, where they are known.

    Raises:
        DataError: texts look like several labels and `multi` is not set, or names are not as many as places.

    Example:
        >>> find_format([("red|round", ":2"), ("red", ":3"), ("round", ":4")], multi=True, separator=None)
        LabelFormat(multi=True, separator='|', vector=())
        >>> find_format([([0, 1, 1], ":1"), ([0, 0, 1], ":2")], multi=True, separator=None).vector
        ('label_0', 'label_1', 'label_2')
    """
    opened = [(listed(value), origin) for value, origin in cells]
    texts = [value for value, _ in opened if isinstance(value, str) and value.strip()]
    chosen = separator if separator is not None else _separator_in(texts, multi=multi)
    lists = [
        (_divided(value, chosen) if isinstance(value, str) else value, origin)
        for value, origin in opened
        if isinstance(value, list | str)
    ]
    width = _vector_width([one for one, _ in lists])
    if width:
        return LabelFormat(multi, chosen, _vector_names(width, names, lists[0][1]))
    if chosen and not multi and separator is None:
        text, origin = next((value, origin) for value, origin in opened if isinstance(value, str) and chosen in value)
        raise DataError("task.perhaps_several_labels", origin=origin, given=text[:100], separator=chosen)
    return LabelFormat(multi, chosen)


def refuse_marks(header: Sequence[str], rows: Sequence[Row], origin: str) -> None:
    """Refuse a file without a label whose columns of yes and no are probably the labels.

    Raises:
        DataError: there are such columns; says how they are read.
    """
    marks = [name for name in header if rows and all(label_of(row.values.get(name)) in (*YES, *NO) for row in rows)]
    if len(marks) > 1:
        raise DataError("task.marked_columns", path=origin, given=", ".join(marks)[:300], joined="+".join(marks))


def divide_known(text: str, known: Collection[str]) -> list[str]:
    """The known labels that a text is made of, whatever divides them; none where it has other parts.

    Example:
        >>> divide_known("red | round", {"red", "round"}), divide_known("red, blue", {"red", "round"})
        (['red', 'round'], [])
    """
    tries = (_divided(text, separator) for separator in (*SEPARATORS, " ") if separator in text)
    return next((parts for parts in tries if all(part in known for part in parts)), [])


def several_in(row: Mapping[str, Any], column: str) -> Any:
    """What stands in a label's column; of `a+b+c` what stands in each, by its name; of `a|b` in the first that is filled.

    Example:
        >>> several_in({"toxic": 1, "rude": 0}, "toxic+rude")
        {'toxic': 1, 'rude': 0}
    """
    if column not in row and "|" in column:
        return next((row[part] for part in column.split("|") if label_of(row.get(part)) is not None), None)
    if column not in row and "+" in column:
        return {part: row.get(part) for part in column.split("+")}
    return row.get(column)


def _divided(text: str, separator: str) -> list[str]:
    parts = text.split(separator) if separator.strip() else text.split() if separator else [text]
    return [part.strip() for part in parts if part.strip()]


def _separator_in(texts: Sequence[str], *, multi: bool) -> str:
    """What divides labels in texts; empty where nothing does.

    A comma may stand in a name, a blank often does: they divide only what stands in other texts too.
    """
    distinct = {" ".join(text.split()) for text in texts}
    for separator in (*SEPARATORS, " "):
        having = {text: _divided(text, separator) for text in distinct if separator in text}
        if not having:
            continue
        if len(having) == len(distinct) and _vector_width([_divided(text, separator) for text in texts]):
            return separator
        several = any(len(parts) > 1 for parts in having.values())
        if several and (_divides(separator, distinct, having) or (multi and separator != " ")):
            return separator
    return ""


def _divides(separator: str, distinct: set[str], having: Mapping[str, Sequence[str]]) -> bool:
    """Whether texts with a separator look like several labels rather than like a name."""
    often = Counter(part for text in distinct for part in set(_divided(text, separator)))
    parts = {part for found in having.values() for part in found}
    shared = sum(often[part] > 1 for part in parts) / max(len(parts), 1)
    return parts <= distinct if separator == " " else separator not in ",，" or shared >= 0.5


def _vector_width(lists: Sequence[Sequence[Any]]) -> int:
    """How long lists of 0 and 1 are that say yes or no for each label; 0 where they are something else.

    Some may be damaged: most must be of this length.
    """
    filled = [[label_of(mark) for mark in vector] for vector in lists if vector]
    marks = [vector for vector in filled if all(mark in (*YES, *NO) for mark in vector)]
    width = Counter(map(len, marks)).most_common(1)[0][0] if marks else 0
    alike = [vector for vector in marks if len(vector) == width]
    if width < 2 or 2 * len(alike) < len(filled):
        return 0
    repeated = any(len(set(vector)) < width for vector in alike)
    both = len({vector[0] for vector in alike}) > 1  # [1, 0] beside [0, 1]: no sets of numbers, which would be in order
    return width if repeated or both else 0


def _vector_names(width: int, names: Sequence[str], origin: str) -> tuple[str, ...]:
    if names and len(names) != width:
        raise DataError(
            "task.vector_names", origin=origin, places=width, names=len(names), given=", ".join(names)[:200]
        )
    return tuple(names) or tuple(f"label_{place}" for place in range(width))


def _is_yes(mark: Any, origin: str, name: str) -> bool:
    label = label_of(mark)
    if label not in (*YES, *NO):
        raise DataError("task.no_mark", origin=origin, name=name, given=str(mark)[:80])
    return label in YES


def names_in_files(columns: Mapping[str, Mapping[str, str]], role: str) -> tuple[str, ...]:
    """The names of integer labels that the first file which has some gives them.

    Args:
        columns: by role, of each file.
        role: the part that the labels' column plays.

    Example:
        >>> names_in_files({"a.jsonl": {"tags": "ner_tags"}}, "tags")
        ()
    """
    found = (class_names(file).get(of.get(role, ""), ()) for file, of in columns.items())
    return next(filter(None, found), ())


def agreed_labels(labels: tuple[str, ...], model: Transformer) -> tuple[str, ...]:
    """Labels in the order that a tuned model has them in, where they are the same.

    A model whose labels have no names but `LABEL_0`, `LABEL_1` takes those of data that has numbers.

    Example:
        >>> agreed_labels(("b", "a"), Transformer.from_preset("gpt2", size="tiny", vocab_size=100))
        ('b', 'a')
    """
    outputs = model.outputs
    if outputs is None:
        return labels
    count = len(outputs.labels)
    unnamed = outputs.labels == tuple(f"LABEL_{number}" for number in range(count))
    if unnamed and set(labels) == {str(number) for number in range(count)}:
        outputs = model.outputs = replace(outputs, labels=tuple(map(str, range(count))))
    return outputs.labels if set(outputs.labels) == set(labels) else labels

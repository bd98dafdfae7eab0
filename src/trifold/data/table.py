"""Tables in text: comma-, semicolon- and tab-separated values, in the dialect that the file is plainly written in."""

import csv
import re
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain, islice
from typing import Any

from trifold.data.file import LONGEST_LINE
from trifold.data.reading import Line, Row, Source
from trifold.errors import DataError

__all__ = [
    "Dialect",
    "choose_dialect",
    "fit",
    "name_columns",
    "read_comma_separated",
    "read_tab_separated",
    "take_sample",
]

SEPARATORS = (",", ";", "\t", "|")
SAMPLE_LINES = 5_000
SAMPLE_CHARACTERS = 2**20


@dataclass(frozen=True, slots=True)
class Dialect:
    """How a table is written.

    Attributes:
        separator: between cells.
        quoting: whether cells may stand in quotation marks, doubled inside; else a quotation mark is a character.
        escaped: whether a mark inside quotation marks is written after a backslash instead of twice.
        spaced: whether a space follows each separator.

    Example:
        >>> Dialect().separator
        ','
    """

    separator: str = ","
    quoting: bool = True
    escaped: bool = False
    spaced: bool = False

    def reader(self, lines: Iterable[str]) -> Any:
        """A reader of records, strict about quotation."""
        csv.field_size_limit(LONGEST_LINE)
        if not self.quoting:
            return csv.reader(lines, delimiter=self.separator, quoting=csv.QUOTE_NONE)
        escape = {"escapechar": "\\", "doublequote": False} if self.escaped else {}
        return csv.reader(lines, delimiter=self.separator, skipinitialspace=self.spaced, strict=True, **escape)


def read_comma_separated(source: Source) -> Iterator[Row]:
    """Rows of a csv file; also with semicolons, as Excel writes it in most of Europe."""
    return _read(source, ",")


def read_tab_separated(source: Source) -> Iterator[Row]:
    """Rows of a tsv file, with quotation marks as pandas and Excel write them, or with none."""
    return _read(source, "\t")


def choose_dialect(sample: Sequence[str], usual: str = ",") -> Dialect:
    r"""The dialect in which the fewest records of a sample are odd.

    Args:
        sample: the first lines.
        usual: the separator that the file's name promises.

    Example:
        >>> choose_dialect(["text;label\n", "good, very good;1\n"]).separator
        ';'
        >>> choose_dialect(["text\tlabel\n", '5" disk\t1\n', '"a"\t2\n'], "\t").quoting
        False
    """
    header = next((line for line in sample if line.strip()), "")
    ordered = sorted(SEPARATORS, key=lambda separator: separator != usual)
    separators = [separator for separator in ordered if separator in header] or [usual]
    writings = (False, True) if any('\\"' in line for line in sample) else (False,)
    choices = [
        Dialect(separator, escaped=escaped, spaced=_is_spaced(header, separator))
        for separator in separators
        for escaped in writings
    ]
    best = min(choices, key=lambda dialect: _oddities(sample, dialect))
    if best.separator == "\t" and not _is_quoted(sample, best):
        return Dialect("\t", quoting=False)
    return best


def _is_spaced(header: str, separator: str) -> bool:
    return separator != "\t" and 0 < header.count(separator) == header.count(f"{separator} ")


def _oddities(sample: Sequence[str], dialect: Dialect) -> int:
    """How many records are broken, or have another number of cells than the header."""
    rows, width, odd = dialect.reader(iter(sample)), 0, 0
    while True:  # a broken record takes lines too: the sample comes to its end
        try:
            row = next(rows, None)
        except csv.Error:
            odd += 1
            continue
        if row is None:
            return odd
        width = width or len(row)
        odd += bool(row) and len(row) != width


def _is_quoted(sample: Sequence[str], dialect: Dialect) -> bool:
    """Whether the quotation marks of a tab-separated table are its writer's and not its texts' own.

    A writer that quotes does so where a cell needs it (it holds a tab, a line end or a mark), or everywhere.
    """
    mark, inner = '"', r"(?:[^\"\\]|\\.)*\\\"(?:[^\"\\]|\\.)*" if dialect.escaped else r'(?:[^"]|"")*""(?:[^"]|"")*'
    needed = re.compile(rf'(?:^|\t)"{inner}"(?=\t|\r?\n?$)', re.MULTILINE)
    header = next((line.rstrip("\r\n") for line in sample if line.strip()), "")
    if all(len(cell) > 1 and cell[0] == cell[-1] == mark for cell in header.split("\t")):
        return True
    text = "".join(sample)
    evidence = len(needed.findall(text))
    for cell in chain.from_iterable(_whole_rows(sample, dialect)):
        evidence += "\t" in cell or "\n" in cell
    return evidence > _oddities(sample, dialect)


def _whole_rows(sample: Sequence[str], dialect: Dialect) -> Iterator[list[str]]:
    rows = dialect.reader(iter(sample))
    for _ in range(len(sample) + 1):
        try:
            yield next(rows, [])
        except csv.Error:
            continue


def _read(source: Source, usual: str) -> Iterator[Row]:
    lines = source.lines()
    head = take_sample(lines)
    if head and (said := re.fullmatch(r"sep=(.)\s*", head[0].text)):  # Excel's own first line
        usual, head = said[1], head[1:]
        dialect = Dialect(usual)
    else:
        dialect = choose_dialect([line.text for line in head], usual)
    yield from _rows(source, _records(chain(head, lines), dialect, source))


def take_sample(lines: Iterator[Line]) -> list[Line]:
    """The first lines, as many as it takes to judge a file by.

    Example:
        >>> len(take_sample(iter([Line(1, "one")])))
        1
    """
    head, size = [], 0
    for line in islice(lines, SAMPLE_LINES):
        head.append(line)
        size += len(line.text)
        if size > SAMPLE_CHARACTERS:
            break
    return head


class Feed:
    """Lines for a reader of records, some of which can be given back, also after the end.

    Args:
        lines: of the file.

    Attributes:
        taken: the lines of the record at hand.

    Example:
        >>> feed = Feed(iter([Line(1, "one"), Line(2, "two")]))
        >>> "".join(feed), [line.number for line in feed.taken]
        ('onetwo', [1, 2])
    """

    def __init__(self, lines: Iterator[Line]) -> None:
        self._lines = lines
        self._back: deque[Line] = deque()
        self.taken: list[Line] = []

    def __iter__(self) -> "Feed":
        return self

    def __next__(self) -> str:
        self.taken.append(self._back.popleft() if self._back else next(self._lines))
        return self.taken[-1].text

    def give_back(self) -> None:
        """Let all lines of the record at hand but its first be read again."""
        self._back.extendleft(reversed(self.taken[1:]))


def _records(lines: Iterator[Line], dialect: Dialect, source: Source) -> Iterator[tuple[int, list[str]]]:
    """Records and the line that each begins in; after a broken one, reading goes on in the next line."""
    feed = Feed(lines)
    reader = dialect.reader(feed)
    while True:
        feed.taken.clear()
        try:
            record = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            source.damaged(feed.taken[0].number, 1, str(error), "data.left_quotes")
            feed.give_back()
            continue
        if any(line.damaged for line in feed.taken):
            source.leave_out("data.left_bytes")
        else:
            yield feed.taken[0].number, record


def name_columns(header: Sequence[str]) -> list[str]:
    """Names of columns without blanks around them; those without a name are called as pandas calls them.

    Example:
        >>> name_columns(["", " text", "label", ""])
        ['Unnamed: 0', 'text', 'label']
    """
    names = [name.strip() for name in header]
    while names and not names[-1]:
        names.pop()
    return [name or f"Unnamed: {place}" for place, name in enumerate(names)]


def _rows(source: Source, records: Iterable[tuple[int, list[str]]]) -> Iterator[Row]:
    """Rows of records, the first of which names the columns."""
    names: list[str] = []
    for number, cells in records:
        if not any(cell.strip() for cell in cells):
            source.report.blank += bool(names)
        elif not names:
            names = name_columns(cells)
        else:
            yield from fit(source, names, cells, number)


def fit(source: Source, names: Sequence[str], cells: Sequence[Any], number: int) -> Iterator[Row]:
    """A row, its missing last cells empty; nothing where there are cells without a column.

    Raises:
        DataError: two columns have one name; under `strict`, there are too many cells.
    """
    if len(set(names)) < len(names):
        double = next(name for place, name in enumerate(names) if name in names[:place])
        raise DataError(
            "data.same_columns",
            path=source.origin,
            line=number,
            given=double,
            columns=len(names),
            names=len(set(names)),
        )
    problem = f"{len(cells)} columns, the header has {len(names)}"
    if any(cell not in ("", None) for cell in cells[len(names) :]):
        source.damaged(number, 1, problem, "data.left_columns")
        return
    missing = len(names) - len(cells)
    values = dict(zip(names, [*cells, *[""] * missing], strict=False))
    yield Row(values, f"{source.origin}:{number}", problem if missing > 0 else "")

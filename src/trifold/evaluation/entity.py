"""Entities in sequences of tags as seqeval counts them: leniently, as conlleval.pl does, or by the letter of a scheme."""

import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass

__all__ = ["SCHEMES", "Scheme", "entities", "find_scheme"]

OUTSIDE = "O"
MARKS = "BIESMLU"
PREFIXED, SUFFIXED = re.compile(rf"(?P<mark>[{MARKS}])[-_].+"), re.compile(rf".+[-_](?P<mark>[{MARKS}])")
SCHEMES = {
    "iob1": ("OI* II! BI* IB= BB=", "BI= II=", "II! IO* IB* BO* BI! BB="),
    "iob2": (".B*", "BI= II=", "IO* II! IB* BO* BI! BB*"),
    "ioe1": ("OI* II! EI* EE=", "II= IE=", "II! IO* IE! EI= EE="),
    "ioe2": ("OI* OE* EI* EE* II! IE!", "IE= II=", "E.*"),
    "iobes": (".B* .S*", "BI= BE= II= IE=", "S.* E.*"),
    "bilou": (".B* .U*", "BI= BL= II= IL=", "U.* L.*"),
}
"""Where an entity begins, goes on and has ended: mark before, mark here (`.` is any), whether the kinds are equal (`=`),
different (`!`) or either (`*`). Tjong Kim Sang and Veenstra (1999) name the first four."""
Entity = tuple[str, int, int]


@dataclass(frozen=True, slots=True)
class Scheme:
    """How the tags of a data set mark entities.

    Attributes:
        name: one of `SCHEMES`, `bmes`, or `bio` for what its labels alone do not tell apart.
        strict: count only what the scheme allows.
        suffix: the mark stands behind the kind, as in `PER-B`.

    Example:
        >>> str(Scheme("bio")), str(Scheme("bilou", strict=True))
        ('seqeval (default), BIO', 'seqeval (strict), BILOU')
    """

    name: str
    strict: bool = False
    suffix: bool = False

    def __str__(self) -> str:
        place = ", suffixes" if self.suffix else ""
        return f"seqeval ({'strict' if self.strict else 'default'}), {self.name.upper()}{place}"

    @property
    def marks(self) -> str:
        """The marks that it knows, without that of what is outside.

        Example:
            >>> Scheme("bmes").marks
            'BMES'
        """
        known = {"bmes": "BMES", "bio": "BI"}
        return known.get(self.name) or "".join(m for m in MARKS if m in "".join(SCHEMES[self.name]))


def find_scheme(labels: Collection[str]) -> Scheme | None:
    """The scheme that labels are of; None where they are no marks of entities.

    BILOU is read by the letter, for conlleval.pl knows neither L nor U; all others as conlleval.pl does.

    Example:
        >>> find_scheme(["O", "B-PER", "I-PER"]).name, find_scheme(["B", "M", "E", "S"]).name
        ('bio', 'bmes')
        >>> find_scheme(["NOUN", "VERB", "X"]) is None
        True
    """
    inner = [label for label in labels if label != OUTSIDE]
    bare = "".join(label for label in inner if label in MARKS)
    before, behind = (_marks(pattern, inner) for pattern in (PREFIXED, SUFFIXED))
    if len(bare) == len(inner) > 1 and "B" in bare:
        return _named(bare, suffix=False)
    if len(behind) == len(inner) > len(before) and set(behind) & set("BIS"):
        return _named(behind, suffix=True)
    return _named(before, suffix=False) if set(before) & set("BIU") or len(before) == len(inner) > 0 else None


def _marks(pattern: re.Pattern[str], labels: Collection[str]) -> str:
    return "".join(found["mark"] for label in labels if (found := pattern.fullmatch(label)))


def _named(marks: str, *, suffix: bool) -> Scheme:
    if set(marks) & set("LU"):
        return Scheme("bilou", strict=True, suffix=suffix)
    if "M" in marks:
        return Scheme("bmes", suffix=suffix)
    if "B" not in marks and "E" in marks:
        return Scheme("ioe2", suffix=suffix)
    return Scheme("iobes" if set(marks) & set("ES") else "bio", suffix=suffix)


def entities(tags: Sequence[str], scheme: Scheme | None = None) -> set[Entity]:
    """Kind, first and last word of each entity; without a scheme as seqeval does by default.

    Example:
        >>> sorted(entities(["B-PER", "I-PER", "O", "I-LOC"]))
        [('LOC', 3, 3), ('PER', 0, 1)]
        >>> sorted(entities(["B-PER", "I-PER", "O", "I-LOC"], Scheme("iob2", strict=True)))
        [('PER', 0, 1)]
    """
    strict, suffix = (scheme.strict, scheme.suffix) if scheme is not None else (False, False)
    parts = [_parted(tag, suffix=suffix, strict=strict) for tag in [*tags, OUTSIDE]]
    if not strict or scheme is None:
        return _lenient(parts)
    if scheme.name == "bmes":
        return _strict([("I" if mark == "M" else mark, kind) for mark, kind in parts], SCHEMES["iobes"])
    return _strict(parts, SCHEMES["iob2" if scheme.name == "bio" else scheme.name])


def _parted(tag: str, *, suffix: bool, strict: bool) -> tuple[str, str]:
    """Mark and kind of a tag, as seqeval parts them."""
    mark, rest = (tag[-1:], tag[:-1]) if suffix else (tag[:1], tag[1:])
    if strict:
        return mark, rest.strip("-") or "_"
    cut = rest.rpartition("-")[0] if suffix else rest.partition("-")[2]
    return mark, (cut if "-" in rest else rest) or "_"


def _lenient(parts: Sequence[tuple[str, str]]) -> set[Entity]:
    spans: set[Entity] = set()
    start, before, kind = 0, OUTSIDE, ""
    for place, (mark, here) in enumerate(parts):
        differs = kind != here
        if (
            before in ("E", "S")
            or (before in ("B", "I") and mark in ("B", "S", "O"))
            or (before not in ("O", ".") and differs)
        ):
            spans.add((kind, start, place - 1))
        if (
            mark in ("B", "S")
            or (before in ("E", "S", "O") and mark in ("E", "I"))
            or (mark not in ("O", ".") and differs)
        ):
            start = place
        before, kind = mark, here
    return spans


def _strict(parts: Sequence[tuple[str, str]], rules: tuple[str, str, str]) -> set[Entity]:
    begins, goes_on, ends = (rule.split() for rule in rules)
    spans: set[Entity] = set()
    place, before = 0, (OUTSIDE, "_")
    while place < len(parts):
        first = place
        place += 1
        if _fits(begins, before, parts[first]):
            while place < len(parts) and _fits(goes_on, parts[place - 1], parts[place]):
                place += 1
            if place < len(parts) and _fits(ends, parts[place - 1], parts[place]):
                spans.add((parts[first][1], first, place - 1))
        before = parts[place - 1]
    return spans


def _fits(rules: Sequence[str], before: tuple[str, str], here: tuple[str, str]) -> bool:
    """Whether a rule allows one tag after another."""
    relation = "=" if before[1] == here[1] else "!"
    return any(
        rule[0] in (before[0], ".") and rule[1] in (here[0], ".") and rule[2] in (relation, "*") for rule in rules
    )

"""Count what opens and what answers alike between Trifold and other tools; write both pages on it.

python scripts/interoperability.py
"""

import argparse
import logging
import platform
import sys
import tempfile
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path

from interop_checks import CHECKS, Check, Counts, Found
from interop_folders import Folders
from interop_prose import HEADS, PROSE, REASONS, WHATS

from trifold.doctor.family import count_outcomes, examine_family
from trifold.errors import PreemptedError
from trifold.presets import PRESETS

ROOT = Path(__file__).resolve().parents[1]
LIBRARIES = ("torch", "transformers", "tokenizers", "sentence-transformers", "ctranslate2", "peft")
KINDS = ("equal", "refused", "different", "crashed", "skipped")
COMMAND = "python scripts/interoperability.py"
Language = str


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a check on one family; `error` where the tool did not open the folder."""

    check: Check
    family: str
    found: Found | None
    error: str = ""


def try_all(place: Path, counts: Counts, families: Sequence[str]) -> Iterator[Outcome]:
    """Every check on every family that it is for."""
    folders = Folders(place)
    for check in CHECKS:
        for family in (one for one in check.families if one in families):
            try:
                outcome = Outcome(check, family, check.run(folders, family, counts))
            except PreemptedError:  # a signal stopped this command, which says nothing of the tool
                raise
            except Exception as error:  # noqa: BLE001 - that a tool cannot open a folder is a result
                outcome = Outcome(check, family, None, f"{type(error).__name__}: {error}".splitlines()[0])
            sys.stderr.write(f"{check.way} {check.tool} {check.what} {family}: {outcome.found or outcome.error}\n")
            yield outcome


def fields_table(families: Sequence[str], place: Path, language: Language) -> str:
    """Families and what became of each changed field."""
    rows = [line(HEADS[language]["fields"]), rule(1 + len(KINDS))]
    total = dict.fromkeys(KINDS, 0)
    for family, kinds in families_counted(families, place).items():
        rows.append(line([f"`{family}`", *(str(kinds[kind]) for kind in KINDS)]))
        total = {kind: total[kind] + kinds[kind] for kind in KINDS}
    rows.append(line([HEADS[language]["total"][0], *(f"**{total[kind]}**" for kind in KINDS)]))
    return "\n".join(rows)


COUNTED: dict[str, dict[str, int]] = {}


def families_counted(families: Sequence[str], place: Path) -> dict[str, dict[str, int]]:
    """Counts of each kind; what is neither equal, refused by name nor skipped is a difference."""
    for family in families:
        if family not in COUNTED:
            found = count_outcomes(examine_family(family, place)).get(family, {})
            counted = {kind: found.get(kind, 0) for kind in KINDS}
            counted["different"] += found.get("unnamed", 0)
            COUNTED[family] = counted
            sys.stderr.write(f"{family}: {counted}\n")
    return {family: COUNTED[family] for family in families}


def tools_table(outcomes: Sequence[Outcome], way: str, language: Language) -> str:
    """Tools and what they answered, a line for each check and family."""
    rows = [line(HEADS[language]["tools"]), rule(6)]
    for one in outcomes:
        if one.check.way != way:
            continue
        yes, no = HEADS[language]["opens"]
        what = WHATS[one.check.what][language]
        key = next((key for key in REASONS if key in f"{way} {one.check.tool} {one.check.what} {one.family}"), "")
        note = REASONS[key][language] if key and (one.found is None or one.found.same < one.found.count) else ""
        if one.found is None:
            cells = [no, "-", "-", note or f"`{one.error[:160]}`"]
        else:
            worst = "" if one.found.worst is None else f"{one.found.worst:.0e}"
            cells = [yes, f"{one.found.same:,} / {one.found.count:,}", worst, note]
        rows.append(line([f"`{one.check.tool}`: {what}", f"`{one.family}`", *cells]))
    return "\n".join(rows)


def line(cells: Sequence[str]) -> str:
    """A row of a table."""
    return "|" + "".join(f" {cell} |" if cell else " |" for cell in cells)


def rule(columns: int) -> str:
    """What stands below a table's head."""
    return "|" + "---|" * columns


def machine() -> str:
    """The name of the processor."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    named = (text.partition(":")[2].strip() for text in lines if text.startswith("model name"))
    return next(named, platform.machine())


def versions() -> str:
    """The versions of Trifold and of the other libraries."""
    found = []
    for name in ("trifold", *LIBRARIES):
        try:
            found.append(f"{name} {metadata.version(name)}")
        except metadata.PackageNotFoundError:
            continue
    return ", ".join([*found, f"Python {platform.python_version()}"])


def page(language: Language, outcomes: Sequence[Outcome], families: Sequence[str], place: Path) -> str:
    """One page."""
    told = {
        "command": COMMAND,
        "date": datetime.now(UTC).date().isoformat(),
        "machine": machine(),
        "versions": versions(),
        "fields": fields_table(families, place, language),
        "out": tools_table(outcomes, "out", language),
        "in": tools_table(outcomes, "in", language),
    }
    return PROSE[language].format(**told)


def main(words: Sequence[str]) -> int:
    """Measure, and write both pages; 1 where a field is different or crashes."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--page", type=Path, default=ROOT / "docs" / "interoperability.md")
    parser.add_argument("--zh", type=Path, default=ROOT / "docs" / "zh" / "interoperability.md")
    parser.add_argument("--families", nargs="+", choices=list(PRESETS), default=list(PRESETS))
    parser.add_argument("--share", type=float, default=1.0, help="of the texts, sentences and prompts")
    asked = parser.parse_args(words)
    warnings.simplefilter("ignore")
    quiet()
    whole = Counts()
    counts = Counts(*(max(2, round(getattr(whole, one.name) * asked.share)) for one in fields(whole)))
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        outcomes = list(try_all(place, counts, asked.families))
        (place / "fields").mkdir()
        for language, path in (("en", asked.page), ("zh", asked.zh)):
            path.write_text(page(language, outcomes, asked.families, place / "fields"), encoding="utf-8")
    return int(any(kinds["different"] or kinds["crashed"] for kinds in COUNTED.values()))


def quiet() -> None:
    """Let transformers say errors only, and show no bars."""
    import transformers

    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    logging.getLogger("transformers").setLevel(logging.ERROR)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

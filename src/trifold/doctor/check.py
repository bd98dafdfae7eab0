"""The examination: one check after another, each with a verdict in plain words."""

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from trifold.doctor import files, folder, machine, numeric, resume, text
from trifold.doctor.finding import Finding
from trifold.doctor.subject import Subject
from trifold.locale import message

__all__ = ["CHECKS", "Verdict", "examine"]

CHECKS: dict[str, Callable[[Subject], Finding]] = {
    "causal": numeric.causal,
    "padding": numeric.padding,
    "packed": numeric.packed,
    "accumulation": numeric.accumulation,
    "cached": numeric.cached,
    "saved": files.saved,
    "export": files.export,
    "hf_tokens": folder.hf_tokens,
    "hf_logits": folder.hf_logits,
    "hf_text": folder.hf_text,
    "hf_task": folder.hf_task,
    "round_trip": text.round_trip,
    "end_of_text": text.end_of_text,
    "template": text.template,
    "merged": numeric.merged,
    "frozen": numeric.frozen,
    "resume": resume.resume,
    "machine": machine.machine,
}


@dataclass(frozen=True, slots=True)
class Verdict:
    """What came of one check.

    Attributes:
        name: of the check.
        passed: None where it does not apply.
        claim: what should hold, in a sentence.
        detail: what was found.
        advice: what to do where it does not hold.
        seconds: how long it took.
    """

    name: str
    passed: bool | None
    claim: str
    detail: str
    advice: str
    seconds: float

    def as_dict(self) -> dict[str, Any]:
        """As JSON data."""
        return {name: getattr(self, name) for name in self.__slots__}


def examine(subject: Subject, names: Sequence[str] = ()) -> Iterator[Verdict]:
    """Check after check.

    Args:
        subject: who is examined.
        names: which checks; empty for all.
    """
    for name in names or CHECKS:
        start = time.perf_counter()
        try:
            finding = CHECKS[name](subject)
        except Exception as error:  # noqa: BLE001 - a check that breaks down has found something, and the others go on
            finding = Finding(passed=False, detail=f"{type(error).__name__}: {error}"[:300])
        claim, advice = message(f"doctor.{name}_claim"), message(f"doctor.{name}_advice")
        yield Verdict(
            name,
            finding.passed,
            claim,
            finding.detail,
            "" if finding.passed is not False else advice,
            time.perf_counter() - start,
        )

"""`trifold doctor`: the correctness contract on one's own model; `trifold drill`: a fault, rehearsed on a copy of a run."""

import tempfile
from pathlib import Path
from typing import Any

from trifold.cli.console import Console
from trifold.cli.experiment import SIZES
from trifold.cli.option import Command, Option, Request
from trifold.errors import CheckFailedError
from trifold.locale import message

__all__ = ["DOCTOR", "DRILL"]

NAMES = (
    "causal",
    "padding",
    "packed",
    "accumulation",
    "cached",
    "saved",
    "export",
    "hf_tokens",
    "hf_logits",
    "hf_text",
    "hf_task",
    "round_trip",
    "end_of_text",
    "template",
    "merged",
    "frozen",
    "resume",
    "machine",
)
DRILLS = ("kill-resume", "disk-full", "bit-flip")
MARKS = {True: "✓", False: "✗", None: "–"}


def examine(request: Request) -> dict[str, Any]:
    """Check after check, a line each."""
    from trifold.doctor import examine as checks
    from trifold.doctor import open_subject

    values, console, verdicts = request.values, request.console, []
    with tempfile.TemporaryDirectory(prefix="trifold-doctor-") as place:
        subject = open_subject(values.target, Path(place) / "subject", size=values.size or "tiny", data=values.data)
        text = message("doctor.own_text" if subject.own_text else "doctor.sample_text")
        console.say(
            message(
                "doctor.subject",
                name=values.target,
                parameters=subject.model.num_parameters(),
                text=text,
                kind=subject.tokenizer.kind,
                vocab_size=subject.tokenizer.vocab_size,
                objective=subject.experiment.objective.kind,
            )
        )
        for verdict in checks(subject, values.only or ()):
            verdicts.append(verdict)
            _say(verdict, console)
    wrong = [verdict.name for verdict in verdicts if verdict.passed is False]
    right = sum(verdict.passed is True for verdict in verdicts)
    data = {"target": values.target, "checks": [verdict.as_dict() for verdict in verdicts]}
    if wrong:
        console.result(data)
        raise CheckFailedError("doctor.failed", count=len(wrong), total=len(wrong) + right, names=", ".join(wrong))
    console.say(message("doctor.healthy", total=right, skipped=len(verdicts) - right))
    return data


def _say(verdict: Any, console: Console) -> None:
    console.say(
        f"{MARKS[verdict.passed]} {verdict.name:<13} {verdict.claim}: {verdict.detail} ({verdict.seconds:.1f} s)"
    )
    if verdict.advice:
        console.say(f"  → {verdict.advice}")


def rehearse(request: Request) -> dict[str, Any]:
    """One drill."""
    from trifold.doctor import rehearse as drill

    values, console = request.values, request.console
    run = Path(values.run)
    console.say(message(f"doctor.{values.drill}"))
    with tempfile.TemporaryDirectory(prefix=".trifold-drill-", dir=values.place or tempfile.gettempdir()) as place:
        finding = drill(values.drill, run, Path(place))
    if not finding.passed:
        raise CheckFailedError("doctor.drill_failed", name=values.drill, detail=finding.detail)
    console.say(message("doctor.drilled", name=values.drill, detail=finding.detail))
    return {"drill": values.drill, "run": str(run), "passed": True, "detail": finding.detail}


DOCTOR = Command(
    name="doctor",
    options=(
        Option(name="target", positional=True, help="option_subject"),
        Option(name="only", many=True, choices=NAMES, help="option_only_checks"),
        Option(name="data", kind="file", help="option_doctor_data"),
        Option(name="size", choices=SIZES),
    ),
    run=examine,
)
DRILL = Command(
    name="drill",
    options=(
        Option(name="drill", positional=True, choices=DRILLS, help="option_drill"),
        Option(name="run", positional=True, help="option_run"),
        Option(name="place", kind="folder", help="option_drill_place"),
    ),
    run=rehearse,
)

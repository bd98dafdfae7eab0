"""The correctness contract, held by the user's own model, data and machine; and faults, rehearsed on a copy of a run."""

from trifold.doctor.check import Verdict, examine
from trifold.doctor.drill import rehearse
from trifold.doctor.subject import Subject, open_subject

__all__ = ["Subject", "Verdict", "examine", "open_subject", "rehearse"]

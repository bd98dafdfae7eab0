"""Text from models: continuing it, answering a source, filling masks and restoring spans."""

from trifold.generation.config import Sampling
from trifold.generation.fill_mask import Candidate, fill_mask
from trifold.generation.generator import Generator
from trifold.generation.output import FinishReason, Generation, StreamedToken
from trifold.generation.precision import Precision, lower_precision, packs_weights, uses_kernel
from trifold.generation.restore import Restoration, restore_spans

__all__ = [
    "Candidate",
    "FinishReason",
    "Generation",
    "Generator",
    "Precision",
    "Restoration",
    "Sampling",
    "StreamedToken",
    "fill_mask",
    "lower_precision",
    "packs_weights",
    "restore_spans",
    "uses_kernel",
]

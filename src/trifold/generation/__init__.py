"""Text from models: continuing it, answering a source, filling masks and restoring spans."""

from trifold.generation.config import Sampling
from trifold.generation.generator import Generator
from trifold.generation.output import FinishReason, Generation

__all__ = ["FinishReason", "Generation", "Generator", "Sampling"]

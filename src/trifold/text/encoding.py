"""What comes of a text that is tokenized."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["Encoding"]


@dataclass(frozen=True, slots=True)
class Encoding:
    """Token ids and where each begins and ends in the original text, in characters.

    Example:
        >>> Encoding(np.array([7]), np.array([[0, 2]])).ids.tolist()
        [7]
    """

    ids: NDArray[np.int64]
    offsets: NDArray[np.int64]

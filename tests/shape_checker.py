"""Checks annotated calls of the package while the tests run: types, tensor dtypes and named axes.

The first calls of each test are checked. Training repeats the same calls thousands of times, and to check them all takes
twice as long as all the work; `pytest --shapes all` does (`make test-all`).
"""

from beartype import BeartypeConf, beartype
from jaxtyping import config

FIRST, ALL = 500, 10**12
check = beartype(conf=BeartypeConf(is_pep484_tower=True))  # an int may stand where a float is asked for


class Counting(type(config)):  # type: ignore[misc]
    """jaxtyping's switch, which it looks at before each call: on for so many calls."""

    left = ALL

    @property
    def jaxtyping_disable(self) -> bool:
        """Whether a call is not to be checked; counts it."""
        self.left -= 1
        return self.left < 0

    @jaxtyping_disable.setter
    def jaxtyping_disable(self, value: bool) -> None:
        raise AttributeError("the tests decide how many calls are checked")


config.__class__ = Counting

"""Checks annotated calls of the package while the tests run: types, tensor dtypes and named axes.

The first calls of each test are checked. Training repeats the same calls thousands of times, and to check them all takes
twice as long as all the work; `pytest --shapes all` does (`make test-all`). What checks a function is made at its first
checked call: to make it for each of thousands of functions takes a quarter of the collection, in every worker.
"""

from collections.abc import Callable
from typing import Any

from beartype import BeartypeConf, beartype
from beartype.roar import BeartypeDecorException
from jaxtyping import AnnotationError, config

FIRST, ALL = 500, 10**12
build = beartype(conf=BeartypeConf(is_pep484_tower=True))  # an int may stand where a float is asked for


def check(function: Callable[..., Any]) -> Callable[..., Any]:
    """The function, whose arguments and result are checked.

    Raises:
        AnnotationError: at the first call, where an annotation is none.
    """
    checked: Callable[..., Any] | None = None

    def checks_first(*given: Any, **named: Any) -> Any:
        nonlocal checked
        if checked is None:
            try:
                checked = build(function)
            except BeartypeDecorException as error:  # another error would be taken for one of the values
                raise AnnotationError(str(error)) from error
        return checked(*given, **named)

    return checks_first


class Settled(type(config)):  # type: ignore[misc]
    """jaxtyping's switch, which it looks at before each call, once no more calls are to be checked."""

    jaxtyping_disable = True


class Counting(type(config)):  # type: ignore[misc]
    """jaxtyping's switch, on for so many calls."""

    left = ALL

    @property
    def jaxtyping_disable(self) -> bool:
        """Whether a call is not to be checked; counts it."""
        self.left -= 1
        if self.left < 0:
            config.__class__ = Settled
        return self.left < 0

    @jaxtyping_disable.setter
    def jaxtyping_disable(self, value: bool) -> None:
        raise AttributeError("the tests decide how many calls are checked")


def check_calls(number: int) -> None:
    """Check so many calls from now on."""
    config.__class__ = Counting
    config.left = number


vars(config).pop("jaxtyping_disable")  # its own value would stand before the classes'
check_calls(ALL)

"""Every failure that Trifold reports on purpose, in one tree.

    TrifoldError                exit code 1
    ├── CheckFailedError        1   what should hold was looked at, and does not
    ├── UsageError              2   a wrong option, configuration or argument
    │   ├── ConfigError             a configuration field: unknown, of the wrong type, out of range
    │   ├── MissingExtraError       a feature whose optional libraries are not installed
    │   └── CapacityError           the work asked for does not fit this machine
    ├── DataError               3   the user's text or token store
    │   └── MissingValueError       a row without a value that it needs; such rows are left out and counted
    ├── ModelFileError          4   a model folder, checkpoint or tokenizer file
    ├── StorageError            5   the disk: full, read-only, failing
    ├── NonFiniteError          6   training met NaN, infinity or a spike
    ├── DistributedError        7   processes that train together: one died, is late, or has other settings
    └── PreemptedError         75   a signal stopped the run; it is saved and can go on

A message says what was given, what is allowed and what to do next. Its text stands in `locale/`, in English and
Chinese, under the key that is also the error's stable `code`.
"""

from trifold.locale import message

__all__ = [
    "CapacityError",
    "CheckFailedError",
    "ConfigError",
    "DataError",
    "DistributedError",
    "MissingExtraError",
    "MissingValueError",
    "ModelFileError",
    "NonFiniteError",
    "PreemptedError",
    "StorageError",
    "TrifoldError",
    "UsageError",
]


class TrifoldError(Exception):
    """A failure with a stable code, a message in the user's language and an exit code.

    Args:
        code: key of the message in the catalogue, `area.name`.
        **values: what the message's placeholders stand for.

    Attributes:
        told: whether another process of the same run tells the user.

    Example:
        >>> error = DataError("data.corpus_empty", path="notes.txt")
        >>> error.code, error.exit_code
        ('data.corpus_empty', 3)
    """

    exit_code: int = 1
    told: bool = False

    def __init__(self, code: str, /, **values: object) -> None:
        self.code = code
        self.values = values
        super().__init__(message(code, **values))

    def __reduce__(self) -> tuple[object, ...]:
        """As another process gets it: values that are no plain data as they are written."""
        plain = (str, int, float, bool, type(None))
        values = {name: value if isinstance(value, plain) else str(value) for name, value in self.values.items()}
        return _made_again, (type(self), self.code, values, {"told": self.told, "exit_code": self.exit_code})


def _made_again(
    kind: type[TrifoldError], code: str, values: dict[str, object], state: dict[str, object]
) -> TrifoldError:
    error = kind(code, **values)
    error.__dict__.update(state)
    return error


class CheckFailedError(TrifoldError):
    """An examination or a rehearsal found that something does not hold."""


class UsageError(TrifoldError, ValueError):
    """A wrong option, configuration or argument."""

    exit_code = 2


class ConfigError(UsageError):
    """A configuration field that is unknown, of the wrong type or out of range."""


class MissingExtraError(UsageError):
    """A feature whose optional libraries are not installed; the message gives the exact pip line."""


class CapacityError(UsageError):
    """The work asked for does not fit this machine; the message gives both numbers."""


class DataError(TrifoldError):
    """Something is wrong with the user's text or with a token store made from it."""

    exit_code = 3


class MissingValueError(DataError):
    """A row has no value where it needs one: whoever reads many rows leaves it out and counts it."""


class ModelFileError(TrifoldError):
    """A model folder, a checkpoint or a tokenizer file is missing, damaged or of another shape."""

    exit_code = 4


class StorageError(TrifoldError):
    """The disk is full, read-only or failing."""

    exit_code = 5


class NonFiniteError(TrifoldError):
    """Training met a loss or gradient that is NaN, infinite or a spike."""

    exit_code = 6


class DistributedError(TrifoldError):
    """A process that trains together with others died, is late, cannot be reached or has other settings."""

    exit_code = 7


class PreemptedError(TrifoldError):
    """A signal asked the run to stop; its state is saved."""

    exit_code = 75

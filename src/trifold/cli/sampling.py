"""How `generate` and `chat` choose tokens: by options, else as the model's folder wants it."""

from dataclasses import fields
from typing import Any

from trifold.cli.option import Option, Request
from trifold.locale import message

__all__ = ["SAMPLING", "sampling_of"]

SAMPLING = (
    Option(name="max-tokens", kind="integer", low=1),
    Option(name="temperature", kind="number", low=0),
    Option(name="top-k", kind="integer", low=0),
    Option(name="top-p", kind="number", above=0, high=1),
    Option(name="min-p", kind="number", low=0, high=1),
    Option(name="repetition-penalty", kind="number", above=0),
    Option(name="no-repeat-ngram", kind="integer", low=0),
    Option(name="seed", kind="integer", low=0),
)
"""Settings of `Sampling` under the same names."""


def sampling_of(request: Request, rules: Any, **fixed: Any) -> Any:
    """The `Sampling` of a request; what the model's folder decides in it is said, and what it asks for in vain.

    Args:
        request: with options that are settings of `Sampling`.
        rules: of the model's folder.
        fixed: settings that the command decides.
    """
    from trifold.generation import Sampling

    given = {one.name: getattr(request.values, one.name) for one in fields(Sampling) if one.name in request.given}
    chosen = fixed | {name: tuple(value) if isinstance(value, list) else value for name, value in given.items()}
    wanted = rules.sampling_with(chosen)
    shown = ", ".join(f"{name}={value}" for name, value in wanted.items() if name not in chosen)
    if shown:
        request.console.note(message("generation.folder_says", values=shown))
    if rules.left_out:
        request.console.warn(message("generation.folder_left_out", names=", ".join(rules.left_out)))
    return Sampling(**wanted)

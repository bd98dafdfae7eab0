"""What a family is: options, a configuration made from them, and both ways to and from Hugging Face's names."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from dataclasses import fields as fields_of
from typing import Any, Literal

import torch
from torch import Tensor

from trifold.checkpoint import KeyMap
from trifold.config import Config, from_json, unknown_key
from trifold.errors import ConfigError
from trifold.locale import name_option
from trifold.model import config
from trifold.presets.field import Fields
from trifold.presets.options import Pair
from trifold.presets.task_class import CLASSES, FamilyClasses

__all__ = ["Preset", "modern_names"]

OLD_NAMES = {".gamma": ".weight", ".beta": ".bias"}
"""How norms were called before 2020."""


def _nothing(source: object) -> dict[str, Any]:
    del source
    return {}


def _as_said(options: Any, theirs: Mapping[str, Tensor]) -> Any:
    del theirs
    return options


@dataclass(frozen=True, slots=True)
class Preset:
    """One family.

    Attributes:
        name: how users call it.
        model_type: Hugging Face's name.
        architecture: Hugging Face's class with the language-model head.
        options: the class of its options, whose defaults are the paper's base size.
        sizes: options that differ from the defaults, by name of the size.
        build: options to configuration.
        keys: options to key table.
        fields: what becomes of each field of Hugging Face's configuration.
        objective: the objective it was published with.
        write: options to the fields of that configuration that are no option under another name; special ids only where
            numbers depend on them.
        read: fields, absent ones filled in, to the values of the options that are no field under another name.
        of_padding: the tokenizer's padding id to the options that follow from it.
        of_weights: options and the weights of a file, by their names there, to the options that these weights want.
        pad_last: whether other tools take the last token for padding, as Marian has it.
        small: the fields of a small configuration in which every part has a say in the logits; tests are made from it.
        classes: Hugging Face's classes beside that with the language-model head; None where it has none, or `CLASSES` has
            them.
        rebuilt: whether transformers makes the tokenizer of this family anew by its own rules, unless the folder names a
            class of its own.
    """

    name: str
    model_type: str
    architecture: str
    options: type[Config]
    sizes: Mapping[str, Mapping[str, Any]]
    build: Callable[[Any], config.Transformer]
    keys: Callable[[Any], KeyMap]
    fields: Fields
    objective: Literal["causal", "masked", "denoising", "infilling", "sequence_to_sequence"]
    write: Callable[[Any], dict[str, Any]] = _nothing
    read: Callable[[Mapping[str, Any]], dict[str, Any]] = _nothing
    of_padding: Callable[[int], dict[str, Any]] = _nothing
    of_weights: Callable[[Any, Mapping[str, Tensor]], Any] = _as_said
    pad_last: bool = False
    small: Mapping[str, Any] = field(default_factory=dict)
    classes: FamilyClasses | None = None
    rebuilt: bool = False

    @property
    def task_classes(self) -> FamilyClasses | None:
        """Hugging Face's classes beside that with the language-model head, wherever they stand; None where it has none."""
        return self.classes or CLASSES.get(self.model_type)

    def __deepcopy__(self, memo: object) -> "Preset":
        """Itself: nothing of it changes, and a copy of a model is of the same family."""
        del memo
        return self

    def choose(self, size: str, changes: Mapping[str, Any]) -> Config:
        """The options of a size, some of them changed.

        Raises:
            ConfigError: an unknown size or option, or a value out of range.
        """
        if size not in self.sizes:
            raise unknown_key(f"{name_option('size')} ({self.name})", size, list(self.sizes))
        return self.turn(self.sizes[size], changes)

    def turn(self, options: Mapping[str, Any], changes: Mapping[str, Any]) -> Config:
        """Options, some of them changed.

        Raises:
            ConfigError: an unknown option, or a value out of range.
        """
        known = {option.name for option in fields_of(self.options)}  # type: ignore[arg-type]
        for name in changes:
            if name not in known:
                raise unknown_key(f"{name_option('preset')} {self.name}", name, sorted(known))
        return from_json(self.options, {**options, **changes}, where=self.name)

    def read_options(self, data: Mapping[str, Any]) -> Config:
        """The options that a Hugging Face configuration stands for.

        Raises:
            ConfigError: a field is missing, of the wrong type, out of range, or asks for what this family lacks.
        """
        fields = self.fields.complete(data)
        values = {**self.fields.read(fields), **self.read(fields)}
        try:
            options = from_json(self.options, values, where="config.json")
            self.build(options)  # refuses what its parts refuse
        except ConfigError as error:
            raise self._in_their_words(error) from None
        return options

    def _in_their_words(self, error: ConfigError) -> ConfigError:
        """The same error, the option under the name that it has in the file."""
        place = str(error.values.get("where", ""))
        option = place.removeprefix("config.json.")
        parts = [self.fields.theirs(option.partition(".")[0]), *option.partition(".")[1:]]
        return ConfigError(error.code, **{**error.values, "where": "config.json: " + "".join(parts)})

    def write_fields(self, options: Any) -> dict[str, Any]:
        """Hugging Face's configuration, without special ids.

        Raises:
            ConfigError: it cannot express an option.
        """
        both = {"is_encoder_decoder": True} if isinstance(options, Pair) else {}
        return {**both, **self.fields.write(options), **self.write(options)}

    def settle(self, options: Config, theirs: Mapping[str, Tensor]) -> Config:
        """The options as the file has it: a head that the file holds, other than the embedding, is the head's own.

        Files say `tie_word_embeddings` by mistake; transformers too goes by the weights then.
        """
        options = self.of_weights(options, theirs)
        if not getattr(options, "tied", False):
            return options
        apart = replace(options, tied=False)  # type: ignore[call-overload]
        names = {entry.ours: entry.theirs for entry in self.keys(apart).entries if not entry.optional}
        head, table = (theirs.get(names[f"{place}.weight",]) for place in ("head.output", "embedding.tokens"))
        if head is None or table is None:
            return options
        same = head.shape == table.shape and torch.equal(head, table.to(head.dtype))
        return options if same else apart


def modern_names(theirs: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Weights with the old names of norms, gamma and beta, under those of today.

    Example:
        >>> list(modern_names({"LayerNorm.gamma": torch.ones(2)}))
        ['LayerNorm.weight']
    """
    renamed = {}
    for name, value in theirs.items():
        stem, dot, last = name.rpartition(".")
        renamed[stem + OLD_NAMES.get(dot + last, dot + last)] = value
    return renamed if len(renamed) == len(theirs) else dict(theirs)

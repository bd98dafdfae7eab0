"""What becomes of each field of a Hugging Face configuration: read, held to a value, or without influence on the numbers.

A field that the file leaves out has the value that transformers' own class gives it, so both read the same model.
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from dataclasses import fields as fields_of
from operator import attrgetter
from typing import Any, Literal

from trifold.errors import ConfigError

__all__ = ["ACTIVATIONS", "Fields", "activation_name", "refuse_unless", "their_activation"]

ACTIVATIONS: dict[str, Literal["relu", "gelu", "gelu_tanh", "silu"]] = {
    "relu": "relu",
    "gelu": "gelu",
    "gelu_new": "gelu_tanh",
    "gelu_pytorch_tanh": "gelu_tanh",
    "gelu_accurate": "gelu_tanh",
    "gelu_fast": "gelu_tanh",
    "gelu_python": "gelu",
    "gelu_python_tanh": "gelu_tanh",
    "silu": "silu",
    "swish": "silu",
}
"""Hugging Face's names of activations, and ours."""

COMMON = frozenset({
    "_name_or_path", "architectures", "bos_token_id", "chunk_size_feed_forward", "classifier_dropout", "cls_token_id",
    "decoder_start_token_id", "dtype", "eos_token_id", "forced_bos_token_id", "forced_eos_token_id", "id2label",
    "is_encoder_decoder", "label2id", "mask_token_id", "model_type", "output_attentions", "output_hidden_states",
    "pad_token_id", "problem_type", "return_dict", "sep_token_id", "torch_dtype", "transformers_version", "use_cache",
})  # fmt: skip
"""Fields of every class that change nothing of what is computed: names, labels, ids of tokens, what is handed back."""

FOREIGN = {
    "auto_map": "no code of its own",
    "quantization_config": "weights that are not quantized",
    "compression_config": "weights that are not compressed",
    "per_layer_config": "layers that are all alike",
    "pruned_heads": "no heads taken out",
}
"""Fields of no class in particular that change what is computed, and what is allowed instead of them."""


def refuse_unless(ok: bool, name: str, value: object, allowed: str) -> None:
    """Refuse a setting that this family's configuration cannot express.

    Raises:
        ConfigError: `ok` is false.
    """
    if not ok:
        raise ConfigError("presets.unsupported", name=name, given=value, allowed=allowed)


def activation_name(name: str, theirs: object) -> str:
    """Our name of the activation that stands in field `name` under one of theirs.

    Raises:
        ConfigError: nobody here knows it.

    Example:
        >>> activation_name("hidden_act", "gelu_new")
        'gelu_tanh'
    """
    refuse_unless(isinstance(theirs, str) and theirs in ACTIVATIONS, name, theirs, ", ".join(ACTIVATIONS))
    return ACTIVATIONS[str(theirs)]


def their_activation(ours: str) -> str:
    """Hugging Face's first name for one of our activations.

    Example:
        >>> their_activation("gelu_tanh")
        'gelu_new'
    """
    return next(theirs for theirs, name in ACTIVATIONS.items() if name == ours)


@dataclass(frozen=True, kw_only=True, slots=True)
class Fields:
    """Every field of one configuration class.

    What is read stands with the value of transformers' class, for files that leave it out.

    Attributes:
        renamed: fields that are an option under another name: that option, and the value.
        written: fields that are written with what the options come to, as the number that a None stands for: the attribute
            of the options that holds it, `a.b` for that of an attribute.
        alike: fields that are several options, which have one value: these options, and the value.
        held: options that no field speaks of, and the one value that the class computes with.
        elsewhere: options that this class holds to a value, or to that of another option, and a preset that has others.
        activations: fields that name an activation: the option, whose None is `activation`, and the value.
        dropouts: fields that are a dropout of a part: the option, whose None is `dropout`, and the value.
        joined: fields that make an option together with others: that option, for messages, and the value.
        others: further fields that are read, and the value.
        published: fields that are written, since published files have them, and not read: the value.
        fixed: fields that may have only these values; the first is the class's own.
        silent: fields without influence on what is computed, besides the common ones.
        aliases: second names that transformers reads, and what they stand for.
    """

    renamed: Mapping[str, tuple[str, Any]] = field(default_factory=dict)
    written: Mapping[str, str] = field(default_factory=dict)
    alike: Mapping[str, tuple[tuple[str, ...], Any]] = field(default_factory=dict)
    held: Mapping[str, Any] = field(default_factory=dict)
    elsewhere: Mapping[str, str] = field(default_factory=dict)
    activations: Mapping[str, tuple[str, str]] = field(default_factory=dict)
    dropouts: Mapping[str, tuple[str, float]] = field(default_factory=dict)
    joined: Mapping[str, tuple[str, Any]] = field(default_factory=dict)
    others: Mapping[str, Any] = field(default_factory=dict)
    published: Mapping[str, Any] = field(default_factory=dict)
    fixed: Mapping[str, tuple[Any, ...]] = field(default_factory=dict)
    silent: frozenset[str] = frozenset()
    aliases: Mapping[str, str] = field(default_factory=dict)

    def __or__(self, more: "Fields") -> "Fields":
        """These fields and more, which come before those of the same name.

        Example:
            >>> (Fields(others={"a": 1}) | Fields(others={"b": 2})).defaults
            {'a': 1, 'b': 2}
        """
        names = [table.name for table in fields_of(self)]
        return Fields(**{name: getattr(self, name) | getattr(more, name) for name in names})

    def with_values(self, values: Mapping[str, Any]) -> "Fields":
        """The same fields, some with another value in transformers' class.

        Example:
            >>> Fields(renamed={"width": ("d_model", 8)}).with_values({"width": 16}).defaults
            {'width': 16}
        """
        tables = {key: {name: (option, values.get(name, value)) for name, (option, value) in table.items()}
                  for key, table in self._tables()}  # fmt: skip
        others = {name: values.get(name, value) for name, value in self.others.items()}
        return replace(self, **tables, others=others)

    def without(self, *names: str) -> "Fields":
        """The same without the fields of these names.

        Example:
            >>> Fields(others={"a": 1, "b": 2}).without("a").defaults
            {'b': 2}
        """
        tables = {**dict(self._tables()), "written": self.written, "others": self.others}
        kept: dict[str, Any] = {
            key: {name: value for name, value in table.items() if name not in names} for key, table in tables.items()
        }
        return replace(self, **kept)

    @property
    def defaults(self) -> dict[str, Any]:
        """The fields that are read, with the value of transformers' class.

        Example:
            >>> Fields(renamed={"width": ("d_model", 8)}, others={"deep": True}).defaults
            {'width': 8, 'deep': True}
        """
        values = {name: value for _, table in self._tables() for name, (_, value) in table.items()}
        return values | dict(self.others)

    def _tables(self) -> Iterator[tuple[str, Mapping[str, tuple[Any, Any]]]]:
        """The tables of fields that have an option."""
        yield from ((name, getattr(self, name)) for name in ("renamed", "alike", "activations", "dropouts", "joined"))

    @property
    def known(self) -> frozenset[str]:
        """The fields of which it is known what becomes of them.

        Example:
            >>> "width" in Fields(renamed={"width": ("d_model", 8)}).known
            True
        """
        return frozenset({*self.defaults, *self.published, *self.fixed, *self.silent, *COMMON, *FOREIGN})

    def complete(self, data: Mapping[str, Any]) -> dict[str, Any]:
        """The fields that are read, those that the file leaves out at the class's own value.

        Raises:
            ConfigError: a field asks for what no family here computes.

        Example:
            >>> Fields(others={"width": 8, "depth": 2}).complete({"depth": 3})
            {'width': 8, 'depth': 3}
        """
        for name, allowed in FOREIGN.items():
            refuse_unless(not data.get(name), name, data.get(name), allowed)
        defaults = self.defaults
        fields = {**defaults, **data}
        for alias, name in self.aliases.items():
            if alias in data:
                same = name not in data or data[name] == data[alias]
                refuse_unless(same, alias, data[alias], f"that of {name}, {data.get(name)}")
                fields[name] = data[alias]
        for name, values in self.fixed.items():
            value = fields.get(name, values[0])
            same = any(type(value) is type(allowed) and value == allowed for allowed in values)
            refuse_unless(same, name, value, ", ".join(map(str, values)))
        return {name: fields[name] for name in defaults}

    def read(self, fields: Mapping[str, Any]) -> dict[str, Any]:
        """Values of the options that are a field under another name, or several, or an activation or a dropout, or held.

        Raises:
            ConfigError: an activation that nobody here knows.

        Example:
            >>> Fields(renamed={"width": ("d_model", 8)}, held={"window": None}).read({"width": 4})
            {'d_model': 4, 'window': None}
        """
        plain = {option: fields[name] for name, (option, _) in self.renamed.items()}
        alike = {option: fields[name] for name, (options, _) in self.alike.items() for option in options}
        bent = {option: activation_name(name, fields[name]) for name, (option, _) in self.activations.items()}
        usual = plain.get("dropout")
        for name in self.dropouts:
            refuse_unless(fields[name] is not None, name, None, "a number")
        apart = {option: None if fields[name] == usual else fields[name] for name, (option, _) in self.dropouts.items()}
        return {**plain, **alike, **bent, **apart, **self.held}

    def write(self, options: Any) -> dict[str, Any]:
        """The same fields from the options, and those that are held to a value.

        Raises:
            ConfigError: options that are one field differ, or one is not at the value that the class computes with.

        Example:
            >>> Fields(fixed={"deep": (False,)}).write(None)
            {'deep': False}
        """
        for option, value in self.held.items():
            allowed = f"{json.dumps(value)}{self._elsewhere(option)}"
            refuse_unless(getattr(options, option) == value, option, getattr(options, option), allowed)
        fields = {**self.published, **{name: values[0] for name, values in self.fixed.items()}}
        fields |= {name: getattr(options, option) for name, (option, _) in self.renamed.items()}
        for name, (several, _) in self.alike.items():
            values = [getattr(options, option) for option in several]
            allowed = f"the same value for all of them{self._elsewhere(*several)}"
            refuse_unless(len(set(values)) == 1, ", ".join(several), tuple(values), allowed)
            fields[name] = values[0]
        for name, (option, usual) in self.activations.items():
            activation = getattr(options, option) or options.activation
            fields[name] = usual if ACTIVATIONS[usual] == activation else their_activation(activation)
        for name, (option, _) in self.dropouts.items():
            rate = getattr(options, option)
            fields[name] = options.dropout if rate is None else rate
        return fields | {name: attrgetter(place)(options) for name, place in self.written.items()}

    def _elsewhere(self, *options: str) -> str:
        """What a refusal of these options advises."""
        presets = sorted({self.elsewhere[option] for option in options if option in self.elsewhere})
        return f" (others: perhaps preset {' or '.join(presets)})" if presets else ""

    def theirs(self, option: str) -> str:
        """Their name of an option, for messages; the option's own where it has none.

        Example:
            >>> Fields(renamed={"width": ("d_model", 8)}).theirs("d_model")
            'width'
        """
        tables = (self.renamed, self.activations, self.dropouts, self.joined)
        names = {ours: name for table in tables for name, (ours, _) in table.items()}
        names |= {ours: name for name, (several, _) in self.alike.items() for ours in several}
        return names.get(option, option)

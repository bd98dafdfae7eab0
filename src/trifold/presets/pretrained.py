"""The core with a home: built from a preset, loaded from a folder and saved to one."""

from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

from trifold import model as core
from trifold.acceleration import accelerate
from trifold.adapter_base import find_base, is_adapter
from trifold.checkpoint.hugging_face import (
    WANTED,
    find_folder,
    read_config,
    read_extra,
    read_generation,
    read_weights,
    write_config,
    write_extra,
    write_weights,
)
from trifold.checkpoint.store import newest
from trifold.config import Config, from_json, to_json, unknown_key
from trifold.errors import ConfigError, ModelFileError
from trifold.hub import nearest_folder
from trifold.model import config
from trifold.model.head import Head
from trifold.presets import PRESETS, find_preset
from trifold.presets.adapted import read_adapted
from trifold.presets.classes import find_class
from trifold.presets.form import REST, Form, NoHead
from trifold.presets.preset import Preset, modern_names
from trifold.presets.task_class import read_outputs
from trifold.presets.task_head import TaskHead
from trifold.text import Tokenizer

__all__ = ["Transformer", "resolve"]

OWN_TYPE = "trifold"
ADAPTERS = (".lora_a", ".lora_b")

SPECIAL = ("bos", "eos", "pad", "mask", "cls", "sep")


class _Undrawn(TorchFunctionMode):
    """Leaves out the drawing of first weights, which a model about to be read has no use for.

    On the meta device they would not even be numbers, and torch loads its compiler (a second) to work out their shapes.
    """

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        del types
        kwargs = kwargs or {}
        if getattr(func, "__module__", None) == "torch.nn.init":
            return args[0] if args else kwargs["tensor"]
        return func(*args, **kwargs)


class Transformer(Form):
    """A Transformer that knows its family, and so its place in the world.

    Args:
        transformer: its configuration.
        preset: its family; None for a composition of one's own, which is saved with `model_type` "trifold".
        options: the family's options that gave the configuration; None without a family.
        special: ids of special tokens by role, for generation.

    Example:
        >>> model = Transformer.from_preset("gpt2", size="tiny", vocab_size=100)
        >>> model.num_parameters() == sum(weight.numel() for weight in model.parameters())
        True
    """

    def __init__(
        self,
        transformer: config.Transformer,
        *,
        preset: Preset | None = None,
        options: Config | None = None,
        special: Mapping[str, int] | None = None,
    ) -> None:
        super().__init__(transformer, preset=preset, options=options)
        self.special, self.generation = dict(special or {}), dict[str, Any]()
        accelerate(self)

    @classmethod
    def from_preset(cls, preset: str, *, size: str = "base", **overrides: Any) -> "Transformer":
        """A model with random weights.

        Args:
            preset: the family.
            size: one of its sizes.
            **overrides: values that replace the size's own, such as `num_layers=4`.

        Raises:
            ConfigError: an unknown family, size or option, or a value out of range.
        """
        family = find_preset(preset)
        chosen = family.choose(size, overrides)
        return cls(family.build(chosen), preset=family, options=chosen)

    @classmethod
    def from_pretrained(
        cls,
        path: str | Path,
        *,
        revision: str | None = None,
        local_files_only: bool = False,
        dtype: torch.dtype = torch.float32,
        overrides: Mapping[str, Any] | None = None,
        head: Literal["auto"] | None = "auto",
    ) -> "Transformer":
        """A model from a run, a Hugging Face folder, or the hub (`owner/name`); ready for inference.

        An adapter of the peft library (LoRA) is added to the model that it names.

        Args:
            path: where it is; of a run that is not finished, the newest whole checkpoint.
            revision: branch, tag or commit on the hub; None for the newest.
            local_files_only: never ask the network.
            dtype: of the weights.
            overrides: values that replace the model's own options, such as `{"dropout": 0.2}`.
            head: None for the body alone; else the language-model head, or that of a task, if the folder has one.

        Raises:
            ModelFileError: there is no model, a file is damaged, or its weights do not fit its configuration.
            ConfigError: the configuration asks for what no family here has.
        """
        folder = resolve(find_folder(str(path), revision=revision, local_files_only=local_files_only))
        base = find_base(folder, WANTED, local_files_only=local_files_only) if is_adapter(folder) else None
        if base is not None:
            home, folder = folder, resolve(base)
            data, weights = read_adapted(home, folder)
        else:
            data, weights = read_config(folder), read_weights(folder)
        with torch.device("meta"), _Undrawn():
            model = cls._empty(data, folder, weights, overrides or {})
        model.generation = read_generation(folder, data)
        model._take(weights, folder, _named(data), dtype)  # noqa: SLF001 - its own class
        if head is None:
            model.take_off()
            model.head = NoHead(str(folder))  # type: ignore[assignment]
        return model.eval()

    @classmethod
    def _empty(
        cls, data: dict[str, Any], folder: Path, weights: Mapping[str, Tensor], changes: Mapping[str, Any]
    ) -> "Transformer":
        special = {role: data[f"{role}_token_id"] for role in SPECIAL if isinstance(data.get(f"{role}_token_id"), int)}
        kind = data.get("model_type")
        if kind == OWN_TYPE:
            if changes:
                raise unknown_key(f"{folder} (an own composition)", next(iter(changes)), [])
            shape = from_json(config.Transformer, data.get("transformer"), where=str(folder / "config.json"))
            return cls(shape, special=special)
        known = {preset.model_type: preset for preset in reversed(list(PRESETS.values()))}
        if not isinstance(kind, str) or kind not in known:
            raise ConfigError("presets.unknown_type", path=folder, given=kind, known=", ".join(sorted(known)))
        family = known[kind]
        options = family.turn(asdict(family.settle(family.read_options(data), weights)), changes)  # type: ignore[call-overload]
        model = cls(family.build(options), preset=family, options=options, special=special)
        model._expect(data)
        return model

    def _expect(self, data: Mapping[str, Any]) -> None:
        """Take the shape of the class that a configuration names, where it is not that of the language model."""
        named, task = _named(data), find_class(data)
        if task is not None:
            kind, task_class = task
            outputs = read_outputs(kind, data)
            self.put_on(task_class, outputs, task_class.build(data, len(outputs.labels)))
        if self.classes is not None and self.classes.encoder and named == self.classes.encoder:
            self.drop_decoder()

    def _take(self, theirs: Mapping[str, Tensor], folder: Path, named: object, dtype: torch.dtype) -> None:
        """Put weights in place of the empty ones, all of them or none; `named` is the class that the folder names."""
        theirs = self.settle(modern_names(theirs) if self.preset else theirs, folder, named)
        wanted = {name: value.shape for name, value in self._own()}
        if self.preset is None:
            weights, missing = dict(theirs), sorted(wanted.keys() - theirs.keys())
            unexpected = sorted(theirs.keys() - wanted.keys())
            shapes = [name for name, shape in wanted.items() if name in theirs and theirs[name].shape != shape]
        else:
            loaded = self.key_map().to_ours(theirs, wanted)
            weights, missing, unexpected, shapes = loaded.weights, loaded.missing, loaded.unexpected, loaded.misshapen
            if loaded.differing:
                raise ModelFileError("checkpoint.copies", path=folder, names=", ".join(loaded.differing[:20]))
        if missing or unexpected or shapes:
            lists = {"missing": missing, "unexpected": unexpected, "shapes": shapes}
            shown = {name: ", ".join(names[:20]) or "-" for name, names in lists.items()}
            raise ModelFileError("checkpoint.keys", path=folder, **shown)
        tied = self.config.head.tied
        self.load_state_dict({name: weights[name].to(dtype) for name in wanted}, strict=False, assign=True)
        self.rest = {name: value.to(dtype) for name, value in self.rest.items()}
        if tied and isinstance(self.head, Head):
            self.head.output.weight = self.embedding.tokens.weight

    def save_pretrained(
        self, folder: str | Path, *, tokenizer: Tokenizer | None = None, shard_bytes: int = 5 * 10**9
    ) -> None:
        """Write a Hugging Face folder: configuration, weights, generation defaults, a card and, if given, the tokenizer.

        Args:
            folder: made where it does not exist.
            tokenizer: written beside the model; its special ids go into the configuration.
            shard_bytes: largest size of one weight file.

        Raises:
            ConfigError: the family's Hugging Face form cannot express an option, or the model has weights that
                its configuration does not speak of.
        """
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        if tokenizer is not None:
            self._save_tokenizer(tokenizer, folder)
            roles = {role: getattr(tokenizer.special, role) for role in SPECIAL}
            self.special = {role: number for role, number in roles.items() if number is not None}
        data, weights = self._written()
        write_config(folder, data)
        start = {"decoder_start_token_id": data["decoder_start_token_id"]} if "decoder_start_token_id" in data else {}
        roles = {name: data[name] for name in ("bos_token_id", "eos_token_id", "pad_token_id") if name in data}
        write_config(folder, {**roles, **start, **self.generation}, "generation_config.json")
        write_weights(folder, weights, shard_bytes=shard_bytes)
        write_extra(folder, {name: value for name, value in self.named_parameters() if self._is_extra(name)})
        (folder / "README.md").write_text(self._card(), encoding="utf-8")

    def _save_tokenizer(self, tokenizer: Tokenizer, folder: Path) -> None:
        """With the tokens that the model is used to around its texts, and as long as it may read."""
        encoder, decoder = self.config.encoder is not None, self.config.decoder is not None
        typed = self.config.embedding.num_segments > 1
        side = (
            "right" if encoder or self.task_class is not None or self.reads_only else "left"
        )  # a decoder goes on where texts end
        names = ["input_ids", *(["token_type_ids"] if typed else []), "attention_mask"]
        settings: dict[str, Any] = {"model_input_names": names, "padding_side": side}
        if self.preset is not None and self.preset.rebuilt and not tokenizer.composes:
            # a class of its own is named, so the file is read as it stands (and, without `trust_remote_code`, no code)
            settings["auto_map"] = {"AutoTokenizer": [None, "tokenizer.json"]}
        if self.config.max_length is not None:
            settings["model_max_length"] = self.config.max_length
        framed = tokenizer.framed(tokenizer.framing_for(encoder=encoder, decoder=decoder), typed=typed)
        framed.save_pretrained(folder, settings=settings)

    def _own(self) -> list[tuple[str, Tensor]]:
        """The parameters that its family knows."""
        return [(name, value) for name, value in self.named_parameters() if not self._is_extra(name)]

    def _is_extra(self, name: str) -> bool:
        """Whether a parameter stands on top of what its family knows: of a task, or of an adapter."""
        segments = name == "embedding.segments.weight" and not self.config.embedding.num_segments
        head = name.startswith("heads.") and not (self.task_class and name.startswith("heads.task."))
        return segments or head or name.endswith(ADAPTERS)

    def load_extra(self, folder: str | Path, *, adapters: bool = True) -> None:
        """Fill its heads and adapters (or without `adapters` its heads) from a folder that `save_pretrained` wrote.

        Raises:
            ModelFileError: they are not there, or of another shape.
        """
        mine = {
            name: value
            for name, value in self.named_parameters()
            if self._is_extra(name) and (adapters or not name.endswith(ADAPTERS))
        }
        saved = read_extra(Path(folder))
        shapes = [name for name, value in mine.items() if name in saved and saved[name].shape != value.shape]
        missing, unexpected = sorted(mine.keys() - saved.keys()), sorted(saved.keys() - mine.keys())
        if missing or unexpected or shapes:
            lists = {"missing": missing, "unexpected": unexpected, "shapes": shapes}
            shown = {name: ", ".join(names[:20]) or "-" for name, names in lists.items()}
            raise ModelFileError("checkpoint.keys", path=folder, **shown)
        with torch.no_grad():
            for name, value in mine.items():
                value.copy_(saved[name])

    def _written(self) -> tuple[dict[str, Any], dict[str, Tensor]]:
        ids: dict[str, Any] = {f"{role}_token_id": number for role, number in self.special.items()}
        dtype = str(self.embedding.tokens.weight.dtype).removeprefix("torch.")
        own: dict[str, Tensor] = dict(self._own())
        self._check_parts(own)
        if self.preset is None:
            return {**ids, "model_type": OWN_TYPE, "transformer": to_json(self.config), "dtype": dtype}, own
        if self.config.encoder is not None and self.config.decoder is not None and self.config.start in self.special:
            ids["decoder_start_token_id"] = self.special[self.config.start]
        fields = {"model_type": self.preset.model_type, "architectures": [self.saved_class()[0]], "dtype": dtype}
        head = self.heads["task"] if self.task_class else None
        if self.task_class and self.outputs and isinstance(head, TaskHead):
            fields |= {**self.outputs.write(), **self.task_class.write(head.shape)}
        weights = self.written_map().to_theirs(own | {REST + name: value for name, value in self.rest.items()})
        settled = self.preset.write(self.options)  # an id that the numbers depend on is not the tokenizer's to say
        return {**self.preset.write_fields(self.options), **ids, **fields, **settled}, weights

    def _check_parts(self, own: Mapping[str, Tensor]) -> None:
        """Refuse to write a model whose configuration does not say what weights it has: they would be lost."""
        with torch.device("meta"), _Undrawn():
            plain = dict(core.Transformer(self.config).named_parameters())
        wanted = {
            name: value.shape
            for name, value in plain.items()
            if not (name.startswith("head.") and isinstance(self.head, NoHead))
        }
        held = {name: value.shape for name, value in own.items() if not name.startswith("heads.")}
        buffers = self.state_dict().keys() - dict(self.named_parameters(remove_duplicate=False)).keys()
        changed = {name for name in wanted.keys() & held.keys() if wanted[name] != held[name]}
        names = sorted((wanted.keys() ^ held.keys()) | changed | buffers)
        if names:
            raise ConfigError("presets.changed_parts", names=", ".join(names[:20]))

    def _card(self) -> str:
        family = self.preset.name if self.preset else "own composition"
        return (
            "---\nlibrary_name: transformers\ntags:\n- trifold\n---\n\n"
            f"# A {family} model trained with Trifold\n\n"
            f"{self.num_parameters():,} parameters, vocabulary of {self.config.vocab_size:,}.\n"
        )

    @property
    def context(self) -> int | None:
        """The longest text in tokens that the model was made for; None for a family that counts distances alone (T5)."""
        named = None if self.options is None else to_json(self.options).get("max_length")
        return self.config.max_length or named

    def num_parameters(self, *, trainable: bool = False) -> int:
        """Numbers in its weights, a tied matrix counted once; of `trainable` ones those alone that training changes."""
        return sum(weight.numel() for weight in self.parameters() if weight.requires_grad or not trainable)

    def summary(self) -> str:
        """A table of the layers with their output shapes and parameters, as Keras prints it."""
        width, vocabulary = self.config.d_model, self.config.vocab_size
        rows = [("embedding", f"(None, None, {width})", _count(self.embedding))]
        for name, stack in (("encoder", self.encoder), ("decoder", self.decoder)):
            if stack is not None:
                blocks = list(stack.blocks)  # one that several layers share counts at the first of them
                counts = [0 if block in blocks[:n] else _count(block) for n, block in enumerate(blocks)]
                rows += [(f"{name}_block_{n}", f"(None, None, {width})", count) for n, count in enumerate(counts)]
                rest = _count(stack) - sum(counts)
                own = self.decoder_embedding if name == "decoder" else None
                rest += _count(own) - _count(own.tokens) if own is not None else 0
                rows += [(f"{name}_norm_and_positions", f"(None, None, {width})", rest)] if rest else []
        tied = self.embedding.tokens.weight.numel() if self.config.head.tied and isinstance(self.head, Head) else 0
        rows.append(("head" + (" (tied)" if tied else ""), f"(None, None, {vocabulary})", _count(self.head) - tied))
        line = "_" * 72
        body = [f"{name:<32}{shape:<24}{count:>16,}" for name, shape, count in rows]
        total = f"Total params: {self.num_parameters():,}"
        return "\n".join(
            [line, f"{'Layer':<32}{'Output shape':<24}{'Param #':>16}", "=" * 72, *body, "=" * 72, total, line]
        )


def _named(data: Mapping[str, Any]) -> object:
    """The class that a configuration names."""
    named = data.get("architectures")
    return named[0] if isinstance(named, list) and named else None


def _count(module: torch.nn.Module) -> int:
    return sum(weight.numel() for weight in module.parameters())


def resolve(folder: Path) -> Path:
    """The folder that holds the model itself, or an adapter: the run's top, or its newest whole checkpoint.

    Raises:
        ModelFileError: there is neither.
    """
    if (folder / "config.json").is_file() or is_adapter(folder):
        return folder
    if not folder.is_dir():
        raise ModelFileError("checkpoint.no_folder", path=folder, nearest=nearest_folder(str(folder)))
    checkpoint = newest(folder / "checkpoints") if (folder / "checkpoints").is_dir() else None
    if checkpoint is None:
        raise ModelFileError("checkpoint.not_a_model", path=folder)
    return checkpoint

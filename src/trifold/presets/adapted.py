"""Low-rank adapters of the peft library (LoRA), added to the weights of their base as it is read.

A layer's weight W becomes `W + scale * B A`, by the names of the base's own file, before the key table reads it.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from trifold.adapter_base import ADAPTER_CONFIG, read_adapter_config
from trifold.checkpoint import Entry
from trifold.checkpoint.hugging_face import read_config, read_weights
from trifold.errors import ModelFileError
from trifold.plain_file import is_plain_file
from trifold.presets import PRESETS
from trifold.presets.classes import classes_of, find_class
from trifold.presets.task_class import FIXED_OUTPUTS, Kind, labels_in
from trifold.text.pattern import require_bounded

__all__ = ["ADAPTER_WEIGHTS", "KINDS", "read_adapted", "read_adapted_config"]

ADAPTER_WEIGHTS = "adapter_model.safetensors"
BEFORE = "base_model.model."
"""What peft puts before the names of the model's own layers."""

KINDS: Mapping[str, Kind] = {"SEQ_CLS": "classification", "TOKEN_CLS": "tagging", "QUESTION_ANS": "span_qa"}
"""peft's names of tasks whose class has a head of its own; the others leave the base as it is."""

USED = frozenset({"alpha_pattern", "base_model_name_or_path", "bias", "lora_alpha", "modules_to_save", "peft_type", "r",
                  "rank_pattern", "revision", "target_modules", "task_type", "use_rslora"})  # fmt: skip
OF_TRAINING = frozenset({
    "auto_mapping", "eva_config", "exclude_modules", "fan_in_fan_out", "inference_mode", "layers_pattern",
    "layers_to_transform", "lora_dropout", "megatron_core", "peft_version", "qalora_group_size", "runtime_config",
})  # fmt: skip
"""Fields that say how the adapter was trained, or what its tensors say themselves."""

DRAWN = (True, None, "gaussian", "eva", "orthogonal")
"""First weights of an adapter that leave its base as it was."""


@dataclass(frozen=True, slots=True)
class _Misfit:
    unknown: list[str]
    shapes: list[str]
    missing: list[str]


def read_adapted_config(folder: Path, base: Path) -> dict[str, Any]:
    """The configuration of a base in the class that its adapter was trained in.

    Raises:
        ModelFileError: a file is missing or damaged, or the adapter is of a kind that is not read here.
    """
    settings = _settings(folder)
    return _in_class(_base_config(folder, base), _read(folder), _kind(folder, settings))


def read_adapted(folder: Path, base: Path) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """The configuration and the weights of a base with its adapter added.

    Args:
        folder: of the adapter.
        base: folder of the model.

    Raises:
        ModelFileError: a file is missing or damaged, the adapter is of a kind that is not read here, or does not fit.
    """
    settings, tensors = _settings(folder), _read(folder)
    before = _base_config(folder, base)
    data, weights = _in_class(before, tensors, _kind(folder, settings)), read_weights(base)
    entries = _entries(before)
    if data.get("architectures") != before.get("architectures"):
        weights = _without_other_heads(weights, entries, data)
    transposed = {entry.theirs: entry for entry in entries if entry.transpose}
    misfit = _Misfit([], [], [])
    low = {name: tensor for name, tensor in tensors.items() if ".lora_" in name}
    for name, tensor in tensors.items():
        if name not in low:
            own = name.replace(".base_layer.", ".").replace(".modules_to_save.", ".")
            weights[_find(own, weights) or own] = tensor
    for layer in sorted({name.partition(".lora_")[0] for name in low}):
        _add(layer, low, weights, settings, transposed=transposed, misfit=misfit)
    misfit.missing.extend(_untouched(settings, low, weights))
    if misfit.unknown or misfit.shapes or misfit.missing:
        lists = {"unknown": misfit.unknown, "shapes": misfit.shapes, "missing": misfit.missing}
        shown = {name: ", ".join(names[:20]) or "-" for name, names in lists.items()}
        raise ModelFileError("presets.adapter_misfit", path=folder, base=base, **shown)
    return data, weights


def _settings(folder: Path) -> dict[str, Any]:
    """The adapter's configuration, every field of it understood."""
    data = read_adapter_config(folder)

    def require(fits: bool, name: str, allowed: str) -> None:
        if not fits:
            value = str(data.get(name))[:100]
            raise ModelFileError("presets.adapter_field", path=folder, name=name, given=value, allowed=allowed)

    require(data.get("peft_type") == "LORA", "peft_type", "LORA")
    rank, alpha = data.get("r"), data.get("lora_alpha")
    require(type(rank) is int and rank > 0, "r", "1 or more")
    require(type(alpha) in (int, float), "lora_alpha", "a number")
    require(data.get("bias", "none") in ("none", "all", "lora_only"), "bias", "none, all, lora_only")
    drawn = data.get("init_lora_weights", True)
    require(drawn is False or drawn in DRAWN, "init_lora_weights", "true, false, gaussian, eva, orthogonal")
    for name in ("rank_pattern", "alpha_pattern"):
        pattern = data.get(name) or {}
        numbers = isinstance(pattern, dict) and all(type(value) in (int, float) for value in pattern.values())
        require(numbers, name, "numbers")
    for name in sorted(data.keys() - USED - OF_TRAINING - {"init_lora_weights"}):
        require(not data[name], name, "null, false")
    return data


def _read(folder: Path) -> dict[str, Tensor]:
    """The adapter's tensors by the names of the layers in its class."""
    path = folder / ADAPTER_WEIGHTS
    if not is_plain_file(folder, ADAPTER_WEIGHTS):
        raise ModelFileError("presets.adapter_without_weights", path=folder)
    try:
        tensors = load_file(path)
    except (SafetensorError, OSError, ValueError, RuntimeError) as error:
        raise ModelFileError("checkpoint.bad_file", path=path, problem=str(error)[:200]) from None
    for name, tensor in tensors.items():
        if tensor.numel() and not torch.isfinite(tensor).all():
            raise ModelFileError("checkpoint.not_finite", path=path, name=name)
    return {name.removeprefix(BEFORE): tensor for name, tensor in tensors.items()}


def _base_config(folder: Path, base: Path) -> dict[str, Any]:
    """The base's configuration; the names of labels that a configuration beside the adapter gives."""
    data = read_config(base)
    if is_plain_file(folder, "config.json"):
        beside = read_config(folder)
        names = ("id2label", "label2id", "num_labels", "problem_type")
        data = {**data, **{name: beside[name] for name in names if beside.get(name) is not None}}
    return data


def _kind(folder: Path, settings: Mapping[str, Any]) -> Kind | None:
    """The task of an adapter: as peft names it, or, where it has no name for that, as a configuration beside it does."""
    named = settings.get("task_type")
    if named is not None or not is_plain_file(folder, "config.json"):
        return KINDS.get(str(named))
    kind, _ = find_class(read_config(folder)) or (None, None)
    return None if kind in KINDS.values() else kind


def _in_class(data: dict[str, Any], tensors: Mapping[str, Tensor], kind: Kind | None) -> dict[str, Any]:
    """The configuration of the class that the adapter's task names, with as many labels as its head has."""
    family = classes_of(data.get("model_type"))
    wanted = family.tasks.get(kind) if family and kind else None
    if wanted is None:
        return data
    output = tensors.get(f"{wanted.names['output']}.weight")
    _, current = find_class(data) or (None, None)
    if current is not wanted:
        data = {**data, "architectures": [wanted.architecture]}
    if output is not None and kind not in FIXED_OUTPUTS and len(labels_in(data)) != len(output):
        kept = {name: value for name, value in data.items() if name not in ("id2label", "label2id", "problem_type")}
        data = {**kept, "num_labels": len(output)}
    return data


def _entries(data: Mapping[str, Any]) -> tuple[Entry, ...]:
    family = next((preset for preset in PRESETS.values() if preset.model_type == data.get("model_type")), None)
    return family.keys(family.read_options(data)).entries if family else ()


def _without_other_heads(
    weights: Mapping[str, Tensor], entries: tuple[Entry, ...], data: Mapping[str, Any]
) -> dict[str, Tensor]:
    """The weights that the class for a task takes over from another class of the family."""
    _, wanted = find_class(data) or (None, None)
    own = tuple(f"{name}." for name in wanted.names.values()) if wanted else ()
    heads = {entry.theirs for entry in entries if entry.ours[0].startswith("head.") or entry.optional}
    family = classes_of(data["model_type"])
    tasks = family.tasks.values() if family else ()
    others = tuple(f"{name}." for task in tasks for name in task.names.values())
    other_heads = {name for name in weights if name.startswith(others)} | heads
    lacks = ("decoder.", "transformer.decoder.") if wanted and wanted.encoder_only else ()
    return {
        name: value
        for name, value in weights.items()
        if name.startswith(own) or not (name in other_heads or (lacks and name.startswith(lacks)))
    }


def _find(name: str, among: Mapping[str, object]) -> str | None:
    """The name of the same layer in another class: one ends with the other."""
    if name in among:
        return name
    matches = [other for other in among if other.endswith(f".{name}") or name.endswith(f".{other}")]
    return matches[0] if len(matches) == 1 else None


def _add(
    layer: str,
    low: Mapping[str, Tensor],
    weights: dict[str, Tensor],
    settings: Mapping[str, Any],
    *,
    transposed: Mapping[str, object],
    misfit: _Misfit,
) -> None:
    """Add a layer's difference to its weight, or say why it does not fit."""
    names = {f"{layer}.lora_A.weight", f"{layer}.lora_B.weight"}
    mine = {name for name in low if name.startswith(f"{layer}.lora_")}
    misfit.unknown.extend(sorted(mine - names))
    misfit.missing.extend(sorted(names - mine))
    place = _find(f"{layer}.weight", weights)
    if place is None:
        misfit.unknown.append(layer)
    if place is None or not names <= mine:
        return
    first, second = low[f"{layer}.lora_A.weight"].float(), low[f"{layer}.lora_B.weight"].float()
    weight, rank = weights[place], _chosen(settings, "rank_pattern", "r", layer)
    turned = _find(place, transposed) is not None
    shape = weight.shape[::-1] if turned else weight.shape
    if (first.ndim, second.ndim, len(first)) != (2, 2, rank) or (len(second), rank, first.shape[1]) != (
        shape[0],
        second.shape[1],
        shape[-1],
    ):
        misfit.shapes.append(f"{layer} {tuple(second.shape)} x {tuple(first.shape)}, {rank} and {tuple(shape)} wanted")
        return
    scale = _chosen(settings, "alpha_pattern", "lora_alpha", layer) / (
        rank**0.5 if settings.get("use_rslora") else rank
    )
    difference = scale * (second @ first)
    exact = torch.promote_types(weight.dtype, torch.float32)
    weights[place] = weight.to(exact) + (difference.t() if turned else difference)


def _chosen(settings: Mapping[str, Any], patterns: str, usual: str, layer: str) -> float:
    """The value of the first pattern that a layer's name ends with, or the usual one."""
    for pattern, value in (settings.get(patterns) or {}).items():
        try:
            require_bounded(pattern)
            match = re.match(rf"(?:.*\.)?(?:{pattern})$", layer)
        except (ValueError, re.error) as error:
            raise ModelFileError("checkpoint.bad_file", path=ADAPTER_CONFIG, problem=f"{patterns}: {error}") from None
        if match:
            return value
    return settings[usual]


def _untouched(settings: Mapping[str, Any], low: Mapping[str, Tensor], weights: Mapping[str, Tensor]) -> list[str]:
    """Layers of the base's blocks that the adapter says it is for, and has nothing for."""
    targets = settings.get("target_modules")
    narrowed = any(settings.get(name) for name in ("exclude_modules", "layers_to_transform", "layers_pattern"))
    if not isinstance(targets, list) or narrowed:
        return []
    ends = tuple(f".{target}.weight" for target in targets)
    layers = {name.partition(".lora_")[0] + ".weight": None for name in low}
    return [
        name
        for name, weight in weights.items()
        if weight.ndim == 2
        and re.search(r"\.\d+\.", name)
        and f".{name}".endswith(ends)
        and _find(name, layers) is None
    ]

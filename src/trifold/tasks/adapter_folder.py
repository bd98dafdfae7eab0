"""What a run has learned beside its start, as a folder of the peft library: adapters by its names, and whole new heads."""

import re
import shutil
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor

from trifold.adapter_base import ADAPTER_CONFIG, is_adapter
from trifold.checkpoint.hugging_face import find_folder, read_config, write_config
from trifold.errors import ConfigError
from trifold.presets.adapted import ADAPTER_WEIGHTS, BEFORE, KINDS
from trifold.presets.form import REST
from trifold.presets.pretrained import Transformer, resolve
from trifold.presets.task_head import TaskHead
from trifold.tasks.experiment import FineTuning
from trifold.training.adapter import LowRankLinear

__all__ = ["Learned", "learned", "require_expressible", "write_adapter"]

FOLDER = "adapter"
BESIDE = ("config.json", "tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "chat_template.jinja")
"""Files of the run that stand beside the adapter too: what its labels are called, and how texts become ids."""


@dataclass(frozen=True, slots=True)
class Learned:
    """What was trained: the adapters by the name of their weight, and the names of weights trained as a whole."""

    low: dict[str, tuple[Tensor, Tensor, float]]
    whole: tuple[str, ...]


def learned(model: Transformer) -> Learned:
    """What a model with adapters learns.

    Example:
        >>> learned(Transformer.from_preset("gpt2", size="tiny", vocab_size=100)).low
        {}
    """
    low = {
        f"{path}.weight": (part.lora_a.detach(), part.lora_b.detach(), part.scale)
        for path, part in model.named_modules()
        if isinstance(part, LowRankLinear)
    }
    whole = tuple(
        name
        for name, value in model.named_parameters()
        if value.requires_grad and not name.endswith((".lora_a", ".lora_b"))
    )
    return Learned(low, whole)


def _wanted(experiment: FineTuning) -> bool:
    return experiment.lora is not None and experiment.lora.keep == "adapter"


def require_expressible(experiment: FineTuning, model: Transformer) -> None:
    """Refuse a run that is to keep its adapter, and learns what no adapter of peft can say.

    Raises:
        ConfigError: names what that is.
    """
    if not _wanted(experiment):
        return
    assert experiment.model.start is not None, "the experiment says so"
    start = find_folder(experiment.model.start)
    reasons = [f"model.start = {start} (an adapter itself)"] if is_adapter(start) else []
    if model.preset is None:
        reasons.append("an own composition")
    elif not reasons:
        known = {name for entry in model.written_map().entries for name in entry.ours}
        reasons += [name for name in learned(model).whole if name not in known]
        reasons += _changed(read_config(resolve(start)), model)
    if reasons:
        raise ConfigError("task.no_adapter", given=", ".join(reasons[:20]))


def _changed(base: dict[str, Any], model: Transformer) -> list[str]:
    """What the model's configuration says otherwise than its start's."""
    changes = [] if base.get("vocab_size") == model.config.vocab_size else ["new tokens (task.chat_template)"]
    head = model.heads["task"] if model.task_class else None
    if model.task_class and isinstance(head, TaskHead) and model.task_class.poolings:
        pooling = model.task_class.poolings[head.shape.pooling]
        usual = base.get("classifier_pooling", "cls")
        ours = next((name for name, theirs in model.task_class.poolings.items() if theirs == usual), usual)
        changes += [] if pooling == usual else [f"task.pooling = {head.shape.pooling} (use task.pooling={ours})"]
    return changes


def write_adapter(out: Path, experiment: FineTuning, model: Transformer, trained: Learned) -> None:
    """Write `adapter/` into a finished run that is to keep its adapter.

    Args:
        out: the run, its model written already.
        experiment: what was done.
        model: the finished model, its adapters merged.
        trained: what it had learned before that.
    """
    if not _wanted(experiment):
        return
    tensors, saved = dict[str, Tensor](), set[str]()
    scales, modules = dict[str, float](), set[str]()
    own = {**dict(model.named_parameters()), **{REST + name: value for name, value in model.rest.items()}}
    entries = [entry for entry in model.written_map().entries if entry.ours[0] in own and not entry.optional]
    for entry in entries:
        layer = entry.theirs.rpartition(".")[0]
        modules |= {layer} if own[entry.ours[0]].ndim == 2 else set()
        if any(name in trained.low for name in entry.ours):
            first, second, scales[layer] = _together([(own[name], trained.low.get(name)) for name in entry.ours])
            tensors |= {f"{layer}.lora_A.weight": first, f"{layer}.lora_B.weight": second}
        elif entry.ours[0] in trained.whole:
            tensors[entry.theirs] = own[entry.ours[0]]
            saved.add(_part(layer, model))
    ranks = {layer: len(tensors[f"{layer}.lora_A.weight"]) for layer in scales}
    data = _settings(experiment, model, ranks, scales, modules=modules)
    data |= {"modules_to_save": sorted(saved) or None, "fan_in_fan_out": any(entry.transpose for entry in entries)}
    folder = out / FOLDER
    folder.mkdir(exist_ok=True)
    write_config(folder, data, ADAPTER_CONFIG)
    save_file(
        {BEFORE + name: value.detach().cpu().clone().contiguous() for name, value in tensors.items()},
        folder / ADAPTER_WEIGHTS,
        metadata={"format": "pt"},
    )
    for name in BESIDE:
        if (out / name).is_file():
            shutil.copyfile(out / name, folder / name)


def _together(parts: Iterable[tuple[Tensor, tuple[Tensor, Tensor, float] | None]]) -> tuple[Tensor, Tensor, float]:
    """The adapters of matrices that are stored as one: their A's below each other, their B's along a diagonal."""
    parts = list(parts)
    first = torch.cat([low[0] for _, low in parts if low])
    second, row, column = first.new_zeros(sum(len(weight) for weight, _ in parts), len(first)), 0, 0
    for weight, low in parts:
        if low:
            second[row : row + len(weight), column : column + len(low[0])] = low[1]
            column += len(low[0])
        row += len(weight)
    return first, second, next(low[2] for _, low in parts if low)


def _settings(
    experiment: FineTuning, model: Transformer, ranks: dict[str, int], scales: dict[str, float], *, modules: set[str]
) -> dict[str, Any]:
    """The fields of `adapter_config.json` that say which layers have an adapter, and how large."""
    lora = experiment.lora
    assert lora is not None
    usual = lora.rank if lora.rank in ranks.values() else next(iter(ranks.values()))
    scale = next(iter(scales.values()))
    other = _short({layer for layer, rank in ranks.items() if rank != usual}, modules)
    patterns = {short: next(rank for layer, rank in ranks.items() if _ends(layer, short)) for short in other}
    return {
        "peft_type": "LORA",
        "task_type": _task_type(model),
        "base_model_name_or_path": _start(experiment),
        "r": usual,
        "lora_alpha": scale * usual,
        "lora_dropout": lora.dropout,
        "bias": "none",
        "inference_mode": True,
        "target_modules": _short(set(ranks), modules),
        "rank_pattern": patterns,
        "alpha_pattern": {short: scale * rank for short, rank in patterns.items()},
    }


def _short(layers: set[str], modules: set[str]) -> list[str]:
    """Names of layers within their block, where they mean the same layers of every block; else their whole names."""
    names = set[str]()
    for layer in layers:
        name = re.sub(r"^.*\.\d+\.(?=\D)", "", layer)
        names.add(name if {module for module in modules if _ends(module, name)} <= layers else layer)
    return sorted(names)


def _ends(layer: str, name: str) -> bool:
    return f".{layer}".endswith(f".{name}")


def _part(layer: str, model: Transformer) -> str:
    """The part of a head that peft saves as a whole: what stands beside the body, or a layer within that."""
    body = model.classes.prefix.rstrip(".") if model.classes else ""
    first = layer.partition(".")[0]
    return layer if first == body else first


def _task_type(model: Transformer) -> str | None:
    """The name that peft has for the task; None for multiple choice, which has none there."""
    if model.outputs is not None:
        return {kind: name for name, kind in KINDS.items()}.get(model.outputs.kind)
    if model.reads_only:
        return "FEATURE_EXTRACTION"
    return None if model.decoder is None else "CAUSAL_LM" if model.encoder is None else "SEQ_2_SEQ_LM"


def _start(experiment: FineTuning) -> str:
    """Where the start is, as it was given; of a run that is not finished, the folder of its checkpoint."""
    given = str(experiment.model.start)
    folder = Path(given)
    return str(resolve(folder)) if folder.is_dir() and resolve(folder) != folder else given

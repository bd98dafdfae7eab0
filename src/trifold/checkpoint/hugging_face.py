"""Model folders in Hugging Face's layout: `config.json` and safetensors, single or sharded. Nothing here runs code."""

import functools
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from trifold.errors import ModelFileError
from trifold.hub import fetch, is_hub_name, nearest_folder
from trifold.plain_file import is_plain_file

__all__ = [
    "WANTED",
    "find_folder",
    "read_config",
    "read_extra",
    "read_generation",
    "read_weights",
    "stored_dtype",
    "write_config",
    "write_extra",
    "write_weights",
]

SINGLE, INDEX, EXTRA = "model.safetensors", "model.safetensors.index.json", "extra.safetensors"
TYPES = {"F16": torch.float16, "BF16": torch.bfloat16, "F32": torch.float32, "F64": torch.float64}
GENERATION = "generation_config.json"
OLDER = (
    "bad_words_ids",
    "do_sample",
    "early_stopping",
    "forced_bos_token_id",
    "forced_eos_token_id",
    "length_penalty",
    "max_length",
    "min_length",
    "no_repeat_ngram_size",
    "num_beams",
    "repetition_penalty",
    "suppress_tokens",
    "temperature",
    "top_k",
    "top_p",
    "typical_p",
)
"""Settings of generation in a `config.json` from before they had a file of their own."""

PICKLED = ("pytorch_model.bin", "pytorch_model.bin.index.json")
SHARD_BYTES = 5 * 10**9
WANTED = ["*.json", "*.safetensors", "*.txt", "*.model", "*.bpe"]


def find_folder(name: str, *, revision: str | None = None, local_files_only: bool = False) -> Path:
    """The local folder of a model: `name` itself, or a snapshot of the hub's `owner/name` (no code, no pickles).

    Raises:
        ModelFileError: neither is to be had.
    """
    path = Path(name)
    if path.is_dir():
        return path
    if not is_hub_name(name):
        raise ModelFileError("checkpoint.no_folder", path=name, nearest=nearest_folder(name))
    return fetch(name, WANTED, "checkpoint.hub", revision=revision, local_files_only=local_files_only)


def read_config(folder: Path, name: str = "config.json") -> dict[str, Any]:
    """The mapping in `config.json`, or in another file of the folder.

    Raises:
        ModelFileError: it is missing or is no JSON mapping.
    """
    path = folder / name
    _require_plain(folder, path.name)
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ModelFileError("checkpoint.not_a_model", path=folder) from None
    except (OSError, ValueError, RecursionError) as error:
        raise ModelFileError("checkpoint.bad_file", path=path, problem=str(error)[:200]) from None
    if not isinstance(data, dict):
        raise ModelFileError("checkpoint.bad_file", path=path, problem="it holds no mapping")
    return data


def read_generation(folder: Path, config: Mapping[str, Any]) -> dict[str, Any]:
    """How the folder's model is meant to write: `generation_config.json`, else what older folders put into `config`.

    Raises:
        ModelFileError: the file is no JSON mapping.
    """
    if os.path.lexists(folder / GENERATION):
        found = read_config(folder, GENERATION)
        return {
            name: value for name, value in found.items() if name not in ("_from_model_config", "transformers_version")
        }
    return {name: config[name] for name in OLDER if config.get(name) is not None}


def write_config(folder: Path, data: Mapping[str, Any], name: str = "config.json") -> None:
    """Write a mapping, keys sorted, so that equal models give equal bytes."""
    (folder / name).write_text(json.dumps(data, indent=2, sort_keys=True, ensure_ascii=False) + "\n", "utf-8")


def read_weights(folder: Path) -> dict[str, Tensor]:
    """All tensors of a folder by name.

    Raises:
        ModelFileError: a file is missing, damaged, or not a plain file of this folder; a weight holds no finite number.
    """
    weights: dict[str, Tensor] = {}
    for name in _shards(folder):
        path = folder / name
        if not is_plain_file(folder, name):
            raise ModelFileError("checkpoint.outside", path=folder, given=name)
        weights |= _read_tensors(path)
    for key, value in weights.items():
        if value.is_floating_point() and value.numel() and not torch.isfinite(value).any():
            raise ModelFileError("checkpoint.not_finite", path=folder, name=key)
    return weights


def stored_dtype(folder: Path) -> torch.dtype:
    """The smallest type in which all weights of a folder can be held as they are; float32 where that is no usual one.

    Raises:
        ModelFileError: a file is missing or damaged.
    """
    dtypes: set[str] = set()
    for name in _shards(folder):
        try:
            with safe_open(folder / name, framework="pt") as file:
                dtypes |= {file.get_slice(key).get_dtype() for key in file.keys()}  # noqa: SIM118 - no mapping
        except (SafetensorError, OSError, ValueError, RuntimeError) as error:
            raise ModelFileError("checkpoint.bad_file", path=folder / name, problem=str(error)[:200]) from None
    types = [TYPES[dtype] for dtype in sorted(dtypes) if dtype in TYPES]
    return functools.reduce(torch.promote_types, types) if types else torch.float32


def _read_tensors(path: Path) -> dict[str, Tensor]:
    try:
        with safe_open(path, framework="pt") as file:
            return {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118 - the reader is no mapping
    except (SafetensorError, OSError, ValueError, RuntimeError) as error:
        raise ModelFileError("checkpoint.bad_file", path=path, problem=str(error)[:200]) from None


def read_extra(folder: Path) -> dict[str, Tensor]:
    """Weights of heads and adapters by name; none where the folder has none.

    Raises:
        ModelFileError: the file is damaged.
    """
    path = folder / EXTRA
    _require_plain(folder, EXTRA)
    return _read_tensors(path) if path.is_file() else {}


def write_extra(folder: Path, weights: Mapping[str, Tensor]) -> None:
    """Write weights of heads and adapters beside a model; nothing where there are none."""
    if weights:
        save_file({name: value.detach().cpu().contiguous() for name, value in weights.items()}, folder / EXTRA)


def _require_plain(folder: Path, name: str) -> None:
    """Refuse what is there under a name but is no plain file of the folder."""
    if os.path.lexists(folder / name) and not is_plain_file(folder, name):
        raise ModelFileError("checkpoint.outside", path=folder, given=name)


def _shards(folder: Path) -> list[str]:
    for name in (SINGLE, INDEX):
        _require_plain(folder, name)
    if (folder / SINGLE).is_file():
        return [SINGLE]
    try:
        names = json.loads((folder / INDEX).read_text(encoding="utf-8"))["weight_map"].values()
        return sorted(set(map(str, names)))
    except FileNotFoundError:
        pickled = any((folder / name).is_file() for name in PICKLED)
        raise ModelFileError("checkpoint.pickled" if pickled else "checkpoint.not_a_model", path=folder) from None
    except (OSError, ValueError, KeyError, AttributeError, TypeError, RecursionError) as error:
        raise ModelFileError("checkpoint.bad_file", path=folder / INDEX, problem=str(error)[:200]) from None


def write_weights(folder: Path, weights: Mapping[str, Tensor], *, shard_bytes: int = SHARD_BYTES) -> None:
    """Write tensors to one file, or to several with an index where they are larger than `shard_bytes` together."""
    shards: list[dict[str, Tensor]] = [{}]
    size = 0
    for name, value in weights.items():
        if shards[-1] and size + value.nbytes > shard_bytes:
            shards.append({})
            size = 0
        shards[-1][name] = value.detach().cpu().contiguous()
        size += value.nbytes
    if len(shards) == 1:
        save_file(shards[0], folder / SINGLE, metadata={"format": "pt"})
        return
    places = {}
    for number, shard in enumerate(shards, start=1):
        file = f"model-{number:05d}-of-{len(shards):05d}.safetensors"
        save_file(shard, folder / file, metadata={"format": "pt"})
        places |= dict.fromkeys(shard, file)
    total = sum(value.nbytes for value in weights.values())
    write_config(folder, {"metadata": {"total_size": total}, "weight_map": places}, INDEX)

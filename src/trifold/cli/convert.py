"""`trifold convert`: between runs and Hugging Face folders."""

import json
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trifold.cli.option import Command, Option, Request
from trifold.errors import ModelFileError, UsageError
from trifold.locale import message

if TYPE_CHECKING:
    from trifold.presets.pretrained import Transformer
    from trifold.text import Tokenizer

__all__ = ["COMMAND"]

OUR_FILES = ("trifold.json", "task.json")
"""Folders with these were written here: what else they hold belongs to the run, not to the model."""
WEIGHTS = (".bin", ".ckpt", ".gguf", ".h5", ".msgpack", ".onnx", ".ot", ".pt", ".pth", ".safetensors")
OF_NO_MODEL = (
    "adapter_config.json",
    "README.md",
    "LICENSE",
    "LICENSE.txt",
    ".gitattributes",
    "model.safetensors.index.json",
)
OF_THE_FILE = frozenset(
    {
        "_from_model_config",
        "_name_or_path",
        "architectures",
        "dtype",
        "model_type",
        "torch_dtype",
        "transformers_version",
        "use_cache",
    }
)
"""Fields that say how a file came about."""


def run(request: Request) -> dict[str, Any]:
    """Read a model from one folder, write it to another, and check that the copy says the same."""
    from trifold.checkpoint.hugging_face import find_folder
    from trifold.checkpoint.pickled import is_pickled, rewrite

    source, target = find_folder(request.values.source), Path(request.values.target)
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise UsageError("cli.folder_exists", path=target)
    if not is_pickled(source):
        return _convert(source, source, target, request)
    with tempfile.TemporaryDirectory(prefix="trifold-convert-") as place:
        rewrite(source, Path(place))
        return _convert(source, Path(place), target, request)


def _convert(original: Path, folder: Path, target: Path, request: Request) -> dict[str, Any]:
    from trifold.adapter_base import find_base, is_adapter
    from trifold.checkpoint.hugging_face import WANTED, read_extra, stored_dtype
    from trifold.presets.pretrained import Transformer, resolve
    from trifold.text import Tokenizer

    source = resolve(folder)
    extra = sorted(read_extra(source))
    if extra:
        raise UsageError("cli.cannot_convert", path=original, names=", ".join(extra[:20]))
    base = resolve(find_base(source, WANTED)) if is_adapter(source) else source
    model = Transformer.from_pretrained(source, dtype=stored_dtype(base))
    left: list[str] = []
    try:
        tokenizer = Tokenizer.from_pretrained(source)
    except ModelFileError as error:
        request.console.warn(str(error))
        tokenizer, left = None, [message("cli.left_tokenizer")]
    with _whole(target) as place:
        model.save_pretrained(place, tokenizer=tokenizer, shard_bytes=request.values.shard_bytes)
        if not _equal(model, tokenizer, place):
            raise ModelFileError("checkpoint.damaged", path=target, problem=message("cli.copy_differs"))
        read = frozenset(model.preset.fields.defaults if model.preset else ())
        left += _left_out(source, place, read)
    request.console.say(message("cli.converted", source=original, path=target, count=f"{model.num_parameters():,}"))
    if left:
        request.console.say(message("cli.not_kept", names=", ".join(left)))
    return {"source": str(original), "folder": str(target), "parameters": model.num_parameters(), "left_out": left}


@contextmanager
def _whole(target: Path) -> Iterator[Path]:
    """An empty folder beside the target, which takes its place when all has been written, and else is gone."""
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{target.name}-", dir=target.parent) as place:
        inner = Path(place) / "model"
        inner.mkdir()
        yield inner
        if target.is_dir():
            target.rmdir()
        shutil.move(inner, target)


def _equal(model: "Transformer", tokenizer: "Tokenizer | None", folder: Path) -> bool:
    """Whether a folder gives the same model and the same tokenizer again."""
    import torch

    from trifold.presets.pretrained import Transformer
    from trifold.text import Tokenizer

    copy = Transformer.from_pretrained(folder, dtype=model.embedding.tokens.weight.dtype)
    one, other = ({**dict(both.named_parameters()), **both.rest} for both in (model, copy))
    same = one.keys() == other.keys() and all(torch.equal(value, other[name]) for name, value in one.items())
    same = same and copy.config == model.config
    return same and (tokenizer is None or Tokenizer.from_pretrained(folder).fingerprint() == tokenizer.fingerprint())


def _left_out(source: Path, target: Path, read: frozenset[str]) -> list[str]:
    """What the source holds and the target has not: fields of its configurations that were not read, and files."""
    if any((source / name).exists() for name in OUR_FILES):
        return []
    left = []
    for name in ("config.json", "generation_config.json"):
        had, has = _mapping(source / name), _mapping(target / name)
        told = [field for field in sorted(had.keys() - OF_THE_FILE - read) if had[field] not in (None, False, [], {})]
        left += [f"{name}: {field}" for field in told if has.get(field) != had[field]]
    kept = {path.relative_to(target) for path in target.rglob("*")} | set(map(Path, OF_NO_MODEL))
    files = sorted(path.relative_to(source) for path in source.rglob("*") if path.is_file())
    return left + [
        str(path) for path in files if path not in kept and path.suffix not in WEIGHTS and path.parts[0] != ".cache"
    ]


def _mapping(path: Path) -> dict[str, Any]:
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return data if isinstance(data, dict) else {}


COMMAND = Command(
    name="convert",
    options=(
        Option(name="source", positional=True, required=True),
        Option(name="target", positional=True, required=True),
        Option(name="shard-bytes", kind="integer", low=1000, default=5 * 10**9),
    ),
    run=run,
)

"""`trifold convert`: between runs and Hugging Face folders."""

import tempfile
from pathlib import Path
from typing import Any

from trifold.cli.option import Command, Option, Request
from trifold.errors import ModelFileError, UsageError
from trifold.locale import message

__all__ = ["COMMAND"]


def run(request: Request) -> dict[str, Any]:
    """Read a model from one folder, write it to another, and check that the copy says the same."""
    from trifold.checkpoint.hugging_face import find_folder
    from trifold.checkpoint.pickled import is_pickled, rewrite

    given, target = find_folder(request.values.source), Path(request.values.target)
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise UsageError("cli.folder_exists", path=target)
    if not is_pickled(given):
        return _convert(given, given, target, request)
    with tempfile.TemporaryDirectory(prefix="trifold-convert-") as place:
        rewrite(given, Path(place))
        return _convert(given, Path(place), target, request)


def _convert(given: Path, folder: Path, target: Path, request: Request) -> dict[str, Any]:
    import torch

    from trifold.presets.pretrained import Transformer, resolve
    from trifold.text import Tokenizer

    source = resolve(folder)
    model = Transformer.from_pretrained(source)
    try:
        tokenizer = Tokenizer.from_pretrained(source)
    except ModelFileError as error:
        request.console.warn(str(error))
        tokenizer = None
    model.save_pretrained(target, tokenizer=tokenizer, shard_bytes=request.values.shard_bytes)
    copy = Transformer.from_pretrained(target)
    pairs = zip(model.parameters(), copy.parameters(), strict=True)
    if not all(torch.equal(one, other) for one, other in pairs):
        raise ModelFileError("checkpoint.damaged", path=target, problem=message("cli.copy_differs"))
    request.console.say(message("cli.converted", source=given, path=target, count=f"{model.num_parameters():,}"))
    return {"source": str(given), "folder": str(target), "parameters": model.num_parameters()}


COMMAND = Command(
    name="convert",
    options=(
        Option(name="source", positional=True, required=True),
        Option(name="target", positional=True, required=True),
        Option(name="shard-bytes", kind="integer", low=1000, default=5 * 10**9),
    ),
    run=run,
)

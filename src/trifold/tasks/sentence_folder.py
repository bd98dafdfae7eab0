"""Folders of sentence-transformers: beside the model, modules that pool its vectors and normalize them, and prompts."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from trifold.errors import ModelFileError
from trifold.plain_file import is_plain_file
from trifold.presets.task_head import Pooling

__all__ = ["SentenceFiles", "is_sentence_folder", "read_sentence_files", "write_sentence_files"]

MODULES, LIBRARY = "modules.json", "config_sentence_transformers.json"
PLACES = (("", "Transformer"), ("1_Pooling", "Pooling"), ("2_Normalize", "Normalize"))
POOLINGS = {"mean": "mean", "first": "cls", "last": "lasttoken"}
"""Ours, and theirs."""
OLD = {"pooling_mode_cls_token": "cls", "pooling_mode_mean_tokens": "mean", "pooling_mode_max_tokens": "max",
       "pooling_mode_mean_sqrt_len_tokens": "mean_sqrt_len_tokens", "pooling_mode_weightedmean_tokens": "weightedmean",
       "pooling_mode_lasttoken": "lasttoken"}  # fmt: skip
"""How the ways to pool were named before version 6, each with a yes or no."""
NEUTRAL = {"transformer_task": "feature-extraction", "module_output_name": "token_embeddings"}
"""Settings of the first module that say how all here are used anyway."""
TEXT = {"method": "forward", "method_output_name": "last_hidden_state"}
"""The same of its `modality_config` for text; what it says of other kinds of input does not matter."""
FREE = {"max_seq_length", "modality_config", "model_name_or_path", "tokenizer_name_or_path"}
"""Settings that are read, or that are names."""
PASSAGE = ("document", "passage", "corpus")
"""What the prompt of a passage is called."""


@dataclass(frozen=True, slots=True)
class SentenceFiles:
    """What the files beside a model say of the vectors of texts.

    Attributes:
        pooling: what a text's vector is.
        query_prompt, passage_prompt: what stands before each text of a kind.
        max_length: most tokens of a text, special ones included; None where they do not say.
    """

    pooling: Pooling
    query_prompt: str = ""
    passage_prompt: str = ""
    max_length: int | None = None


def is_sentence_folder(folder: Path) -> bool:
    """Whether a folder says how the vectors of its model are pooled.

    Example:
        >>> is_sentence_folder(Path("/nowhere"))
        False
    """
    return is_plain_file(folder, MODULES)


def read_sentence_files(folder: Path) -> SentenceFiles:
    """What a folder of sentence-transformers says.

    Raises:
        ModelFileError: a file is damaged, or asks for what is not computed here; names it.
    """
    modules = _read(folder / MODULES, list)
    kinds = [str(one.get("type")).rpartition(".")[2] if isinstance(one, dict) else "-" for one in modules]
    _require(
        kinds[:2] == ["Transformer", "Pooling"] and set(kinds[2:]) <= {"Normalize", "Dropout"},
        folder / MODULES,
        "modules",
        ", ".join(kinds),
        "Transformer, Pooling, Normalize",
    )
    first, second = (modules[place].get("path") for place in (0, 1))
    _require(first == "" and second == PLACES[1][0], folder / MODULES, "path", f"{first}, {second}", PLACES[1][0])
    told = _read(folder / LIBRARY) if is_plain_file(folder, LIBRARY) else {}
    similarity = told.get("similarity_fn_name")
    _require(
        "Normalize" in kinds or similarity in (None, "cosine"),
        folder / LIBRARY,
        "similarity_fn_name",
        similarity,
        "cosine",
    )
    query, passage = _prompts(told)
    pooling = _pooling(folder / second / "config.json", prompted=bool(query or passage))
    return SentenceFiles(pooling, query, passage, min(_longest(folder), default=None))


def _pooling(path: Path, *, prompted: bool) -> Any:
    """Our name of the one way to pool that a module says."""
    data = _read(path)
    modes = data.get("pooling_mode", [theirs for name, theirs in OLD.items() if data.get(name) is True])
    modes = [modes] if isinstance(modes, str) else modes
    names = [ours for ours, theirs in POOLINGS.items() if modes == [theirs]]
    _require(bool(names), path, "pooling_mode", modes, ", ".join(POOLINGS.values()))
    _require(data.get("include_prompt", True) or not prompted, path, "include_prompt", False, "true beside prompts")
    return names[0]


def _prompts(told: Mapping[str, Any]) -> tuple[str, str]:
    """What stands before a query and before a passage."""
    prompts = {name: text for name, text in dict(told.get("prompts") or {}).items() if isinstance(text, str)}
    usual = prompts.get(told.get("default_prompt_name")) or ""
    return prompts.get("query") or usual, next(filter(None, map(prompts.get, PASSAGE)), usual)


def _longest(folder: Path) -> list[int]:
    """How long a text may be, as far as the folder says.

    Raises:
        ModelFileError: another setting of the first module asks for what is not computed here.
    """
    lengths = []
    for path in sorted(folder.glob("sentence_*_config.json")):
        data = _read(path)
        for name, value in data.items():
            usual = NEUTRAL.get(name)
            _require(not value or name in FREE or value == usual, path, name, value, usual or "null, false")
        text = dict(data.get("modality_config") or {}).get("text", TEXT)
        _require(text == TEXT, path, "modality_config.text", text, TEXT)
        longest = data.get("max_seq_length")
        lengths += [longest] if isinstance(longest, int) and longest > 0 else []
    return lengths


def write_sentence_files(folder: Path, told: SentenceFiles, *, width: int) -> None:
    """Say in a folder how a text's vector is made, and that it has length 1.

    Args:
        folder: that the model is in.
        told: what to say.
        width: of a vector.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as place:
        ...     write_sentence_files(Path(place), SentenceFiles("first", "query: ", max_length=64), width=8)
        ...     read_sentence_files(Path(place))
        SentenceFiles(pooling='first', query_prompt='query: ', passage_prompt='', max_length=64)
    """
    modules = [
        {"idx": number, "name": str(number), "path": path, "type": f"sentence_transformers.models.{kind}"}
        for number, (path, kind) in enumerate(PLACES)
    ]
    for path, _ in PLACES:
        (folder / path).mkdir(exist_ok=True)
    mode = POOLINGS[told.pooling]
    pooling = {"word_embedding_dimension": width, **{name: theirs == mode for name, theirs in OLD.items()}}
    prompts = {"query": told.query_prompt, "document": told.passage_prompt}
    _write(folder / MODULES, modules)
    _write(folder / "1_Pooling" / "config.json", pooling)
    _write(folder / "sentence_bert_config.json", {"max_seq_length": told.max_length, "do_lower_case": False})
    _write(folder / LIBRARY, {"similarity_fn_name": "cosine", "prompts": prompts if any(prompts.values()) else {}})


def _read(path: Path, kind: type = dict) -> Any:
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise ModelFileError("checkpoint.bad_file", path=path, problem=str(error)[:200]) from None
    if not isinstance(data, kind):
        problem = f"{type(data).__name__} where a {kind.__name__} was expected"
        raise ModelFileError("checkpoint.bad_file", path=path, problem=problem)
    return data


def _require(fits: object, path: Path, name: str, given: object, allowed: object) -> None:
    if not fits:
        raise ModelFileError("task.sentence_module", path=path, name=name, given=given, allowed=allowed)


def _write(path: Path, data: Any) -> None:
    path.write_text(json.dumps(data, indent=2, sort_keys=True) + "\n", encoding="utf-8")

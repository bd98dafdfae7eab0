"""What makes a model folder one of sentence-transformers, beside the model: modules that pool and normalize."""

import json
from pathlib import Path
from typing import Any

__all__ = ["write_sentence_files"]

MODULES = (("", "Transformer"), ("1_Pooling", "Pooling"), ("2_Normalize", "Normalize"))


def write_sentence_files(folder: Path, *, width: int, longest: int) -> None:
    """Say in a folder that a text's vector is the mean over its tokens, of length 1.

    Args:
        folder: that the model is in.
        width: of a vector.
        longest: most tokens of a text, special ones included.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as place:
        ...     write_sentence_files(Path(place), width=8, longest=64)
        ...     sorted(path.name for path in Path(place).iterdir())[:3]
        ['1_Pooling', '2_Normalize', 'config_sentence_transformers.json']
    """
    modules = [{"idx": number, "name": str(number), "path": path, "type": f"sentence_transformers.models.{kind}"}
               for number, (path, kind) in enumerate(MODULES)]  # fmt: skip
    for path, _ in MODULES:
        (folder / path).mkdir(exist_ok=True)
    pooling = {"word_embedding_dimension": width, "pooling_mode_cls_token": False, "pooling_mode_mean_tokens": True,
               "pooling_mode_max_tokens": False, "pooling_mode_mean_sqrt_len_tokens": False}  # fmt: skip
    _write(folder / "modules.json", modules)
    _write(folder / "1_Pooling" / "config.json", pooling)
    _write(folder / "sentence_bert_config.json", {"max_seq_length": longest, "do_lower_case": False})
    _write(folder / "config_sentence_transformers.json", {"similarity_fn_name": "cosine", "prompts": {}})


def _write(path: Path, data: Any) -> None:
    path.write_text(json.dumps(data, indent=2, sort_keys=True) + "\n", encoding="utf-8")

"""Reading tokenizers that others made."""

import json
from pathlib import Path
from typing import Any

from tokenizers import AddedToken, decoders, models, normalizers, pre_tokenizers
from tokenizers import Tokenizer as Backend

from trifold.errors import ModelFileError
from trifold.hub import fetch
from trifold.plain_file import is_plain_file
from trifold.text import sentencepiece
from trifold.text.pattern import patterns_in, require_bounded

__all__ = ["load"]

Loaded = tuple[Backend, str, dict[str, str]]

CHAT_TEMPLATE = "chat_template.jinja"
LARGEST_FILE = 2**28
LARGEST_VOCABULARY = 2**22
WANTED = [
    "tokenizer*.json",
    CHAT_TEMPLATE,
    "special_tokens_map.json",
    "vocab.*",
    "merges.txt",
    "encoder.json",
    "*.model",
]
ROLES = ("bos", "eos", "pad", "unk", "mask", "cls", "sep")
KINDS = {"WordPiece": "wordpiece", "Unigram": "unigram", "WordLevel": "character", "BPE": "bpe"}


def load(path: str) -> tuple[Backend, str, dict[str, str], str | None]:
    """The backend, its kind, the texts of its special tokens and its chat template, from a folder, a file or a hub name.

    Raises:
        ModelFileError: nothing readable is there; names the file and what is wrong with it.
    """
    place = Path(path)
    if place.is_dir():
        return *_load_folder(place), _chat_template(place)
    if place.is_file():
        return *_load_file(place, place.parent), _chat_template(place.parent)
    if path.count("/") == 1 and not path.startswith((".", "/")):
        folder = fetch(path, WANTED, "text.hub")
        return *_load_folder(folder), _chat_template(folder)
    raise ModelFileError("text.not_found", path=path)


def _chat_template(folder: Path) -> str | None:
    """The template of a folder: in a file of its own, or in the settings, alone or as the default of several."""
    try:
        if is_plain_file(folder, CHAT_TEMPLATE) and (folder / CHAT_TEMPLATE).stat().st_size <= LARGEST_FILE:
            return (folder / CHAT_TEMPLATE).read_text(encoding="utf-8")
        found = _settings(folder).get("chat_template")
    except (OSError, ValueError, RecursionError) as error:
        raise ModelFileError("text.damaged", path=folder, problem=str(error)[:200]) from None
    if isinstance(found, list):
        by_name = {one.get("name"): one.get("template") for one in found if isinstance(one, dict)}
        found = by_name.get("default") or next(iter(by_name.values()), None)
    return found if isinstance(found, str) else None


def _load_folder(folder: Path) -> Loaded:
    for name in (
        "tokenizer.json",
        "vocab.txt",
        "vocab.json",
        "encoder.json",
        *sorted(path.name for path in folder.glob("*.model")),
    ):
        if is_plain_file(folder, name):
            return _load_file(folder / name, folder)
    raise ModelFileError("text.not_found", path=folder)


def _load_file(path: Path, folder: Path) -> Loaded:
    if path.stat().st_size > LARGEST_FILE:
        raise ModelFileError("text.damaged", path=path, problem=f"{path.stat().st_size} bytes, at most {LARGEST_FILE}")
    try:
        match path.name:
            case "vocab.txt":
                return _load_word_pieces(path, folder)
            case "vocab.json" | "encoder.json":
                return _load_byte_pairs(path, folder)
            case name if name.endswith(".model"):
                return _load_pieces(path, folder)
            case _:
                return _load_json(path, folder)
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise ModelFileError("text.damaged", path=path, problem=str(error)[:200]) from None


def _load_json(path: Path, folder: Path) -> Loaded:
    data = json.loads(path.read_text(encoding="utf-8"))
    _check_vocabulary(data["model"]["vocab"])
    for pattern in patterns_in(data):
        require_bounded(pattern)
    try:
        backend = Backend.from_file(str(path))
    except Exception as error:  # noqa: BLE001 - the library raises plain Exception
        raise ValueError(str(error)) from None
    settings = _settings(folder)
    kind = settings.get("trifold_kind") or KINDS.get(data["model"].get("type", ""), "bpe")
    if kind == "bpe" and "ByteLevel" in json.dumps(data.get("decoder")):
        kind = "byte_bpe"
    return backend, kind, _roles(settings, backend)


def _check_vocabulary(vocabulary: Any) -> None:
    """Ids without gaps or repeats, and not too many of them."""
    if len(vocabulary) > LARGEST_VOCABULARY:
        raise ValueError(f"{len(vocabulary)} tokens, at most {LARGEST_VOCABULARY}")
    if isinstance(vocabulary, dict):
        ids = sorted(vocabulary.values())
        if any(not isinstance(one, int) or isinstance(one, bool) for one in ids) or len(set(ids)) < len(ids):
            raise ValueError("two tokens have the same id, or an id is not a whole number")
        if ids and (ids[0] < 0 or ids[-1] > LARGEST_VOCABULARY):
            raise ValueError(f"the id {ids[-1] if ids[0] >= 0 else ids[0]} is out of range")


def _settings(folder: Path) -> dict[str, Any]:
    settings: dict[str, Any] = {}
    for name in ("special_tokens_map.json", "tokenizer_config.json"):
        if is_plain_file(folder, name):
            settings |= json.loads((folder / name).read_text(encoding="utf-8"))
    return settings


def _roles(settings: dict[str, Any], backend: Backend) -> dict[str, str]:
    """Special tokens that the settings name, else those with a usual spelling."""
    usual = {
        "bos": ("<s>", "<|begin_of_text|>", "<|endoftext|>"),
        "eos": ("</s>", "<|end_of_text|>", "<|endoftext|>", "<sep>"),
        "pad": ("<pad>", "[PAD]"),
        "unk": ("<unk>", "[UNK]"),
        "mask": ("<mask>", "[MASK]"),
        "cls": ("[CLS]", "<cls>"),
        "sep": ("[SEP]", "<sep>"),
    }
    roles = {}
    for role in ROLES:
        named = settings.get(f"{role}_token")
        named = named.get("content") if isinstance(named, dict) else named
        candidates = [named] if isinstance(named, str) else usual[role]
        found = [text for text in candidates if backend.token_to_id(text) is not None]
        if found:
            roles[role] = found[0]
    return roles


def _load_pieces(path: Path, folder: Path) -> Loaded:
    found = sentencepiece.parse(path.read_bytes())
    _check_vocabulary([text for text, _, _ in found.pieces])
    backend = sentencepiece.build(found)
    kind = "unigram" if found.kind == sentencepiece.UNIGRAM else "bpe"
    return backend, kind, _roles(_settings(folder), backend)


def _load_word_pieces(path: Path, folder: Path) -> Loaded:
    lines = path.read_text(encoding="utf-8").split("\n")
    tokens = [line.removesuffix("\r") for line in (lines[:-1] if lines[-1] == "" else lines)]
    vocabulary = {token: number for number, token in enumerate(tokens)}
    _check_vocabulary(vocabulary)
    if len(vocabulary) < len(tokens):
        raise ValueError("a token stands twice")
    settings = _settings(folder)
    cased = any(token.isascii() and token.isalpha() and token != token.lower() for token in tokens)
    lowercase = bool(settings.get("do_lower_case", not cased))
    backend = Backend(models.WordPiece(vocabulary, unk_token="[UNK]", max_input_chars_per_word=100))  # noqa: S106
    backend.normalizer = normalizers.BertNormalizer(lowercase=lowercase)
    backend.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    backend.decoder = decoders.WordPiece(cleanup=False)
    roles = _roles(settings, backend)
    backend.add_special_tokens([AddedToken(text, special=True) for text in roles.values()])
    return backend, "wordpiece", roles


def _load_byte_pairs(path: Path, folder: Path) -> Loaded:
    vocabulary = json.loads(path.read_text(encoding="utf-8"))
    _check_vocabulary(vocabulary)
    merges_file = next((folder / name for name in ("merges.txt", "vocab.bpe") if is_plain_file(folder, name)), None)
    if merges_file is None:
        raise ValueError("no merges.txt or vocab.bpe beside it")
    lines = merges_file.read_text(encoding="utf-8").split("\n")
    merges = []
    for line in lines:
        if line and not line.startswith("#version"):
            left, _, right = line.partition(" ")
            if any(part not in vocabulary for part in (left, right, left + right)):
                raise ValueError(f"the merge {line!r} is not of tokens of the vocabulary")
            merges.append((left, right))
    backend = Backend(models.BPE(vocabulary, merges))
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    roles = _roles(_settings(folder), backend)
    backend.add_special_tokens([AddedToken(text, special=True) for text in dict.fromkeys(roles.values())])
    return backend, "byte_bpe", roles

"""Reading tokenizers that others made."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tokenizers import AddedToken, decoders, models, normalizers, pre_tokenizers
from tokenizers import Tokenizer as Backend

from trifold.adapter_base import ADAPTER_CONFIG, find_base, is_adapter
from trifold.errors import ModelFileError
from trifold.hub import fetch, is_hub_name, nearest_folder
from trifold.plain_file import is_plain_file
from trifold.text import sentencepiece
from trifold.text.framing import Framing, read_framing, write_framing
from trifold.text.marian import LANGUAGES, MarianCodec, is_marian, load_marian
from trifold.text.pattern import patterns_in, require_bounded

__all__ = ["Loaded", "load"]

CHAT_TEMPLATE = "chat_template.jinja"
LARGEST_FILE = 2**28
LARGEST_VOCABULARY = 2**22
WANTED = [
    ADAPTER_CONFIG,
    "tokenizer*.json",
    CHAT_TEMPLATE,
    "special_tokens_map.json",
    "vocab.*",
    "merges.txt",
    "encoder.json",
    "*.model",
    "*.spm",
    "added_tokens.json",
    "config.json",
]
ROLES = ("bos", "eos", "pad", "unk", "mask", "cls", "sep")
KINDS = {"WordPiece": "wordpiece", "Unigram": "unigram", "WordLevel": "character", "BPE": "bpe"}
SETTINGS = ("additional_special_tokens", "extra_special_tokens", "model_max_length", "truncation_side")
"""What `tokenizer_config.json` says beside the special tokens, and is said again when the tokenizer is saved."""

SWITCHES = {"add_bos_token": "bos", "add_eos_token": "eos"}
"""Settings that put a token around every text, where there is no `tokenizer.json` that does."""

MOVED = ("xlmroberta", "xlm-roberta")
"""Families, by their tokenizer's class and by their model, whose ids are not those of their SentencePiece model."""

FRAMES: dict[str, tuple[tuple[str, ...], tuple[str, ...], tuple[str, ...]]] = {
    **dict.fromkeys(("bert", "distilbert", "electra", "albert"), (("cls",), ("sep",), ("sep",))),
    **dict.fromkeys(("roberta", "bart", *MOVED), (("bos",), ("eos",), ("eos", "eos"))),
    **dict.fromkeys(("t5", "mt5", "umt5"), ((), ("eos",), ("eos",))),
    "xlnet": ((), ("sep", "cls"), ("sep",)),
}
"""What stands before, after and between texts by transformers' tokenizer of a family; nothing for all others."""

CODED = ("mbart", "mbart50")
"""Families that put the code of the text's language beside it, behind its end or (since mBART-50) before it."""


TYPED = ("bert", "electra", "albert")
"""Those of them whose second text has a type of its own."""


@dataclass(frozen=True, slots=True)
class Loaded:
    """What a tokenizer is made of.

    Attributes:
        backend: with a post-processor where it is known what stands around a text.
        kind: `bpe`, `byte_bpe`, `wordpiece`, `unigram` or `character`.
        roles: texts of the special tokens.
        settings: further values of `tokenizer_config.json`.
        chat_template: how a conversation becomes one text, in jinja2; None where nobody said.
        codec: how text becomes ids, where that is not as the backend makes them.
    """

    backend: Backend
    kind: str
    roles: dict[str, str]
    settings: dict[str, Any]
    chat_template: str | None
    codec: MarianCodec | None = None


def load(path: str) -> Loaded:
    """A tokenizer's parts, from a folder, a file or a hub name.

    Raises:
        ModelFileError: nothing readable is there; names the file and what is wrong with it.
    """
    place = Path(path)
    if place.is_dir():
        return _load_folder(place)
    if place.is_file():
        return _load_file(place, place.parent)
    if is_hub_name(path):
        return _load_folder(fetch(path, WANTED, "text.hub"))
    raise ModelFileError("text.not_found", path=path, nearest=nearest_folder(path))


def _load_folder(folder: Path) -> Loaded:
    if is_marian(folder):
        try:
            settings = _settings(folder)
            codec, roles = load_marian(folder, settings)
            kept = {name: settings[name] for name in (*LANGUAGES, *SETTINGS) if settings.get(name) is not None}
            return Loaded(codec.backend, "unigram", roles, kept, _chat_template(settings, folder), codec)
        except (OSError, ValueError, TypeError, RecursionError) as error:
            raise ModelFileError("text.damaged", path=folder, problem=str(error)[:200]) from None
    for name in (
        "tokenizer.json",
        "vocab.txt",
        "vocab.json",
        "encoder.json",
        *sorted(path.name for path in folder.glob("*.model")),
    ):
        if is_plain_file(folder, name):
            return _load_file(folder / name, folder)
    if is_adapter(folder):
        return _load_folder(find_base(folder, WANTED))
    raise ModelFileError("text.not_found", path=folder, nearest="")


def _load_file(path: Path, folder: Path) -> Loaded:
    if path.stat().st_size > LARGEST_FILE:
        raise ModelFileError("text.damaged", path=path, problem=f"{path.stat().st_size} bytes, at most {LARGEST_FILE}")
    try:
        settings = _settings(folder)
        match path.name:
            case "vocab.txt":
                backend, kind = _load_word_pieces(path, settings)
            case "vocab.json" | "encoder.json":
                backend, kind = _load_byte_pairs(path, folder)
            case name if name.endswith(".model"):
                backend, kind = _load_pieces(path, settings)
            case _:
                backend, kind = _load_json(path)
        return _completed(backend, kind, settings, path)
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise ModelFileError("text.damaged", path=path, problem=str(error)[:200]) from None


def _completed(backend: Backend, kind: str, settings: dict[str, Any], path: Path) -> Loaded:
    """The tokenizer with its added and special tokens, and with those that stand around a text."""
    whole = path.suffix == ".json" and path.name not in ("vocab.json", "encoder.json")
    if not whole:
        _add_tokens(backend, settings, path.parent)
    roles = _roles(settings, backend)
    named = [
        text for role, text in roles.items() if settings.get(f"{role}_token") or (not whole and path.suffix != ".model")
    ]
    backend.add_special_tokens(
        [AddedToken(text, special=True) for text in dict.fromkeys(named) if text not in _added(backend)]
    )
    family = _family(settings, path.parent, kind, whole=whole)
    if family in CODED:
        write_framing(backend, _coded_framing(backend, settings, roles, family))
    if backend.post_processor is None:
        ids = {role: backend.token_to_id(text) for role, text in roles.items()}
        framing = _framing({} if whole else settings, family, ids)
        if framing is not None:
            write_framing(backend, framing, typed=family in TYPED)
    read_framing(backend)
    kept = {name: settings[name] for name in SETTINGS if settings.get(name) is not None}
    return Loaded(backend, settings.get("trifold_kind") or kind, roles, kept, _chat_template(settings, path.parent))


def _chat_template(settings: dict[str, Any], folder: Path) -> str | None:
    """The template of a folder: in a file of its own, or in the settings, alone or as the default of several."""
    if is_plain_file(folder, CHAT_TEMPLATE) and (folder / CHAT_TEMPLATE).stat().st_size <= LARGEST_FILE:
        return (folder / CHAT_TEMPLATE).read_text(encoding="utf-8")
    template = settings.get("chat_template")
    if isinstance(template, list):
        by_name = {entry.get("name"): entry.get("template") for entry in template if isinstance(entry, dict)}
        template = by_name.get("default") or next(iter(by_name.values()), None)
    return template if isinstance(template, str) else None


def _added(backend: Backend) -> set[str]:
    return {token.content for token in backend.get_added_tokens_decoder().values()}


def _add_tokens(backend: Backend, settings: dict[str, Any], folder: Path) -> None:
    """The tokens that stand beside a vocabulary: in `tokenizer_config.json`, or in `added_tokens.json`."""
    tokens = {
        int(index): AddedToken(
            entry["content"],
            lstrip=entry.get("lstrip", False),
            rstrip=entry.get("rstrip", False),
            normalized=entry.get("normalized", True),
            special=entry.get("special", False),
        )
        for index, entry in (settings.get("added_tokens_decoder") or {}).items()
    }
    if not tokens and is_plain_file(folder, "added_tokens.json"):
        listed = json.loads((folder / "added_tokens.json").read_text(encoding="utf-8"))
        tokens = {index: AddedToken(text, normalized=False) for text, index in listed.items()}
    for index, token in sorted(tokens.items()):
        (backend.add_special_tokens if token.special else backend.add_tokens)([token])
        if backend.token_to_id(token.content) != index:
            raise ValueError(f"the added token {token.content!r} cannot have the id {index}")


def _framing(settings: dict[str, Any], family: str | None, ids: dict[str, int | None]) -> Framing | None:
    """What stands around a text, as transformers' tokenizer of this family puts it there; None where that is open."""

    def known(*roles: str) -> tuple[int, ...]:
        return tuple(found for role in roles if (found := ids.get(role)) is not None)

    if any(name in settings for name in SWITCHES):
        first, last = (known(role) if settings.get(name) else () for name, role in SWITCHES.items())
        return Framing(first, last, (*last, *first))
    if family is None:
        return None
    return Framing(*(known(*names) for names in FRAMES.get(family, ((), (), ()))))


def _coded_framing(backend: Backend, settings: dict[str, Any], roles: dict[str, str], family: str) -> Framing:
    """The end and the language of the texts, whatever language the file was written with."""
    named = str(settings.get("src_lang") or "en_XX")
    code, end = backend.token_to_id(named), backend.token_to_id(roles["eos"])
    if code is None or end is None:
        raise ValueError(f"no token {named}, the language of its texts (src_lang in tokenizer_config.json)")
    return Framing((), (end, code)) if family == CODED[0] else Framing((code,), (end,))


def _family(settings: dict[str, Any], folder: Path, kind: str, *, whole: bool) -> str | None:
    """Whose tokenizer it is: by its class, or by the model beside it where transformers has no other clue."""
    if "trifold_kind" in settings:
        return None  # it takes after its model
    named = str(settings.get("tokenizer_class") or "").removesuffix("Fast").removesuffix("Tokenizer").lower()
    if whole or named:
        return named
    if is_plain_file(folder, "config.json"):
        data = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        named = str(data.get("model_type") or "") if isinstance(data, dict) else ""
    return named or ("bert" if kind == "wordpiece" else None)


def _load_json(path: Path) -> tuple[Backend, str]:
    data = json.loads(path.read_text(encoding="utf-8"))
    _check_vocabulary(data["model"]["vocab"])
    for pattern in patterns_in(data):
        require_bounded(pattern)
    try:
        backend = Backend.from_file(str(path))
    except Exception as error:  # noqa: BLE001 - the library raises plain Exception
        raise ValueError(str(error)) from None
    backend.no_padding()  # what a file says of these is how somebody used it last
    backend.no_truncation()
    kind = KINDS.get(data["model"].get("type", ""), "bpe")
    return backend, "byte_bpe" if kind == "bpe" and "ByteLevel" in json.dumps(data.get("decoder")) else kind


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
        named = settings.get(f"{role}_token", "")
        named = named.get("content") if isinstance(named, dict) else named
        candidates = () if named is None else [named] if named else usual[role]
        found = [text for text in candidates if backend.token_to_id(text) is not None]
        if found:
            roles[role] = found[0]
    return roles


def _load_pieces(path: Path, settings: dict[str, Any]) -> tuple[Backend, str]:
    family = _family(settings, path.parent, "", whole=False)
    if family in CODED:
        raise ValueError("it numbers these pieces anew: write a tokenizer.json with save_pretrained of transformers")
    model = sentencepiece.parse(path.read_bytes())
    if family in MOVED:
        model = sentencepiece.moved_by_one(model)
    _check_vocabulary([text for text, _, _ in model.pieces])
    lowercase, accents = settings.get("do_lower_case"), bool(settings.get("keep_accents"))
    backend = sentencepiece.build(model, lowercase=lowercase, accents=accents)
    return backend, "unigram" if model.kind == sentencepiece.UNIGRAM else "bpe"


def _load_word_pieces(path: Path, settings: dict[str, Any]) -> tuple[Backend, str]:
    lines = path.read_text(encoding="utf-8").split("\n")
    tokens = [line.removesuffix("\r") for line in (lines[:-1] if lines[-1] == "" else lines)]
    vocabulary = {token: number for number, token in enumerate(tokens)}
    _check_vocabulary(vocabulary)
    if len(vocabulary) < len(tokens):
        raise ValueError("a token stands twice")
    cased = any(token.isascii() and token.isalpha() and token != token.lower() for token in tokens)
    lowercase = bool(settings.get("do_lower_case", not cased))
    backend = Backend(models.WordPiece(vocabulary, unk_token="[UNK]", max_input_chars_per_word=100))  # noqa: S106
    backend.normalizer = normalizers.BertNormalizer(lowercase=lowercase)
    backend.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    backend.decoder = decoders.WordPiece(cleanup=False)
    return backend, "wordpiece"


def _load_byte_pairs(path: Path, folder: Path) -> tuple[Backend, str]:
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
    return backend, "byte_bpe"

"""SentencePiece models, read from their protocol buffer without a library.

Only what decides ids is read: pieces with scores and types, the kind of model, and the normaliser's settings.
"""

import struct
from collections.abc import Iterator
from dataclasses import dataclass, field, replace

from tokenizers import AddedToken, Regex, decoders, models, normalizers, pre_tokenizers
from tokenizers import Tokenizer as Backend

__all__ = ["Pieces", "build", "moved_by_one", "parse"]

UNIGRAM, BPE = 1, 2
NORMAL, UNKNOWN, CONTROL, USER_DEFINED, UNUSED, BYTE = 1, 2, 3, 4, 5, 6


@dataclass(slots=True)
class Pieces:
    """What a SentencePiece file says.

    Attributes:
        pieces: text, score and type of each piece, in order of their ids.
        kind: 1 for Unigram, 2 for byte pairs.
        charsmap: compiled character normalisation; empty for none.
        add_dummy_prefix: whether a space is put before the text.
        remove_extra_whitespaces: whether runs of spaces become one, and outer ones vanish.
        split_first: whether white space is cut away first, and every word begins with a mark.
    """

    pieces: list[tuple[str, float, int]] = field(default_factory=list)
    kind: int = UNIGRAM
    charsmap: bytes = b""
    add_dummy_prefix: bool = True
    remove_extra_whitespaces: bool = True
    split_first: bool = False


def _varint(data: bytes, place: int) -> tuple[int, int]:
    """The number that begins at a place, and the place behind it.

    Raises:
        ValueError: it does not end.
    """
    value = shift = 0
    while place < len(data) and shift <= 63:
        byte = data[place]
        place += 1
        value |= (byte & 127) << shift
        shift += 7
        if byte < 128:
            return value, place
    raise ValueError("cut off inside a number")


def _fields(data: bytes) -> Iterator[tuple[int, int | bytes]]:
    """Numbers and values of the fields of one message.

    Raises:
        ValueError: the bytes are no message.
    """
    place = 0
    while place < len(data):
        key, place = _varint(data, place)
        number, wire = key >> 3, key & 7
        if wire == 0:
            value, place = _varint(data, place)
            yield number, value
            continue
        length = {1: 8, 5: 4}.get(wire, -1)
        if wire == 2:
            length, place = _varint(data, place)
        if length < 0 or place + length > len(data):
            raise ValueError(f"a field of wire type {wire} that does not fit")
        yield number, data[place : place + length]
        place += length


def parse(data: bytes) -> Pieces:
    """Read a model.

    Raises:
        ValueError: the bytes are no SentencePiece model.
    """
    model = Pieces()
    for number, value in _fields(data):
        if number == 1 and isinstance(value, bytes):
            model.pieces.append(_piece(value))
        elif number == 2 and isinstance(value, bytes):
            model.kind = next((int(kind) for n, kind in _fields(value) if n == 3 and isinstance(kind, int)), UNIGRAM)
        elif number == 3 and isinstance(value, bytes):
            _read_normalizer(value, model)
    if not model.pieces or model.kind not in (UNIGRAM, BPE):
        raise ValueError("no pieces, or neither a Unigram nor a BPE model")
    return model


def moved_by_one(model: Pieces) -> Pieces:
    """The model with ids as XLM-RoBERTa has them: `<s>`, `<pad>`, `</s>`, `<unk>`, each other piece one later, `<mask>`.

    Raises:
        ValueError: it does not begin with `<unk>`, `<s>`, `</s>`, is no Unigram model, or has pieces of another kind.
    """
    begins = [text for text, _, _ in model.pieces[:3]] == ["<unk>", "<s>", "</s>"]
    others = [text for text, _, kind in model.pieces[3:] if kind not in (NORMAL, UNUSED)]
    if not begins or others or model.kind != UNIGRAM:
        raise ValueError(
            "XLM-RoBERTa's ids need a Unigram model that begins with <unk>, <s>, </s> and has plain pieces after them, not "
            f"{others[:3] or [text for text, _, _ in model.pieces[:3]]}; put the tokenizer.json of the same model beside it"
        )
    special = [(text, 0.0, UNKNOWN if text == "<unk>" else CONTROL) for text in ("<s>", "<pad>", "</s>", "<unk>")]
    moved = [*special, *model.pieces[3:], ("<mask>", 0.0, CONTROL)]
    return replace(model, pieces=moved, split_first=True, remove_extra_whitespaces=False)


def _piece(data: bytes) -> tuple[str, float, int]:
    text, score, kind = "", 0.0, NORMAL
    for number, value in _fields(data):
        if number == 1 and isinstance(value, bytes):
            text = value.decode("utf-8")
        elif number == 2 and isinstance(value, bytes):
            (score,) = struct.unpack("<f", value)
        elif number == 3 and isinstance(value, int):
            kind = value
    return text, score, kind


def _read_normalizer(data: bytes, model: Pieces) -> None:
    for number, value in _fields(data):
        if number == 2 and isinstance(value, bytes):
            model.charsmap = value
        elif number == 3:
            model.add_dummy_prefix = bool(value)
        elif number == 4:
            model.remove_extra_whitespaces = bool(value)


def build(model: Pieces, *, lowercase: bool | None = None, accents: bool = False) -> Backend:
    """The same tokenizer on the `tokenizers` library.

    Models of ALBERT and XLNet (known by their `[CLS]` or `<cls>`) give the ids of transformers, which cleans their text
    first and cuts it at user-defined pieces; all others give those of SentencePiece itself.

    Args:
        model: as `parse` reads it.
        lowercase: whether ALBERT's and XLNet's texts are lowercased; None: ALBERT's are.
        accents: whether they keep their accents.
    """
    unknown = next((n for n, (_, _, kind) in enumerate(model.pieces) if kind == UNKNOWN), 0)
    own = sorted((text for text, _, kind in model.pieces if kind == USER_DEFINED), key=len, reverse=True)
    has_bytes = any(kind == BYTE for _, _, kind in model.pieces)
    if model.kind == UNIGRAM:
        scored = [(text, score) for text, score, _ in model.pieces]
        backend = Backend(models.Unigram(scored, unknown, has_bytes))
    else:
        vocabulary = {text: number for number, (text, _, _) in enumerate(model.pieces)}
        unk = model.pieces[unknown][0]
        merges, whole = _merges(model, vocabulary), bool(own)  # no merges lead to a user-defined piece
        backend = Backend(
            models.BPE(vocabulary, merges, unk_token=unk, fuse_unk=True, byte_fallback=has_bytes, ignore_merges=whole)
        )
    controls = {text for text, _, kind in model.pieces if kind == CONTROL}
    cleaned = bool(controls & {"[CLS]", "<cls>"})
    lower = cleaned and ("[CLS]" in controls if lowercase is None else lowercase)
    steps = _cleaning(lower=lower, accents=accents) if cleaned else []
    backend.normalizer = normalizers.Sequence([*steps, *_normalization(model, cleaned=cleaned)])
    words = cleaned or model.split_first
    scheme = "always" if words else "first"
    scheme = scheme if model.add_dummy_prefix else "never"
    parts: list[pre_tokenizers.PreTokenizer] = [
        pre_tokenizers.Metaspace(prepend_scheme=scheme, split=model.kind == UNIGRAM)
    ]
    if words:
        parts.insert(0, pre_tokenizers.WhitespaceSplit())
    elif own:  # user-defined pieces are taken as they stand, wherever they stand
        parts.append(pre_tokenizers.Split(Regex("|".join(map(_escaped, own))), "isolated"))
    backend.pre_tokenizer = pre_tokenizers.Sequence(parts)
    backend.decoder = decoders.Metaspace(prepend_scheme="always" if model.add_dummy_prefix else "never")
    special = [text for text, _, kind in model.pieces if kind in (CONTROL, UNKNOWN)]
    backend.add_special_tokens([AddedToken(text, special=True, normalized=False) for text in special])
    if cleaned:
        backend.add_tokens([AddedToken(text, normalized=False) for text in own])
    return backend


def _cleaning(*, lower: bool, accents: bool) -> list[normalizers.Normalizer]:
    """What transformers does to ALBERT's and XLNet's texts before the model's own normalisation."""
    steps: list[normalizers.Normalizer] = [normalizers.Replace("``", '"'), normalizers.Replace("''", '"')]
    if not accents:
        steps += [normalizers.NFKD(), normalizers.StripAccents()]
    return [*steps, normalizers.Lowercase()] if lower else steps


def _normalization(model: Pieces, *, cleaned: bool) -> list[normalizers.Normalizer]:
    """The model's own normalisation."""
    steps: list[normalizers.Normalizer] = []
    if model.charsmap:
        steps.append(normalizers.Precompiled(model.charsmap))
    if model.remove_extra_whitespaces:
        # a space left in front becomes the prefix, which `Metaspace` does not put where something was taken away
        steps += [] if cleaned else [normalizers.Strip(left=not model.add_dummy_prefix)]
        steps.append(normalizers.Replace(Regex(" {2,}"), " "))
    return steps


def _escaped(text: str) -> str:
    """The text as a pattern that matches nothing else."""
    return "".join(letter if letter.isalnum() else f"\\x{{{ord(letter):x}}}" for letter in text)


def _merges(model: Pieces, vocabulary: dict[str, int]) -> list[tuple[str, str]]:
    """All pairs of pieces that make a piece, best score first, as SentencePiece tries them."""
    pairs = []
    for text, score, _ in model.pieces:
        for cut in range(1, len(text)):
            left, right = text[:cut], text[cut:]
            if left in vocabulary and right in vocabulary:
                pairs.append((-score, vocabulary[left], vocabulary[right], left, right))
    return [(left, right) for _, _, _, left, right in sorted(pairs)]

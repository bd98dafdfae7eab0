"""Training tokenizers, on a sample of bounded size."""

from collections.abc import Iterable, Iterator
from typing import Any, Literal

from tokenizers import AddedToken, Regex, decoders, models, normalizers, pre_tokenizers, trainers
from tokenizers import Tokenizer as Backend

from trifold.errors import DataError
from trifold.text.tokenizer import Tokenizer

__all__ = ["Kind", "sample", "train_tokenizer"]

Kind = Literal["bpe", "byte_bpe", "wordpiece", "unigram", "character"]

SAMPLE_CHARACTERS = 12_000_000
UNIGRAM_CHARACTERS = 4_000_000
"""The Unigram trainer is some forty times slower a character than the others, and needs less text."""

HAN = r"\p{Han}"
REST = (
    rf"| ?[\p{{L}}\p{{M}}&&[^{HAN}]]{{1,64}}"
    r"| ?\p{N}{1,3}"
    r"| ?[^\s\p{L}\p{M}\p{N}]{1,16}"
    r"|\s{0,31}[\r\n]|\s{1,31}(?!\S)|\s"
)
"""What a token may not reach across, beside runs of Chinese. Every part is bounded, so that no text makes encoding slow."""

LONGEST_TOKEN = 24
"""In units of the alphabet: 24 letters, or 8 Chinese characters as bytes."""


def train_tokenizer(
    texts: Iterable[str],
    *,
    kind: Kind = "byte_bpe",
    vocab_size: int = 8192,
    num_sentinels: int = 100,
    lowercase: bool = False,
    nfc: bool = False,
    fold_width: bool = False,
    max_characters: int | None = None,
) -> Tokenizer:
    """Train a tokenizer.

    Memory is bounded by `max_characters`, whatever the size of the corpus: when more text comes, every second text kept
    so far is dropped and from then on only every second one taken, and so on, which samples the corpus evenly.

    Args:
        texts: read once, in a stream.
        kind: `byte_bpe` keeps every text exactly; `bpe` and `unigram` know characters and have an unknown token;
            `wordpiece` is BERT's; `character` has one token for each character.
        vocab_size: most tokens, special ones included.
        num_sentinels: tokens `<extra_id_0>`, ... for span corruption.
        lowercase: lower-case first (`wordpiece` only).
        nfc: normalise to NFC first.
        fold_width: turn full-width Latin letters, digits and signs into half-width ones first.
        max_characters: cap of the sample; None for 12 million (4 million for `unigram`).

    Raises:
        DataError: there is no text.

    Example:
        >>> train_tokenizer(["to be or not to be"], kind="character", vocab_size=200).encode("to be").ids.size
        5
    """
    cap = max_characters or (UNIGRAM_CHARACTERS if kind == "unigram" else SAMPLE_CHARACTERS)
    kept = sample(texts, cap)
    if not any(text.strip() for text in kept):
        raise DataError("text.nothing_to_train_on")
    roles = _roles(kind)
    specials = [*roles.values(), *(f"<extra_id_{number}>" for number in range(num_sentinels))]
    backend = _untrained(kind, roles)
    steps = _normalization(kind, lowercase=lowercase, nfc=nfc, fold_width=fold_width)
    if steps:
        backend.normalizer = normalizers.Sequence(steps)
    if kind == "character":
        _learn_characters(backend, kept, vocab_size, specials)
    else:
        backend.train_from_iterator(kept, _trainer(kind, vocab_size, specials, roles["unk"]), length=len(kept))
    if kind in ("bpe", "unigram"):
        backend.decoder = decoders.Metaspace(prepend_scheme="never")
    backend = Backend.from_str(backend.to_str())  # what is saved and what is in memory are then one and the same
    return Tokenizer(backend, kind=kind, roles=roles)


def sample(texts: Iterable[str], max_characters: int) -> list[str]:
    """An even sample of a stream, in order, of at most about `max_characters`.

    Example:
        >>> sample(["aaaa", "bbbb", "cccc", "dddd"], 8)
        ['aaaa', 'cccc']
    """
    kept: list[str] = []
    size, stride = 0, 1
    for number, text in enumerate(_parts(texts)):
        if number % stride:
            continue
        kept.append(text)
        size += len(text)
        while size > max_characters and len(kept) > 1:
            kept, stride = kept[::2], stride * 2
            size = sum(map(len, kept))
    return kept


def _parts(texts: Iterable[str], longest: int = 2**16) -> Iterator[str]:
    """Long texts in parts, so that one huge document is sampled too."""
    for text in texts:
        for start in range(0, len(text), longest):
            yield text[start : start + longest]


def _roles(kind: Kind) -> dict[str, str]:
    if kind == "wordpiece":
        return {"pad": "[PAD]", "unk": "[UNK]", "cls": "[CLS]", "sep": "[SEP]", "mask": "[MASK]"}
    return {"pad": "<pad>", "unk": "<unk>", "bos": "<s>", "eos": "</s>", "mask": "<mask>"}


def _untrained(kind: Kind, roles: dict[str, str]) -> Backend:
    """The model with its pre-tokenizer and decoder."""
    run = 32 if kind == "byte_bpe" else 8  # bytes are limited by LONGEST_TOKEN, characters by the run itself
    isolated = pre_tokenizers.Split(Regex(f"{HAN}{{1,{run}}}{REST}"), "isolated")
    if kind == "byte_bpe":
        backend = Backend(models.BPE())
        byte_level = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
        backend.pre_tokenizer = pre_tokenizers.Sequence([isolated, byte_level])
        backend.decoder = decoders.ByteLevel()
    elif kind == "wordpiece":
        backend = Backend(models.WordPiece(unk_token=roles["unk"]))
        backend.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
        backend.decoder = decoders.WordPiece(cleanup=False)
    elif kind == "character":
        backend = Backend(models.WordLevel(unk_token=roles["unk"]))
        backend.pre_tokenizer = pre_tokenizers.Split(Regex(r"(?m:.)|\n"), "isolated")
        backend.decoder = decoders.Fuse()
    else:
        backend = Backend(models.BPE(unk_token=roles["unk"]) if kind == "bpe" else models.Unigram())
        metaspace = pre_tokenizers.Metaspace(prepend_scheme="never", split=False)
        backend.pre_tokenizer = pre_tokenizers.Sequence([isolated, metaspace])
    return backend


def _trainer(kind: Kind, vocab_size: int, specials: list[str], unk: str) -> Any:
    if kind == "unigram":
        return trainers.UnigramTrainer(
            vocab_size=vocab_size, special_tokens=specials, unk_token=unk, show_progress=False, max_piece_length=16
        )
    if kind == "wordpiece":
        return trainers.WordPieceTrainer(
            vocab_size=vocab_size,
            special_tokens=specials,
            limit_alphabet=max(vocab_size // 2, 256),
            show_progress=False,
        )
    alphabet = pre_tokenizers.ByteLevel.alphabet() if kind == "byte_bpe" else []
    return trainers.BpeTrainer(
        vocab_size=vocab_size,
        special_tokens=specials,
        initial_alphabet=alphabet,
        limit_alphabet=max(vocab_size // 2, 256),
        max_token_length=LONGEST_TOKEN,
        show_progress=False,
    )


def _normalization(kind: Kind, *, lowercase: bool, nfc: bool, fold_width: bool) -> list[normalizers.Normalizer]:
    steps: list[normalizers.Normalizer] = []
    if nfc:
        steps.append(normalizers.NFC())
    if fold_width:  # U+FF01..U+FF5E are U+0021..U+007E, U+3000 is a space
        steps += [normalizers.Replace(chr(code), chr(code - 0xFEE0)) for code in range(0xFF01, 0xFF5F)]
        steps.append(normalizers.Replace("\u3000", " "))
    if kind == "wordpiece":
        steps.append(normalizers.BertNormalizer(lowercase=lowercase, strip_accents=lowercase))
    return steps


def _learn_characters(backend: Backend, texts: list[str], vocab_size: int, specials: list[str]) -> None:
    """The most frequent characters; ties by code point."""
    counts: dict[str, int] = {}
    for text in texts:
        seen = backend.normalizer.normalize_str(text) if backend.normalizer else text
        for character in set(seen):
            counts[character] = counts.get(character, 0) + seen.count(character)
    room = max(vocab_size - len(specials), 0)
    chosen = sorted(sorted(counts), key=lambda one: -counts[one])[:room]
    vocabulary = {token: number for number, token in enumerate([*specials, *sorted(chosen)])}
    backend.model = models.WordLevel(vocabulary, unk_token=specials[1])
    backend.add_special_tokens([AddedToken(token, special=True) for token in specials])

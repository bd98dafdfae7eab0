"""Training tokenizers, on a sample of bounded size."""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Literal

from tokenizers import AddedToken, Regex, decoders, models, normalizers, pre_tokenizers, trainers
from tokenizers import Tokenizer as Backend

from trifold.config import require
from trifold.errors import DataError
from trifold.text.pattern import cuts
from trifold.text.tokenizer import Tokenizer

__all__ = ["SAMPLE_CHARACTERS", "Kind", "sample", "train_tokenizer"]

MOST = 0.9
"""Part of a text that a vocabulary of characters must know; the rest becomes the unknown token."""
Kind = Literal["bpe", "byte_bpe", "wordpiece", "unigram", "character"]

SAMPLE_CHARACTERS = 12_000_000
UNIGRAM_CHARACTERS = 4_000_000
"""The Unigram trainer is some forty times slower a character than the others, and needs less text."""

METASPACE = "\u2581"  # stands for a space
WHITESPACE = ("\t", "\n", "\r", "\u3000")
"""What every text may have between its words: always known where the kind gives texts back."""

LONGEST_TOKEN = 24
"""In units of the alphabet: 24 letters, or 8 Chinese characters as bytes."""


def train_tokenizer(  # noqa: PLR0913 - options that have nothing to do with one another, all by name
    texts: Iterable[str],
    *,
    kind: Kind = "byte_bpe",
    vocab_size: int = 8192,
    num_sentinels: int = 100,
    lowercase: bool = False,
    nfc: bool = False,
    fold_width: bool = False,
    max_characters: int | None = None,
    special_tokens: Sequence[str] = (),
    user_tokens: Sequence[str] = (),
    pad_last: bool = False,
) -> Tokenizer:
    """Train a tokenizer.

    Memory is bounded by `max_characters`, whatever the size of the corpus: when more text comes, every second text kept
    so far is dropped and from then on only every second one taken, and so on, which samples the corpus evenly.

    The same texts give the same tokenizer, in every process; not so `unigram`, whose trainer in the tokenizers library
    sums in an order that differs from process to process.

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
        special_tokens: further tokens that stand for no text, such as `<|im_start|>`; their spelling in a text is text.
        user_tokens: pieces of text that are always one token, such as `GPT-4` or a product's name.
        pad_last: padding gets the last id instead of the first, where Marian's models have it.

    Raises:
        DataError: there is no text, or `vocab_size` is too small for the characters of `unigram` or `character`.
        ConfigError: a token of one's own is empty or stands twice, or they leave no room in the vocabulary.

    Example:
        >>> train_tokenizer(["to be or not to be"], kind="character", vocab_size=200).encode("to be").ids.size
        5
    """
    cap = max_characters or (UNIGRAM_CHARACTERS if kind == "unigram" else SAMPLE_CHARACTERS)
    kept = sample(texts, cap)
    if not any(text.strip() for text in kept):
        raise DataError("text.nothing_to_train_on")
    roles = _roles(kind)
    sentinels = [f"<extra_id_{number}>" for number in range(num_sentinels)]
    given = [*roles.values(), *sentinels]
    _check_own_tokens(given, [*special_tokens, *user_tokens], vocab_size)
    specials = [token for token in (*given, *special_tokens) if not (pad_last and token == roles["pad"])]
    backend = _untrained(kind, roles)
    steps = _normalization(kind, lowercase=lowercase, nfc=nfc, fold_width=fold_width)
    if steps:
        backend.normalizer = normalizers.Sequence(steps)
    ways = {
        "character": _learn_characters,
        "wordpiece": _learn_pieces,
        "unigram": _learn_unigrams,
        "byte_bpe": _learn_byte_merges,
        "bpe": _learn_letter_merges,
    }
    ways[kind](backend, kept, vocab_size - len(user_tokens) - pad_last, specials)
    backend.add_tokens([AddedToken(token, normalized=False) for token in user_tokens])
    backend.add_special_tokens([AddedToken(roles["pad"], normalized=False)])  # does nothing where it is there
    if kind in ("byte_bpe", "bpe", "unigram"):  # a space is of the word after it, and so of what stands hidden
        hides = [AddedToken(token, lstrip=True, normalized=False) for token in (roles["mask"], *sentinels)]
        backend.add_special_tokens(hides)
    if kind in ("bpe", "unigram"):
        backend.decoder = decoders.Metaspace(prepend_scheme="never")
    backend = Backend.from_str(backend.to_str())  # what is saved and what is in memory are then one and the same
    return Tokenizer(backend, kind=kind, roles=roles)


def _check_own_tokens(given: list[str], own: list[str], vocab_size: int) -> None:
    """Tokens of the user's own beside those that are `given`: each once, with room for the text's."""
    tokens = [*given, *own]
    distinct = len(set(tokens)) == len(tokens) and all(token.strip() for token in tokens)
    twice = ", ".join(sorted({token for token in tokens if tokens.count(token) > 1 or not token.strip()}))
    allowed = "each token once, none of them blank"
    require(distinct, where="special_tokens, user_tokens", given=twice, allowed=allowed)
    few = f"more than the {len(tokens)} tokens with a place of their own"
    require(not own or len(tokens) < vocab_size, where="vocab_size", given=vocab_size, allowed=few)


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
    # bytes are limited by LONGEST_TOKEN, characters by the run itself
    isolated = pre_tokenizers.Split(Regex(cuts(32 if kind == "byte_bpe" else 8)), "isolated")
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


def _learn_byte_merges(backend: Backend, texts: list[str], vocab_size: int, specials: list[str]) -> None:
    _learn_merges(backend, texts, vocab_size, specials, pre_tokenizers.ByteLevel.alphabet())


def _learn_letter_merges(backend: Backend, texts: list[str], vocab_size: int, specials: list[str]) -> None:
    normalized = _normalized(backend, texts)
    letters = sorted({*_alphabet(normalized, vocab_size), *_blanks(normalized)})
    _learn_merges(backend, texts, vocab_size, specials, [*letters, METASPACE])


def _learn_merges(
    backend: Backend, texts: list[str], vocab_size: int, specials: list[str], alphabet: Sequence[str]
) -> None:
    """Byte-pair merges over a fixed alphabet: ties then fall by the alphabet's order and not by that of a hash table."""
    trainer: Any = trainers.BpeTrainer(
        vocab_size=vocab_size,
        special_tokens=specials,
        initial_alphabet=alphabet,
        limit_alphabet=len(alphabet),
        max_token_length=LONGEST_TOKEN,
        show_progress=False,
    )
    backend.train_from_iterator(texts, trainer, length=len(texts))


def _learn_pieces(backend: Backend, texts: list[str], vocab_size: int, specials: list[str]) -> None:
    """WordPiece by merges; `##x`, the letter x inside a word, has its number before any word is read.

    The trainer numbers these as it meets them, in the order of a hash table that differs from process to process, and ties
    between merges fall by number. Given as special tokens of a trainer of their own they keep the order they are given in.
    """
    normalized = _normalized(backend, texts)
    alphabet, words = _alphabet(normalized, vocab_size), {word for text in normalized for word in text.split()}
    inside = {
        letter for word in words for part, _ in backend.pre_tokenizer.pre_tokenize_str(word) for letter in part[1:]
    }
    own = [*specials, *(f"##{letter}" for letter in alphabet if letter in inside)]
    trained = Backend(models.WordPiece(unk_token=specials[1]))
    trained.normalizer, trained.pre_tokenizer = backend.normalizer, backend.pre_tokenizer
    trainer: Any = trainers.WordPieceTrainer(
        vocab_size=vocab_size,
        special_tokens=own,
        initial_alphabet=alphabet,
        limit_alphabet=len(alphabet),
        show_progress=False,
    )
    trained.train_from_iterator(texts, trainer, length=len(texts))
    backend.model = models.WordPiece(trained.get_vocab(), unk_token=specials[1])
    backend.add_special_tokens([AddedToken(token, special=True) for token in specials])


def _learn_unigrams(backend: Backend, texts: list[str], vocab_size: int, specials: list[str]) -> None:
    counts = _counts(_normalized(backend, texts))
    letters = len({*counts, *WHITESPACE}) + len(specials)
    if letters > vocab_size:
        raise DataError("text.vocabulary_too_small", given=vocab_size, least=letters)
    trainer: Any = trainers.UnigramTrainer(
        vocab_size=vocab_size,
        special_tokens=specials,
        unk_token=specials[1],
        show_progress=False,
        max_piece_length=16,
        initial_alphabet=list(WHITESPACE),
    )
    backend.train_from_iterator(texts, trainer, length=len(texts))


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
    counts = _counts(_normalized(backend, texts))
    room = max(vocab_size - len(specials), 0)
    blanks = [letter for letter in counts if letter.isspace()]
    others = {letter: count for letter, count in counts.items() if not letter.isspace()}
    chosen = [*blanks, *_most_frequent(others, max(room - len(blanks), 0))]
    unseen = [letter for letter in (" ", *WHITESPACE) if letter not in counts]  # where there is room for them
    chosen = sorted([*chosen, *unseen[: max(room - len(chosen), 0)]])
    if sum(counts.get(letter, 0) for letter in chosen) < MOST * sum(counts.values()):
        least = _fewest(counts, MOST) + len(specials)
        raise DataError("text.characters_left_out", given=vocab_size, least=least, share=f"{MOST:.0%}")
    vocabulary = {token: number for number, token in enumerate([*specials, *chosen])}
    backend.model = models.WordLevel(vocabulary, unk_token=specials[1])
    backend.add_special_tokens([AddedToken(token, special=True) for token in specials])


def _blanks(texts: list[str]) -> set[str]:
    """White space that a kind which gives texts back must know, the space itself aside."""
    return {*WHITESPACE, *(letter for text in texts for letter in set(text) if letter.isspace())} - {" "}


def _alphabet(texts: list[str], vocab_size: int) -> list[str]:
    """The letters of normalized texts that a vocabulary of this size may hold."""
    counts = _counts(texts)
    return _most_frequent(
        {letter: count for letter, count in counts.items() if not letter.isspace()}, max(vocab_size // 2, 256)
    )


def _most_frequent(counts: dict[str, int], room: int) -> list[str]:
    """By code point; of those equally frequent the first ones by code point are kept."""
    return sorted(sorted(sorted(counts), key=lambda one: -counts[one])[:room])


def _fewest(counts: dict[str, int], share: float) -> int:
    """How many of the most frequent characters make up this share of a text."""
    wanted, seen = share * sum(counts.values()), 0
    for number, count in enumerate(sorted(counts.values(), reverse=True), 1):
        seen += count
        if seen >= wanted:
            return number
    return len(counts)


def _counts(texts: list[str]) -> dict[str, int]:
    """How often each character stands in normalized texts."""
    counts: dict[str, int] = {}
    for text in texts:
        for character in set(text):
            counts[character] = counts.get(character, 0) + text.count(character)
    return counts


def _normalized(backend: Backend, texts: list[str]) -> list[str]:
    return [backend.normalizer.normalize_str(text) for text in texts] if backend.normalizer else texts

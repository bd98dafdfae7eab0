"""In which encoding a file is written: by its mark, by what the user says, and by its looks where neither holds."""

import codecs
import io
import re

from trifold.errors import UsageError

__all__ = ["Recoded", "check_encoding", "choose_encoding", "is_line_safe", "mark_of", "recognise"]

MARKS = (
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
FOREIGN = re.compile(rb"[\xc2-\xdf][\x80-\xbf]|[\xe0-\xef][\x80-\xbf]{2}|[\xf0-\xf4][\x80-\xbf]{3}")
"""A character of UTF-8 that is not ASCII."""
USUAL = {
    "gb18030": re.compile(rb"[\xb0-\xd7][\xa1-\xfe]|[\xa1-\xa3][\xa1-\xfe]"),
    "big5": re.compile(rb"[\xa4-\xc6][\x40-\x7e\xa1-\xfe]|[\xa1-\xa2][\x40-\x7e\xa1-\xfe]"),
}
"""The 3,755 and 5,401 frequent characters of the two Chinese standards, and their punctuation, in bytes."""
SCRIPTS = {
    "shift_jis": re.compile("[\u3001-\u301f\u3041-\u30ff]"),
    "euc_jp": re.compile("[\u3001-\u301f\u3041-\u30ff]"),
    "euc_kr": re.compile("[\u3001-\u301f\uac00-\ud7a3]"),
}
WESTERN = re.compile("[àâäáãåçéèêëíìîïñóòôöõøúùûüßæœÀÂÄÁÃÅÇÉÈÊËÍÎÏÑÓÔÖÕØÚÙÛÜÆŒ¿¡«»°§£€’‘“”„–—…\u00a0]")


def check_encoding(name: str) -> str:
    """The name by which Python knows an encoding.

    Raises:
        UsageError: it knows none of that name.

    Example:
        >>> check_encoding("GBK"), check_encoding("UTF8")
        ('gbk', 'utf-8')
    """
    try:
        known = codecs.lookup(name)
        "a".encode(known.name)  # refuses what turns bytes into bytes
    except (LookupError, TypeError, ValueError):
        raise UsageError("data.no_encoding", given=name) from None
    return known.name


def mark_of(sample: bytes) -> str | None:
    """The encoding that a byte order mark at the beginning names.

    Example:
        >>> mark_of("text".encode("utf-16"))
        'utf-16'
    """
    return next((name for mark, name in MARKS if sample.startswith(mark)), None)


def choose_encoding(sample: bytes, wanted: str) -> str:
    """How to decode a file that begins so: its mark decides, then what is wanted.

    A file that is plainly UTF-8 among files of another encoding stays UTF-8.

    Example:
        >>> choose_encoding("中文".encode("gbk"), "gbk"), choose_encoding("中文文本".encode(), "gbk")
        ('gbk', 'utf-8')
    """
    marked = mark_of(sample)
    if marked is not None:
        return marked
    if wanted == "utf-8" or not is_line_safe(wanted):
        return wanted
    foreign = sum(byte >= 0x80 for byte in sample)  # a few could be both by chance
    return "utf-8" if foreign >= 8 and _decode(sample, "utf-8") else wanted


def is_line_safe(encoding: str) -> bool:
    r"""Whether a line end is the byte \n and nothing else is, so that lines can be cut before they are decoded.

    Example:
        >>> is_line_safe("gb18030"), is_line_safe("utf-16-le")
        (True, False)
    """
    return "\n".encode(encoding) == b"\n" and "a".encode(encoding) == b"a"


def recognise(sample: bytes) -> str | None:
    """The encoding that bytes which are not UTF-8 look like; None where that is not plain.

    Example:
        >>> recognise("这部电影很好看，我们都喜欢。".encode("gbk"))
        'gb18030'
        >>> recognise("Le café est très bon.".encode("latin-1"))
        'cp1252'
    """
    wide = _without_mark(sample)
    if wide is not None:
        return wide
    bad = sample.decode("utf-8", "replace").count("\ufffd")
    if not bad or len(FOREIGN.findall(sample)) > bad:
        return None  # UTF-8 with some damage
    scores = {name: _share(sample, name) for name in (*USUAL, *SCRIPTS)}
    best = "euc_kr" if scores["euc_kr"] > 0.95 else max(scores, key=lambda name: scores[name])
    if scores[best] >= (0.85 if best in USUAL else 0.5):
        return best
    return "cp1252" if _is_western(sample) else _by_library(sample)


def _without_mark(sample: bytes) -> str | None:
    """UTF-16 is full of zero bytes at every other place."""
    if sample.count(0) * 5 < len(sample) or len(sample) < 4:
        return None
    even, odd = sample[::2].count(0), sample[1::2].count(0)
    return "utf-16-le" if odd > 4 * even else "utf-16-be" if even > 4 * odd else None


def _decode(sample: bytes, name: str) -> str:
    """The text of a sample that may end within a character; empty where it is not of that encoding."""
    try:
        return codecs.getincrementaldecoder(name)().decode(sample)
    except ValueError:
        return ""


def _share(sample: bytes, name: str) -> float:
    """How much of what is not ASCII is frequent in the languages of an encoding."""
    text = _decode(sample, name)
    foreign = [letter for letter in text if ord(letter) >= 0x80]
    if not foreign:
        return 0.0
    if name in SCRIPTS:
        return len(SCRIPTS[name].findall(text)) / len(foreign)
    usual = USUAL[name]
    return sum(usual.fullmatch(letter.encode(name)) is not None for letter in foreign[:20_000]) / len(foreign[:20_000])


def _is_western(sample: bytes) -> bool:
    text = _decode(sample, "cp1252")
    foreign = [one for one in text if ord(one) >= 0x80]
    letters = sum(one.isalpha() for one in text)
    accented = sum(one.isalpha() for one in foreign)
    return bool(foreign) and len(WESTERN.findall(text)) >= 0.9 * len(foreign) and accented * 3 <= letters


def _by_library(sample: bytes) -> str | None:
    from charset_normalizer import from_bytes

    if sum(byte >= 0x80 for byte in sample) < 8:
        return None  # too little to go by
    best = from_bytes(sample[: 2**16]).best()
    return None if best is None or best.encoding in ("utf_8", "ascii") else best.encoding


class Recoded(io.RawIOBase):
    """A stream of bytes, written anew in UTF-8.

    Args:
        stream: the bytes.
        encoding: theirs.
        errors: as in `bytes.decode`.

    Example:
        >>> Recoded(io.BytesIO("一".encode("utf-16")), "utf-16").read().decode()
        '一'
    """

    def __init__(self, stream: io.BufferedIOBase, encoding: str, errors: str = "strict") -> None:
        self._stream, self._rest, self._place, self._ended = stream, b"", 0, False
        self._decoder = codecs.getincrementaldecoder(encoding)(errors)

    def readable(self) -> bool:
        """True."""
        return True

    def readinto(self, buffer: bytearray | memoryview) -> int:  # type: ignore[override]
        """Fill the buffer as far as there is text at hand."""
        while not self._rest and not self._ended:
            block = self._stream.read(2**16)
            self._ended = not block
            try:
                self._rest = self._decoder.decode(block, final=self._ended).encode("utf-8", "replace")
            except UnicodeDecodeError as error:
                error.start += self._place
                raise
            self._place += len(block)
        size = min(len(buffer), len(self._rest))
        buffer[:size], self._rest = self._rest[:size], self._rest[size:]
        return size

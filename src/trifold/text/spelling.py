"""Tokens of bytes in readable form: a token may hold a part of a character, which no text can show."""

__all__ = ["show_bytes"]

PLAIN = (*range(33, 127), *range(161, 173), *range(174, 256))
"""Bytes that stand for themselves in the spelling of byte-level tokens; the others follow from 256 on, in their order."""
BYTE_OF = {chr(byte): byte for byte in PLAIN} | {
    chr(256 + number): byte for number, byte in enumerate(byte for byte in range(256) if byte not in PLAIN)
}
ESCAPED = 0xDC00
"""Where Python puts bytes that are no character."""


def show_bytes(token: str) -> str:
    """The text of a byte-level token by its spelling, bytes that make no whole character as `<0xE4>`.

    Example:
        >>> show_bytes("Ġto"), show_bytes("ä½"), show_bytes("ä½ł")
        (' to', '<0xE4><0xBD>', '你')
    """
    known = all(letter in BYTE_OF for letter in token)
    text = bytes(BYTE_OF[letter] for letter in token).decode("utf-8", "surrogateescape") if known else token
    return "".join(f"<0x{ord(letter) - ESCAPED:02X}>" if "\udc80" <= letter <= "\udcff" else letter for letter in text)

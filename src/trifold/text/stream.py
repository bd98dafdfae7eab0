"""Decoding one token at a time without ever showing half a character."""

from collections.abc import Callable, Sequence

__all__ = ["UNFINISHED", "StreamDecoder"]

UNFINISHED = "\ufffd"
"""What stands in a text for bytes that make no whole character."""
PATIENCE = 64
"""Tokens to wait for the rest of a character before what there is of it is shown as it is."""


class StreamDecoder:
    """Gives the text that each new token completes.

    A character may be spread over several tokens; until its last byte has come, decoding ends in U+FFFD, and that end is
    held back. Only the tokens since the last finished text are decoded again, so a stream costs time linear in its length.

    Args:
        decode: ids to text.

    Example:
        >>> stream = StreamDecoder(lambda ids: bytes(ids).decode(errors="replace"))
        >>> [stream.push(byte) for byte in "é!".encode()]
        ['', 'é', '!']
    """

    def __init__(self, decode: Callable[[Sequence[int]], str]) -> None:
        self.decode = decode
        self.ids: list[int] = []
        self.shown = 0  # ids before this one are context: their text is out
        self.text = ""

    def push(self, token: int) -> str:
        """Add a token; give the text that is now complete, often one word, sometimes nothing."""
        self.ids.append(token)
        whole = self.decode(self.ids)
        finished = whole.rstrip(UNFINISHED)
        if finished == whole:
            return self._give(whole)
        if len(self.ids) - self.shown < PATIENCE:
            new = finished[len(self.text) :]
            self.text += new
            return new
        new = whole[len(self.text) :]
        self.ids, self.shown, self.text = [], 0, ""
        return new

    def finish(self) -> str:
        """The text of what is left, when no more tokens come."""
        return self._give(self.decode(self.ids))

    def _give(self, whole: str) -> str:
        new = whole[len(self.text) :]
        # keep the last tokens as context: some tokenizers put a space before a token only when another precedes it
        self.ids = self.ids[self.shown :]
        self.text = self.decode(self.ids)
        self.shown = len(self.ids)
        return new

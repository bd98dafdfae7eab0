"""What generation gives back, and the text that may already be shown while it grows."""

from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Literal, NamedTuple

from trifold.text import StreamDecoder

__all__ = ["FinishReason", "Generation", "Growing", "StopFilter", "StreamedToken", "note_cut", "pass_on", "shown"]

FinishReason = Literal["end", "stop", "length"]


@dataclass(frozen=True, slots=True)
class Generation:
    """A generated text.

    Attributes:
        text: what was generated, without the prompt, the end token and the stop string, and without bytes that spell no
            whole character.
        ids: its tokens, the end token (or those of the stop string) included.
        logprobs: log-probability of each token under the model itself, before temperature and filters.
        finish_reason: `end` (the model ended it), `stop` (a stop string came) or `length` (no room for more).
        prompt_cut: how many tokens of the prompt were dropped because it is longer than the model's context.

    Example:
        >>> Generation("be", (7, 2), (-0.5, -0.1), "end").text
        'be'
    """

    text: str
    ids: tuple[int, ...]
    logprobs: tuple[float, ...]
    finish_reason: FinishReason
    prompt_cut: int = 0


class StreamedToken(NamedTuple):
    """A token of a text that is being written.

    Attributes:
        text: what can be shown since the token before: nothing, where a character or a stop string may not be complete yet.
        id: of the token.
        logprob: under the model itself, before temperature and filters.

    Example:
        >>> StreamedToken("to", 7, -0.5).text
        'to'
    """

    text: str
    id: int
    logprob: float


class StopFilter:
    """Lets text through up to the first stop string, and holds back what may become one.

    Example:
        >>> stops = StopFilter(["END"])
        >>> [stops.push(piece) for piece in ("1 E", "2 EN", "D 3")], stops.stopped
        (['1 ', 'E2 ', ''], True)
    """

    def __init__(self, stops: Sequence[str]) -> None:
        self.stops, self.held, self.stopped = tuple(stops), "", False

    def push(self, piece: str) -> str:
        """Add text; give what can be shown now."""
        if self.stopped:
            return ""
        held = self.held + piece
        matches = [(held.find(stop) + len(stop), held.find(stop)) for stop in self.stops if stop in held]
        if matches:  # the one that is complete first, however the pieces were cut
            self.stopped, self.held = True, ""
            return held[: min(matches)[1]]
        size = max((self._overlap(held, stop) for stop in self.stops), default=0)
        self.held = held[len(held) - size :]
        return held[: len(held) - size]

    def finish(self) -> str:
        """Give what was held back, when no more text comes."""
        held, self.held = self.held, ""
        return held

    @staticmethod
    def _overlap(text: str, stop: str) -> int:
        """How many characters at the end of `text` begin `stop`."""
        sizes = range(min(len(text), len(stop) - 1), 0, -1)
        return next((size for size in sizes if text.endswith(stop[:size])), 0)


class Growing:
    """One text while it is being generated.

    Args:
        decoder: turns tokens into text, never half a character.
        ends: tokens that end the text.
        stops: strings that end the text.
        limit: most tokens.

    Example:
        >>> growing = Growing(StreamDecoder(lambda ids: "".join(map(chr, ids))), {0}, ["c"], limit=9)
        >>> [growing.push(ord(letter), -1.0) for letter in "abc"], growing.finish_reason
        (['a', 'b', ''], 'stop')
    """

    def __init__(self, decoder: StreamDecoder, ends: Collection[int], stops: Sequence[str], limit: int) -> None:
        self.decoder, self.ends, self.limit = decoder, ends, limit
        self.stops = StopFilter(stops)
        self.ids: list[int] = []
        self.logprobs: list[float] = []
        self.shown: list[str] = []
        self.finish_reason: FinishReason | None = None

    def push(self, token: int, logprob: float) -> str:
        """Add a token; give the text that can be shown now."""
        self.ids.append(token)
        self.logprobs.append(logprob)
        text = ""
        if token in self.ends:
            self.finish_reason = "end"
        else:
            text = self.stops.push(_whole(self.decoder.push(token)))
        if self.stops.stopped:
            self.finish_reason = "stop"
        elif self.finish_reason is None and len(self.ids) >= self.limit:
            self.finish_reason = "length"
        if self.finish_reason is not None:
            text += self.stops.push(_whole(self.decoder.finish()))
            if self.stops.stopped:
                self.finish_reason = "stop"
            text += self.stops.finish()
        self.shown.append(text)
        return text

    def result(self) -> Generation:
        """The finished text."""
        assert self.finish_reason is not None, "the text is still growing"
        return Generation("".join(self.shown), tuple(self.ids), tuple(self.logprobs), self.finish_reason)


def _whole(text: str) -> str:
    """A text without what stands for parts of characters."""
    return text.replace("\ufffd", "")


def note_cut(text: Generation, tokens: int) -> Generation:
    """The text, which says that so many tokens of its prompt were dropped.

    Example:
        >>> text = Generation("be", (3,), (-0.5,), "length")
        >>> note_cut(text, 2).prompt_cut
        2
    """
    return replace(text, prompt_cut=tokens) if tokens else text


def pass_on(pieces: Iterator[str], on_token: Callable[[str], object]) -> Generation:
    """Pass on the pieces of a text as they come; the whole of it."""
    while True:
        try:
            piece = next(pieces)
        except StopIteration as end:
            return end.value
        on_token(piece)


def shown(tokens: Iterator[StreamedToken]) -> Iterator[str]:
    """What the tokens show; gives back, as the iterator of tokens does, the whole text."""
    while True:
        try:
            text = next(tokens).text
        except StopIteration as end:
            return end.value
        if text:
            yield text

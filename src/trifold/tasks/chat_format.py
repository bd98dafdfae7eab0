"""From turns to token ids, by a chat template: the same code in training, in evaluation and in talking.

The template's special tokens are tokens; the same spelling in what somebody says is text. The ids are those of
transformers' `apply_chat_template`, since the text is encoded as a whole.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from trifold.errors import ModelFileError
from trifold.example import Ids
from trifold.tasks.conversation import Turn
from trifold.text import Tokenizer
from trifold.text.template import DEFAULT, ChatTemplate, Rendered

__all__ = ["ChatFormat", "Laid"]

MARKS = 4
"""Characters of the private use area that stand around answers, and around texts that are no special tokens."""
PRIVATE, LAST_PRIVATE = 0xF0000, 0xFFFF0
GAP = " ... "
LEAST, SPARE = 8, 2
"""Tokens that stay of a text which is shortened, and what the places where it was cut may cost."""
GENERATION = re.compile(r"\{%-?\s*generation\b")


@dataclass(frozen=True, slots=True)
class Laid:
    """A conversation as token ids.

    Attributes:
        ids: the tokens.
        answers: for each token, the number of the answer that it belongs to, from 0; -1 for none.

    Example:
        >>> Laid(np.array([5, 6]), np.array([-1, 0])).answers.tolist()
        [-1, 0]
    """

    ids: Ids
    answers: NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class _Marked:
    """A text, where its answers are, and where it must be read as plain characters."""

    text: str
    answers: list[tuple[int, int]]
    plain: list[tuple[int, int]]


class ChatFormat:
    r"""Lays conversations out for one tokenizer.

    Args:
        tokenizer: the model's.
        source: the template; None for the tokenizer's own, else Trifold's.

    Example:
        >>> from trifold.text import train_tokenizer
        >>> tokenizer = train_tokenizer(["hello world"] * 9, kind="byte_bpe", vocab_size=300)
        >>> tokenizer.decode(ChatFormat(tokenizer).prompt([Turn("user", "hello")]), skip_special=False)
        '<s>### hello\n###\n'
    """

    def __init__(self, tokenizer: Tokenizer, source: str | None = None) -> None:
        self.tokenizer = tokenizer
        tokens = {f"{role}_token": text for role, text in tokenizer.roles.items()}
        self.template = ChatTemplate(source or tokenizer.chat_template or DEFAULT, tokens)
        added = tokenizer.backend.get_added_tokens_decoder().values()
        spelled = sorted((token.content for token in added if token.special), key=len, reverse=True)
        self._special = re.compile("|".join(map(re.escape, spelled)) or "(?!)")

    def prompt(self, turns: Sequence[Turn]) -> list[int]:
        """The ids up to where the assistant is to speak.

        Raises:
            ModelFileError: the template refuses the turns.
        """
        (marked,) = self._render([turns], answer=True)
        return self._encode(marked).ids.tolist()

    def problem(self, turns: Sequence[Turn]) -> str:
        """What the template says against these turns; nothing where it renders them."""
        (found,) = self.template.render_many([[turn.message() for turn in turns]])
        return found.problem

    def lay(self, conversations: Sequence[Sequence[Turn]]) -> list[Laid]:
        """Whole conversations, with their answers and the token that ends each.

        Raises:
            ModelFileError: the template refuses one, or it cannot be told where an answer is.
        """
        return [self._encode(one) for one in self._render(conversations, answer=False)]

    @cached_property
    def ends(self) -> frozenset[int]:
        """The tokens that end an answer: the tokenizer's own, and what the template puts behind one."""
        tokens = set() if self.tokenizer.special.eos is None else {self.tokenizer.special.eos}
        asked = [Turn("user", "a"), Turn("assistant", "b")]
        for turns in (asked, [*asked, asked[0]]):
            (rendered,) = self.template.render_many([[turn.message() for turn in turns]])
            place = rendered.text.rfind("b")
            end = self._end_behind(rendered.text, place + 1) if place >= 0 else None
            token = None if end is None else self.tokenizer.token_to_id(end[0])
            tokens |= set() if token is None else {token}
        return frozenset(tokens)

    def _end_behind(self, text: str, place: int) -> re.Match[str] | None:
        """The special token that stands at a place, or behind blanks there."""
        blanks = len(text) - len(text[place:].lstrip()) if text[place:].strip() else len(text)
        return self._special.match(text, blanks)

    def _render(self, conversations: Sequence[Sequence[Turn]], *, answer: bool) -> list[_Marked]:
        """Each as a text with what is to be known about its parts."""
        contents = "".join(turn.content for turns in conversations for turn in turns)
        begin, end, plain, other = _free_marks(contents)
        tagged = GENERATION.search(self.template.source) is not None

        def with_marks(turn: Turn) -> dict[str, str]:
            text = self._special.sub(lambda match: f"{plain}{match[0]}{other}", turn.content)
            if turn.role == "assistant" and not tagged:
                bare = text.strip()
                at = text.find(bare)
                text = f"{text[:at]}{begin}{bare}{end}{text[at + len(bare) :]}"
            return {"role": turn.role, "content": text}

        messages = [[turn.message() for turn in turns] for turns in conversations]
        wanted = self.template.render_many(messages, answer=answer)
        seen = [[with_marks(turn) for turn in turns] for turns in conversations]
        if seen == messages and not tagged:
            return [_Marked(_checked(rendering), [], []) for rendering in wanted]
        renderings = self.template.render_many(seen, answer=answer, marks=(begin, end))
        texts = [_unmark(_checked(rendering), (begin, end, plain, other)) for rendering in renderings]
        for turns, rendering, marked in zip(conversations, wanted, texts, strict=True):
            count = sum(turn.role == "assistant" for turn in turns)
            if marked.text != _checked(rendering) or (not answer and len(marked.answers) != count):
                raise ModelFileError("text.template_answers", problem=turns[-1].content[:80])
        return [self._from_prompt(turns, marked) for turns, marked in zip(conversations, texts, strict=True)]

    def _from_prompt(self, turns: Sequence[Turn], marked: _Marked) -> _Marked:
        """With each answer from where the prompt before it ends, up to the token that ends it."""
        if not marked.answers:
            return marked
        places = [place for place, turn in enumerate(turns) if turn.role == "assistant"]
        before = [[turn.message() for turn in turns[:place]] for place in places if place]
        prompts = iter(self.template.render_many(before, answer=True))
        answers = []
        for place, (start, stop) in zip(places, marked.answers, strict=False):
            prompt = next(prompts).text if place else ""
            said = prompt and len(prompt) <= start and marked.text.startswith(prompt)
            closing = self._end_behind(marked.text, stop)
            answers.append((len(prompt) if said else start, closing.end() if closing else stop))
        return replace(marked, answers=answers)

    def _encode(self, marked: _Marked) -> Laid:
        ids: list[int] = []
        answers: list[NDArray[np.int64]] = []
        for start, stop, plain in _pieces(len(marked.text), marked.plain):
            piece_ids, offsets = self._piece(marked.text[start:stop], plain=plain, first=not start)
            number = np.full(len(piece_ids), -1, dtype=np.int64)
            for which, (low, high) in enumerate(marked.answers):
                number[(offsets[:, 1] + start > low) & (offsets[:, 0] + start < high)] = which
            ids += piece_ids
            answers.append(number)
        which = np.concatenate(answers) if answers else np.zeros(0, dtype=np.int64)
        laid = Laid(np.array(ids, dtype=np.int64), which)
        open_end = marked.answers and not marked.text[marked.answers[-1][1] :].strip()
        return self._ended(laid) if open_end else laid

    def _ended(self, laid: Laid) -> Laid:
        """With the tokenizer's end token behind the last answer, where the template puts none there."""
        end, places = self.tokenizer.special.eos, np.flatnonzero(laid.answers >= 0)
        if end is None or not len(places) or int(laid.ids[places[-1]]) in self.ends:
            return laid
        return Laid(np.append(laid.ids, end), np.append(laid.answers, laid.answers.max()))

    def _piece(self, text: str, *, plain: bool, first: bool) -> tuple[list[int], NDArray[np.int64]]:
        """Ids and places of a piece; one behind others is read behind a line break, so that no word's start is put in."""
        lead = "" if first else "\n"
        encoding, before = self.tokenizer.encode_batch([lead + text, lead], plain=plain)
        skip = len(before.ids)
        if not lead or encoding.ids[:skip].tolist() != before.ids.tolist():
            skip = 0
            (encoding,) = self.tokenizer.encode_batch([text], plain=plain)
            lead = ""
        return encoding.ids[skip:].tolist(), encoding.offsets[skip:] - len(lead)

    def shorten(self, turns: Sequence[Turn], room: int) -> tuple[list[Turn], bool]:
        """Turns whose prompt has at most so many tokens, and whether anything was left off.

        The oldest questions go first, with their answers; then the middle of the last question's input, or of the
        question itself where it has none; then the middle of the system's text. The end of a question and the mark where
        the assistant begins are never cut.
        """
        kept, cut = list(turns), False
        while kept and (excess := len(self.prompt(kept)) - room) > 0:
            shorter = _without_oldest(kept) or self._thinned(kept, excess)
            if shorter is None:
                break
            kept, cut = shorter, True
        return kept, cut

    def _thinned(self, turns: list[Turn], excess: int) -> list[Turn] | None:
        """With less in the middle of a turn; None where nothing more can go."""
        last = len(turns) - 1
        places = [(last, turns[last].loose), (last, None), *([(0, None)] if turns[0].role == "system" else [])]
        for place, loose in places:
            turn = turns[place]
            start, stop = loose or (0, len(turn.content))
            text = self._middle_out(turn.content[start:stop], excess)
            if text is not None:
                content = turn.content[:start] + text + turn.content[stop:]
                thinner = replace(turn, content=content, loose=(start, start + len(text)) if loose else None)
                return [*turns[:place], thinner, *turns[place + 1 :]]
        return None

    def _middle_out(self, text: str, excess: int) -> str | None:
        """A text without so many tokens in its middle; None where nothing can be left out."""
        (encoding,) = self.tokenizer.encode_batch([text], plain=True)
        (gap,) = self.tokenizer.encode_batch([GAP], plain=True)
        count = len(encoding.ids)
        kept = max(count - excess - len(gap.ids) - SPARE, LEAST)
        if count <= kept:
            return None
        head = kept // 2
        shorter = text[: encoding.offsets[head - 1, 1]] + GAP + text[encoding.offsets[count - (kept - head), 0] :]
        return shorter if len(shorter) < len(text) else None


def _checked(rendered: Rendered) -> str:
    if rendered.problem:
        raise ModelFileError("text.template", problem=rendered.problem)
    return rendered.text


def _free_marks(text: str) -> tuple[str, str, str, str]:
    """Four characters that do not occur in a text."""
    for code in range(PRIVATE, LAST_PRIVATE, MARKS):
        marks = [chr(code + number) for number in range(MARKS)]
        if not any(mark in text for mark in marks):
            return marks[0], marks[1], marks[2], marks[3]
    raise ModelFileError("text.template_answers", problem=text[:80])


def _unmark(text: str, marks: tuple[str, str, str, str]) -> _Marked:
    """The text without marks, and where they stood."""
    begin, end, plain, other = marks
    parts, places, opened, size = [], {begin: [], plain: []}, {begin: 0, plain: 0}, 0
    for piece in re.split(f"([{''.join(marks)}])", text):
        if piece in opened:
            opened[piece] = size
        elif piece in (end, other):
            kind = begin if piece == end else plain
            places[kind].append((opened[kind], size))
        else:
            parts.append(piece)
            size += len(piece)
    return _Marked("".join(parts), places[begin], places[plain])


def _pieces(length: int, plain: Sequence[tuple[int, int]]) -> Iterator[tuple[int, int, bool]]:
    """A text cut at the places that are plain."""
    before = 0
    for start, stop in plain:
        if before < start:
            yield before, start, False
        yield start, stop, True
        before = stop
    if before < length:
        yield before, length, False


def _without_oldest(turns: Sequence[Turn]) -> list[Turn] | None:
    """Without the first question and what was answered to it; None where there is only one."""
    system = [turn for turn in turns[:1] if turn.role == "system"]
    asked = [place for place, turn in enumerate(turns) if turn.role == "user"]
    return [*system, *turns[asked[1] :]] if len(asked) > 1 else None

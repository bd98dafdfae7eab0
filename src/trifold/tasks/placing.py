"""Pairs with stand-ins where a translator's own pairs have none, so that it learns to carry over what they stand for.

Of a share of the pairs that have nothing to carry there is a copy, in which a stand-in takes the place of a word and of its
translation, which teaches where it belongs in a sentence; or it stands before or after both sides. Which word translates
which is counted: two words that stand in nearly the same pairs (Dice's coefficient, as in Smadja et al. 1996).
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from trifold.tasks.carrying import COUNT, Parts, carry_pair, with_stand_ins
from trifold.tasks.units import cut, places, spaced
from trifold.text.words import mostly_chinese

__all__ = ["Placer"]

SHARE = 0.05
"""Of the pairs that have nothing to carry, how many get a copy; more cost BLEU (decision 0029)."""
INSIDE = 0.75
"""Of the copies, how many have stand-ins in the place of words, where they have such words."""
PAIRS, WORDS = 30_000, 40
"""Pairs that are counted, and words of a side up to which they are."""
OFTEN, ALIKE, COMMON = 4, 0.6, 0.25
"""In how many pairs two words stand together, how nearly in the same ones, and in what share of all pairs at most."""
ENDS = ".!?。！？…"
SEED = 15
Span = tuple[int, int]


class Placer:
    """Puts stand-ins into the pairs to train on, the same ones every time.

    Args:
        pairs: source and target.

    Example:
        >>> pairs = [("one dog", "eine Katze"), ("See 7 dogs", "7 Hunde")]
        >>> Placer(pairs).place()[1][1][1:]
        (' Hunde',)
    """

    def __init__(self, pairs: Sequence[tuple[str, str]]) -> None:
        self.pairs = pairs
        self.units = [
            "segments" if mostly_chinese([pair[side] for pair in pairs[:200]]) else "words" for side in (0, 1)
        ]
        self.dice = np.random.default_rng(SEED)
        self.partners = dict(self._partners())

    def place(self) -> list[tuple[Parts, Parts]]:
        """Each pair with the stand-ins that are its own, then copies of some with others.

        The numbers of stand-ins are drawn, so that all of them are learned alike.
        """
        own = [carry_pair(*pair) for pair in self.pairs]
        copies = [
            self._varied(*pair)
            for pair, laid in zip(self.pairs, own, strict=True)
            if all(pair) and not any(isinstance(part, int) for part in laid[0]) and self.dice.random() < SHARE
        ]
        return [self._renumbered(pair) for pair in [*own, *copies]]

    def _renumbered(self, pair: tuple[Parts, Parts]) -> tuple[Parts, Parts]:
        """The same with other numbers, which rise from one to the next of the source too."""
        present = [part for part in pair[0] if isinstance(part, int)]
        if not present:
            return pair
        drawn = dict(zip(present, sorted(self.dice.choice(COUNT, len(present), replace=False).tolist()), strict=True))
        return _with_numbers(pair[0], drawn), _with_numbers(pair[1], drawn)

    def _varied(self, source: str, target: str) -> tuple[Parts, Parts]:
        known = self._known(source, target) if self.dice.random() < INSIDE else []
        if not known:
            return self._beside(source, target)
        chosen = [known[number] for number in self.dice.permutation(len(known))[: int(self.dice.geometric(0.5))]]
        chosen.sort()
        other = sorted((there, number) for number, (_, there) in enumerate(chosen))
        return (
            with_stand_ins(source, [here for here, _ in chosen], range(len(chosen))),
            with_stand_ins(target, [there for there, _ in other], [number for _, number in other]),
        )

    def _beside(self, source: str, target: str) -> tuple[Parts, Parts]:
        """A stand-in before both sides, after them, or before the marks that end them."""
        place = int(self.dice.integers(3))
        one, other = (_with_one(text, place) for text in (source, target))
        return one, other

    def _known(self, source: str, target: str) -> list[tuple[Span, Span]]:
        """Where words stand that translate each other, each once on its side."""
        here, there = (self._once(text, units) for text, units in zip((source, target), self.units, strict=True))
        same = {word: word for word in here.keys() & there.keys() if word[0].isupper()}
        partners = {word: partner for word in here if (partner := same.get(word) or self.partners.get(word)) in there}
        return [(here[word], there[partner]) for word, partner in partners.items()]

    @staticmethod
    def _once(text: str, units: str) -> dict[str, Span]:
        words = cut(text, units)
        counts = Counter(words)
        spans = zip(words, places(text, words), strict=True)
        return {word: span for word, span in spans if counts[word] == 1 and any(map(str.isalnum, word))}

    def _partners(self) -> Iterator[tuple[str, str]]:
        """Words of the source, each with its translation."""
        alone: tuple[Counter[str], Counter[str]] = (Counter(), Counter())
        together: Counter[tuple[str, str]] = Counter()
        counted = self.pairs[:PAIRS]
        for pair in counted:
            here, there = ({*cut(text, units)[:WORDS]} for text, units in zip(pair, self.units, strict=True))
            alone[0].update(here)
            alone[1].update(there)
            together.update((word, other) for word in here for other in there)
        for (word, other), count in together.items():
            alike = 2 * count / (alone[0][word] + alone[1][other])
            if count >= OFTEN and alike >= ALIKE and alone[0][word] <= COMMON * len(counted):
                yield word, other


def _with_numbers(parts: Parts, drawn: Mapping[int, int]) -> Parts:
    return tuple(drawn[part] if isinstance(part, int) else part for part in parts)


def _with_one(text: str, place: int) -> Parts:
    """A text with the stand-in 0 before it (0), after it (1), or before the marks that end it (2)."""
    if place == 0:
        return (0, " " + text) if spaced(["0", text], "words")[1] else (0, text)
    body = text.rstrip(ENDS) if place == 2 else text
    apart = bool(body) and spaced([body, "0"], "words")[1]
    return tuple(part for part in (body + " " * apart, 0, text[len(body) :]) if part != "")

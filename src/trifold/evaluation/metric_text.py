"""Answers compared as texts: SQuAD's rule for words, CMRC's for Chinese characters."""

import re
import string
from collections import Counter
from collections.abc import Sequence

__all__ = ["cmrc_exact", "cmrc_f1", "normalize_squad", "squad_exact", "squad_f1"]

ARTICLES = re.compile(r"\b(a|an|the)\b")
PUNCTUATION = frozenset(string.punctuation)
CMRC_PUNCTUATION = frozenset("-:_*^/\\~`+=，。：？！“”；’《》·、「」（）－～『』")
"""The marks that CMRC 2018's script leaves out. Its list also holds `……`, which no single character ever equals."""
HAN = re.compile(r"([\u4e00-\u9fa5])")
MARKS = re.compile(
    r"""(\.{2,}                                    # dots in a row
    |[;@\#$%&?!()\[\]{}<>"‘«»„\u2012-\u2015]      # marks that always stand alone
    |,(?!\d)                                       # a comma, unless it groups digits
    |(?<=[^.])\.(?=[\])}>"'\s]*$)                  # the period at the end, not that of 1.5
    |n't\b|'(?:s|m|d|ll|re|ve)\b                   # what English writes together
    |(?<!\w)'(?!(?:n|t)\b)|'(?!\S))                # quotation marks
    """,
    re.VERBOSE,
)
"""Where the word tokenizer of NLTK, which CMRC's script calls, cuts what stands between spaces; slang aside (`gonna`)."""


def normalize_squad(text: str) -> str:
    """Lower case without punctuation, articles and extra space (Rajpurkar et al. 2016).

    Example:
        >>> normalize_squad("The  Cat, sat.")
        'cat sat'
    """
    kept = "".join(one for one in text.lower() if one not in PUNCTUATION)
    return " ".join(ARTICLES.sub(" ", kept).split())


def squad_exact(said: str, gold: Sequence[str]) -> float:
    """1 where the answer is one of the gold answers; without gold answers, where it is empty.

    Gold answers of which normalizing leaves nothing do not count, as in the script of SQuAD 2.0.

    Example:
        >>> squad_exact("the cat", ["Cat", "dog"])
        1.0
    """
    return float(normalize_squad(said) in _answers(gold))


def squad_f1(said: str, gold: Sequence[str]) -> float:
    """F1 of the words that answer and gold answer share, the best over the gold answers.

    Example:
        >>> squad_f1("the black cat", ["cat"])
        0.6666666666666666
    """
    return max(_overlap(normalize_squad(said).split(), one.split()) for one in _answers(gold))


def _answers(gold: Sequence[str]) -> list[str]:
    return [one for one in map(normalize_squad, gold) if one] or [""]


def _overlap(said: list[str], gold: list[str]) -> float:
    if not said or not gold:
        return float(said == gold)
    shared = sum((Counter(said) & Counter(gold)).values())
    return 2 * shared / (len(said) + len(gold))


def cmrc_exact(said: str, gold: Sequence[str]) -> float:
    """1 where the answer is one of the gold answers, punctuation and case aside; without any, where it is empty.

    Example:
        >>> cmrc_exact("《红楼梦》", ["红楼梦"])
        1.0
    """
    return float(max(_bare(said) == _bare(one) for one in gold or [""]))


def cmrc_f1(said: str, gold: Sequence[str]) -> float:
    """F1 by the longest run that answer and gold answer share; each Han character and each Latin word is one token.

    As the script of CMRC 2018 (Cui et al. 2019), except that two empty answers agree, where it knows no empty answers.

    Example:
        >>> cmrc_f1("北京大学", ["北京"])
        0.6666666666666666
    """
    return max(_longest_run(_mixed(said), _mixed(one)) for one in gold or [""])


def _bare(text: str) -> str:
    return "".join(one for one in text.lower().strip() if one not in CMRC_PUNCTUATION)


def _mixed(text: str) -> list[str]:
    """Han characters alone, and the words between them."""
    return [token for part in HAN.split(_bare(text)) for token in MARKS.sub(r" \1 ", part).split()]


def _longest_run(said: list[str], gold: list[str]) -> float:
    if not said or not gold:
        return float(said == gold)
    longest, row = 0, [0] * (len(gold) + 1)
    for word in said:
        above = row
        row = [0] * (len(gold) + 1)
        for place, other in enumerate(gold, start=1):
            if word == other:
                row[place] = above[place - 1] + 1
                longest = max(longest, row[place])
    return 2 * longest / (len(said) + len(gold))

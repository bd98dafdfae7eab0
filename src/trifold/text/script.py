"""In which script a text is written: Latin letters, Chinese characters, Cyrillic and so on, by the names of its letters."""

import unicodedata
from collections import Counter
from collections.abc import Iterable
from functools import lru_cache

__all__ = ["main_script", "script_shares"]

SCRIPTS = {"cjk": "han", "ideographic": "han", "hiragana": "kana", "katakana": "kana"}
"""Names of Unicode's that mean another script here."""
FORMS = frozenset({"fullwidth", "halfwidth", "mathematical", "modifier"})
"""First words of letters' names that say how they are written, not in which script."""
DENSE, WEIGHT = frozenset({"han", "kana", "hangul"}), 3
"""Scripts of which a character says as much as so many letters of an alphabet."""
ENOUGH, MAIN = 10, 2 / 3
"""Letters from which on a text tells its script, and the part of them that must be of one."""


def main_script(text: str) -> str | None:
    """The script of most of a text; None where it is mixed, or too short to tell. Digits and signs do not count.

    Example:
        >>> main_script("Good morning!"), main_script("今天天气很好。"), main_script("iPhone"), main_script("Доброе утро")
        ('latin', 'han', None, 'cyrillic')
    """
    counts: Counter[str] = Counter()
    for letter, count in Counter(text).items():
        script = _script_of(letter)
        if script:
            counts[script] += count * (WEIGHT if script in DENSE else 1)
    total = counts.total()
    if total < ENOUGH:
        return None
    script, most = counts.most_common(1)[0]
    return script if most >= MAIN * total else None


def script_shares(texts: Iterable[str]) -> dict[str, float]:
    """The part of the texts, of those that tell, that is mainly in each script.

    Example:
        >>> script_shares(["a very good film", "a very dull film", "这部电影很好看", "?"])
        {'latin': 0.6666666666666666, 'han': 0.3333333333333333}
    """
    counts = Counter(filter(None, map(main_script, texts)))
    total = counts.total()
    return {script: count / total for script, count in counts.most_common()}


@lru_cache(maxsize=2**16)
def _script_of(letter: str) -> str:
    """The script of a letter; nothing for what is no letter."""
    if not letter.isalpha():
        return ""
    words = unicodedata.name(letter, "").lower().replace("-", " ").split()
    first = next((word for word in words if word not in FORMS), "")
    return SCRIPTS.get(first, first)

"""Questions for free: a sentence with a gap, asked of the passage around it, where what fills the gap stands once more.

python experiments/recurring_spans.py OUT.jsonl FILE ... [--most 12000]

A name or term that recurs in a passage is looked for in one place and asked about in another, as in recurring span
selection (Ram et al. 2021, section 3); a question of this kind can be made of any text, and a reader that has learned to
answer them needs far fewer real ones.
"""

import argparse
import json
import random
import re
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path

from trifold.data import SourceOptions, read

HAN = re.compile(r"[\u4e00-\u9fff]{8}")
SENTENCE_END = re.compile(r"(?<=[.!?])\s+|(?<=[。！？])")
WORD = re.compile(r"[\u3400-\u9fff]|[^\W_\u3400-\u9fff]+")
LONGEST, PASSAGE, COMMON = {True: 8, False: 4}, {True: 420, False: 900}, 0.004
"""Words of a span and characters of a passage, for Chinese and not; a span in a larger part of the passages says little."""


def passages(text: str) -> Iterator[list[str]]:
    """Sentences in groups, across paragraphs."""
    most = PASSAGE[HAN.search(text) is not None]
    group: list[str] = []
    for sentence in (one for paragraph in re.split(r"\n+", text) for one in SENTENCE_END.split(paragraph) if one):
        if group and sum(map(len, group)) + len(sentence) > most:
            yield group
            group = []
        group.append(sentence[:most])
    yield group


def runs(sentence: str, longest: int) -> set[str]:
    """Every run of up to so many words that no punctuation breaks."""
    words = [(one.start(), one.end()) for one in WORD.finditer(sentence)]
    found = set()
    for first in range(len(words)):
        for last in range(first, min(first + longest, len(words))):
            if last > first and sentence[words[last - 1][1] : words[last][0]].strip():
                break
            found.add(sentence[words[first][0] : words[last][1]])
    return found


def recurring(group: list[str]) -> list[str]:
    """Runs in more than one sentence unless part of a longer one that recurs as often; no single characters."""
    longest = LONGEST[HAN.search("".join(group)) is not None]
    often = Counter(run for sentence in group for run in runs(sentence, longest))
    known = sorted((run for run, count in often.items() if count > 1 and len(run) > 1), key=len, reverse=True)
    kept: list[str] = []
    for run in known:
        if not any(run in longer and often[longer] == often[run] for longer in kept):
            kept.append(run)
    return kept


def questions(groups: Iterable[list[str]], draw: random.Random) -> Iterator[dict[str, object]]:
    """One question for each passage in which something recurs that is rare elsewhere."""
    found = [(group, recurring(group)) for group in groups if len(group) > 2]
    share = Counter(run for _, runs_in in found for run in runs_in)
    most = max(2.0, COMMON * len(found))
    for group, runs_in in found:
        rare = [run for run in runs_in if share[run] <= most]
        if not rare:
            continue
        answer = draw.choice(rare)
        asked = draw.choice([sentence for sentence in group if answer in sentence])
        context = "".join(one if HAN.search(one) else one + " " for one in group if one is not asked)
        gap = "什么" if HAN.search(asked) else "what"
        if answer in context:
            yield {
                "question": asked.replace(answer, gap).strip(),
                "context": context,
                "answers": [{"text": answer, "start": context.index(answer)}],
            }


def main() -> None:
    """Read, draw, write."""
    parser = argparse.ArgumentParser()
    parser.add_argument("out", type=Path)
    parser.add_argument("files", nargs="+")
    parser.add_argument("--most", type=int, default=12_000)
    chosen = parser.parse_args()
    draw = random.Random(0)
    texts = (example.texts[0] for example in read(chosen.files, SourceOptions(fields=("text|context",))))
    made = list(questions((group for text in texts for group in passages(text)), draw))
    draw.shuffle(made)
    with chosen.out.open("w", encoding="utf-8") as file:
        for one in made[: chosen.most]:
            print(json.dumps(one, ensure_ascii=False), file=file)


if __name__ == "__main__":
    main()

"""Questions for free: pairs of a sentence and the passage that it was taken from, to train a retriever on raw text.

python experiments/inverse_cloze.py OUT.jsonl FILE ... [--most 40000]

The inverse cloze task (Lee, Chang and Toutanova 2019, section 4): the sentence is cut out of its passage nine times in
ten, so that the model must find it by meaning, and left in one time in ten, so that it also learns to match words.
"""

import argparse
import json
import random
import re
from collections.abc import Iterator
from pathlib import Path

from trifold.data import SourceOptions, read

SENTENCE_END = re.compile(r"(?<=[.!?])\s+|(?<=[。！？])")
SIZE = {"shortest": 12, "passage": 600}
"""Characters: of a sentence worth asking for, and of a passage."""


def passages(text: str) -> Iterator[list[str]]:
    """Sentences in groups of some 600 characters (half as many where they are Chinese), none across a paragraph."""
    most = SIZE["passage"] // (2 if re.search(r"[\u4e00-\u9fff]{8}", text) else 1)
    for paragraph in re.split(r"\n+", text):
        group: list[str] = []
        for sentence in SENTENCE_END.split(paragraph):
            if group and sum(map(len, group)) + len(sentence) > most:
                yield group
                group = []
            group.append(sentence)
        yield group


def main() -> None:
    """Read, draw, write."""
    parser = argparse.ArgumentParser()
    parser.add_argument("out", type=Path)
    parser.add_argument("files", nargs="+")
    parser.add_argument("--most", type=int, default=40_000)
    chosen = parser.parse_args()
    draw = random.Random(0)
    pairs = []
    for example in read(chosen.files, SourceOptions(fields=("text|context",))):
        for group in passages(example.texts[0]):
            fitting = [n for n, sentence in enumerate(group) if len(sentence.strip()) >= SIZE["shortest"]]
            if len(group) >= 2 and fitting:
                at = draw.choice(fitting)
                rest = group if draw.random() < 0.1 else group[:at] + group[at + 1 :]
                pairs.append({"query": group[at].strip(), "positive": " ".join(rest).strip()})
    pairs = [pair for pair in pairs if len(pair["positive"]) >= SIZE["shortest"]]
    draw.shuffle(pairs)
    with chosen.out.open("w", encoding="utf-8") as file:
        for pair in pairs[: chosen.most]:
            print(json.dumps(pair, ensure_ascii=False), file=file)


if __name__ == "__main__":
    main()

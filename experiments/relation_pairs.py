"""Pairs of a question without its subject and the relation that it asks for, to train a model of relations on.

python experiments/relation_pairs.py OUT.jsonl        # from NLPCC 2016, without every seventh question

trifold finetune embedding --model runs/encoder_zh --train OUT.jsonl --epochs 4 --batch-size 64 --out runs/relations
"""

import gzip
import json
import os
import sys
from pathlib import Path

FILE = Path(os.environ.get("TRIFOLD_DATA", "data")) / "kbqa_zh/nlpcc2016/train.tsv.gz"


def main() -> None:
    """Read and write."""
    with gzip.open(FILE, "rt", encoding="utf-8") as file, Path(sys.argv[1]).open("w", encoding="utf-8") as out:
        next(file)
        for number, line in enumerate(file):
            _, question, subject, relation, *_ = line.rstrip("\n").split("\t")
            rest = question.replace(subject, " ")
            if number % 7 and rest.strip() and relation.strip():
                print(json.dumps({"query": rest, "positive": relation}, ensure_ascii=False), file=out)


if __name__ == "__main__":
    main()

"""Knowledge bases of real text: how often words alone find the right place, and what triples answer.

python experiments/retrieval.py [--embedder RUN]      # a table; RUN is a model fine-tuned for embedding

Cranfield: 1,400 abstracts, 225 queries (nDCG@10, recall@100). DRCD and CMRC: paragraphs as the knowledge base, their
questions as queries (recall of the right paragraph). NLPCC 2016: the questions' gold triples as a closed world.
"""

import argparse
import gzip
import json
import os
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from trifold.evaluation.metric import mean, ndcg
from trifold.evaluation.statistics import bootstrap
from trifold.retrieval import KnowledgeBase, answer_from_triples

DATA = Path(os.environ.get("TRIFOLD_DATA", "data"))


def rows(path: Path) -> Iterator[list[str]]:
    """The rows of a table, without its header."""
    with gzip.open(path, "rt", encoding="utf-8") if path.suffix == ".gz" else path.open(encoding="utf-8") as file:
        next(file)
        yield from (line.rstrip("\n").split("\t") for line in file)


def records(path: Path) -> Iterator[dict[str, Any]]:
    """The objects of JSON lines."""
    with gzip.open(path, "rt", encoding="utf-8") as file:
        yield from map(json.loads, file)


def tell(name: str, values: list[float], seconds: float = 0.0) -> None:
    """A line with the mean, its interval and the time for each query."""
    found = bootstrap(mean(values))
    each = f"  {1000 * seconds / len(values):6.2f} ms" if seconds else ""
    sys.stdout.write(f"{name:<34} {found.value:.4f}  [{found.low:.4f}, {found.high:.4f}]  n = {found.n}{each}\n")
    sys.stdout.flush()


def documents(base: KnowledgeBase, query: str, k: int, embedder: Any) -> list[str]:
    """The documents of the best passages, each once."""
    hits = base.search(query, 3 * k, embedder=embedder)
    return list(dict.fromkeys(hit.document.rpartition(":")[2] for hit in hits))[:k]


def cranfield(place: Path, embedder: Any) -> None:
    """Ranked abstracts; codes 1 to 4 are relevant, 1 most."""
    base, _ = KnowledgeBase.build(
        [DATA / "retrieval_en/cranfield/docs.jsonl.gz"], place / "cranfield", embedder=embedder
    )
    gains: dict[str, dict[str, float]] = defaultdict(dict)
    for query, document, code in rows(DATA / "retrieval_en/cranfield/qrels.tsv"):
        if int(code) > 0:
            gains[query][document] = 5.0 - int(code)
    quality, recall, start = [], [], time.perf_counter()
    for number, _, query in rows(DATA / "retrieval_en/cranfield/queries.tsv"):
        found, known = documents(base, query, 100, embedder), gains[number]
        if known:
            quality.append(ndcg([known.get(one, 0.0) for one in found], list(known.values()), k=10))
            recall.append(sum(one in known for one in found) / len(known))
    tell("Cranfield nDCG@10", quality, time.perf_counter() - start)
    tell("Cranfield recall@100", recall)


def paragraphs(place: Path, file: str, embedder: Any) -> None:
    """Does the paragraph that a question was asked about come first, or among the first five or twenty?"""
    questions = list(records(DATA / "qa_zh" / f"{file}.jsonl.gz"))
    distinct = list(dict.fromkeys(one["context"] for one in questions))
    table = place / f"{file}.jsonl"
    lines = (json.dumps({"id": str(n), "text": text}, ensure_ascii=False) for n, text in enumerate(distinct))
    table.write_text("\n".join(lines), encoding="utf-8")
    base, _ = KnowledgeBase.build([table], place / file, embedder=embedder)
    number = {text: str(n) for n, text in enumerate(distinct)}
    ranks, start = [], time.perf_counter()
    for one in questions:
        found = documents(base, one["question"], 20, embedder)
        right = number[one["context"]]
        ranks.append(found.index(right) + 1 if right in found else 10**9)
    seconds = time.perf_counter() - start
    for k in (1, 5, 20):
        tell(f"{file} recall@{k}", [float(rank <= k) for rank in ranks], seconds if k == 1 else 0.0)
    tell(f"{file} reciprocal rank", [1 / rank for rank in ranks])


def triples(place: Path) -> None:
    """Accuracy of the first answer over the gold triples."""
    table = place / "triples.tsv"
    known = rows(DATA / "kbqa_zh/nlpcc2016/kb_train_triples.tsv.gz")
    table.write_text(
        "\n".join(["subject\trelation\tobject", *("\t".join(row) for row in known)]) + "\n", encoding="utf-8"
    )
    base, _ = KnowledgeBase.build([table], place / "triples")
    right, start = [], time.perf_counter()
    for number, row in enumerate(rows(DATA / "kbqa_zh/nlpcc2016/train.tsv.gz")):
        if number % 7 == 0:
            found = answer_from_triples(base, row[1], k=1)
            right.append(float(bool(found) and found[0].object == row[4]))
    tell("NLPCC 2016, every 7th question", right, time.perf_counter() - start)


def main() -> None:
    """Run all."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--embedder")
    chosen = parser.parse_args()
    from trifold.cli.index import embedder_in

    embedder = embedder_in(chosen.embedder)
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        cranfield(place, embedder)
        paragraphs(place, "drcd_dev", embedder)
        paragraphs(place, "cmrc2018_dev", embedder)
        triples(place)


if __name__ == "__main__":
    main()

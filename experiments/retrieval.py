"""Knowledge bases of real text: how often words, vectors and both find the right place, and what triples answer.

python experiments/retrieval.py [--english RUN] [--chinese RUN] [--relations RUN] [--reader RUN] [--only NAME ...]

The first three runs are models fine-tuned for embedding: of English and Chinese passages (inverse_cloze.py makes pairs to
train on), and of Chinese questions and relations (relation_pairs.py); the reader is that of span_qa_zh.py.
Cranfield: 1,400 abstracts, 225 queries (nDCG@10, recall@100). TrecQA: candidate sentences of each question (MAP). DRCD and
CMRC: paragraphs as the knowledge base, their questions as queries (recall of the right paragraph; with a reader, F1 and
exact match of its answers to every fourth question of CMRC). NLPCC 2016: the questions' gold triples as a closed
world. CIA World Factbook: 69,303 triples, questions by template.
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
from dataclasses import asdict
from pathlib import Path
from typing import Any

from trifold.cli.evaluate import labelled_records
from trifold.cli.index import embedder_in
from trifold.evaluation.metric import average_precision, mean, ndcg
from trifold.evaluation.statistics import bootstrap
from trifold.retrieval import KnowledgeBase, answer_from_triples, meaning_scores
from trifold.tasks import load
from trifold.tasks.experiment import Reading
from trifold.tasks.knowledge import judge_knowledge

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
    show(name, asdict(bootstrap(mean(values))), f"  {1000 * seconds / len(values):6.2f} ms" if seconds else "")


def show(name: str, found: dict[str, Any], more: str = "") -> None:
    """A line with a value and its interval."""
    interval = f"{found['value']:.4f}  [{found['low']:.4f}, {found['high']:.4f}]  n = {found['n']}"
    sys.stdout.write(f"{name:<34} {interval}{more}\n")
    sys.stdout.flush()


def ways(embedder: Any) -> list[str]:
    """The ways to search."""
    return ["words"] if embedder is None else ["words", "vectors", "both"]


def documents(base: KnowledgeBase, query: str, k: int, embedder: Any, by: Any) -> list[str]:
    """The documents of the best passages, each once."""
    hits = base.search(query, 3 * k, embedder=embedder, by=by)
    return list(dict.fromkeys(hit.document.rpartition(":")[2] for hit in hits))[:k]


def cranfield(place: Path, embedder: Any) -> None:
    """Ranked abstracts; codes 1 to 4 are relevant, 1 most."""
    file = DATA / "retrieval_en/cranfield/docs.jsonl.gz"
    base, _ = KnowledgeBase.build([file], place / "cranfield", embedder=embedder)
    gains: dict[str, dict[str, float]] = defaultdict(dict)
    for query, document, code in rows(DATA / "retrieval_en/cranfield/qrels.tsv"):
        if int(code) > 0:
            gains[query][document] = 5.0 - int(code)
    for by in ways(embedder):
        quality, recall, start = [], [], time.perf_counter()
        for number, _, query in rows(DATA / "retrieval_en/cranfield/queries.tsv"):
            found, known = documents(base, query, 100, embedder, by), gains[number]
            if known:
                quality.append(ndcg([known.get(one, 0.0) for one in found], list(known.values()), k=10))
                recall.append(sum(one in known for one in found) / len(known))
        tell(f"Cranfield nDCG@10, {by}", quality, time.perf_counter() - start)
        tell(f"Cranfield recall@100, {by}", recall)


def trecqa(place: Path, embedder: Any) -> None:
    """Candidate sentences of each question in the order that the whole base puts them in."""
    asked: dict[str, dict[str, bool]] = defaultdict(dict)
    for _, label, question, sentence in rows(DATA / "retrieval_en/trecqa/test.tsv.gz"):
        asked[question][sentence] = label == "1"
    number = {text: str(n) for n, text in enumerate(dict.fromkeys(one for known in asked.values() for one in known))}
    base, _ = KnowledgeBase.build([listed(place / "trecqa.jsonl", number)], place / "trecqa", embedder=embedder)
    for by in ways(embedder):
        values = []
        for question, known in asked.items():
            found = documents(base, question, len(number), embedder, by)
            order = {one: rank for rank, one in enumerate(found)}
            ranked = sorted(known, key=lambda text: order.get(number[text], len(number)))
            if any(known.values()):
                values.append(average_precision([known[text] for text in ranked], sum(known.values())))
        tell(f"TrecQA test MAP, {by}", values)


def listed(table: Path, number: dict[str, str]) -> Path:
    """Texts with their numbers, as documents."""
    lines = (json.dumps({"id": n, "text": text}, ensure_ascii=False) for text, n in number.items())
    table.write_text("\n".join(lines), encoding="utf-8")
    return table


def base_of(place: Path, file: str, embedder: Any) -> tuple[KnowledgeBase, dict[str, str]]:
    """The contexts of a file of questions as a knowledge base, made once, and the number of each."""
    contexts = (one["context"] for one in records(DATA / "qa_zh" / f"{file}.jsonl.gz"))
    number = {text: str(n) for n, text in enumerate(dict.fromkeys(contexts))}
    if (place / file).exists():
        return KnowledgeBase(place / file), number
    return KnowledgeBase.build([listed(place / f"{file}.jsonl", number)], place / file, embedder=embedder)[0], number


def paragraphs(place: Path, file: str, embedder: Any) -> None:
    """Does the paragraph that a question was asked about come first, or among the first five or twenty?"""
    questions = list(records(DATA / "qa_zh" / f"{file}.jsonl.gz"))
    base, number = base_of(place, file, embedder)
    for by in ways(embedder):
        ranks, start = [], time.perf_counter()
        for one in questions:
            found = documents(base, one["question"], 20, embedder, by)
            right = number[one["context"]]
            ranks.append(found.index(right) + 1 if right in found else 10**9)
        seconds = time.perf_counter() - start
        for k in (1, 5, 20):
            tell(f"{file} recall@{k}, {by}", [float(rank <= k) for rank in ranks], seconds if k == 1 else 0.0)
        tell(f"{file} reciprocal rank, {by}", [1 / rank for rank in ranks])


def answers(place: Path, reader: str, embedder: Any) -> None:
    """Search and read: answers of a reader to every fourth question of CMRC, from the five best passages of the base."""
    base, _ = base_of(place, "cmrc2018_dev", embedder)
    tuned = load(reader)
    asked = labelled_records(tuned, [str(DATA / "qa_zh/cmrc2018_dev.jsonl.gz")], Reading())[0][::4]
    whole = judge_knowledge(base, tuned, asked, embedder=embedder)["metrics"]
    given = {name: asdict(bootstrap(tally))
             for name, tally in tuned.task.measure(asked, tuned.task.predict(tuned.model, asked)).items()}  # fmt: skip
    for name, alone in given.items():
        show(f"CMRC {name}, from the base", whole[name])
        show(f"CMRC {name}, paragraph given", alone)


def triples(place: Path, embedder: Any) -> None:
    """Accuracy of the first answer over the gold triples; every seventh question, which no embedder was trained on."""
    table = place / "triples.tsv"
    known = ["\t".join(row) for row in rows(DATA / "kbqa_zh/nlpcc2016/kb_train_triples.tsv.gz")]
    table.write_text("\n".join(["subject\trelation\tobject", *known]) + "\n", encoding="utf-8")
    base, _ = KnowledgeBase.build([table], place / "triples")
    asked = [row for number, row in enumerate(rows(DATA / "kbqa_zh/nlpcc2016/train.tsv.gz")) if number % 7 == 0]
    for name, scorer in scorers(embedder):
        start = time.perf_counter()
        found = [answer_from_triples(base, row[1], scorer=scorer, k=1) for row in asked]
        right = [float(bool(one) and one[0].object == row[4]) for one, row in zip(found, asked, strict=True)]
        tell(f"NLPCC 2016, {name}", right, time.perf_counter() - start)


def scorers(embedder: Any) -> list[tuple[str, Any]]:
    """The ways to compare a question with a relation."""
    return [("words", None), *([("words and vectors", meaning_scores(embedder))] if embedder is not None else [])]


def factbook(place: Path, embedder: Any) -> None:
    """Every 97th fact of the Factbook, asked for by name."""
    file = DATA / "kb_en/cia_factbook/facts.tsv.gz"
    base, _ = KnowledgeBase.build([file], place / "facts", columns=("country", "field", "text"))
    facts = [row for number, row in enumerate(rows(file)) if number % 97 == 0]
    asked = [(f"What is the {field.lower()} of {country}?", text) for country, _, _, field, text in facts]
    for name, scorer in scorers(embedder):
        start = time.perf_counter()
        found = [answer_from_triples(base, question, scorer=scorer, k=1) for question, _ in asked]
        right = [float(bool(one) and one[0].object == text) for one, (_, text) in zip(found, asked, strict=True)]
        tell(f"CIA Factbook, {name}", right, time.perf_counter() - start)


def main() -> None:
    """Run all, or what is named."""
    parser = argparse.ArgumentParser()
    for name in ("english", "chinese", "relations", "reader"):
        parser.add_argument(f"--{name}")
    parser.add_argument("--only", nargs="*", default=[])
    chosen = parser.parse_args()
    english, chinese, relations = map(embedder_in, (chosen.english, chosen.chinese, chosen.relations))
    steps = {
        "cranfield": lambda place: cranfield(place, english),
        "trecqa": lambda place: trecqa(place, english),
        "factbook": lambda place: factbook(place, english),
        "drcd": lambda place: paragraphs(place, "drcd_dev", chinese),
        "cmrc": lambda place: paragraphs(place, "cmrc2018_dev", chinese),
        "answers": lambda place: answers(place, chosen.reader, chinese) if chosen.reader else None,
        "triples": lambda place: triples(place, relations),
    }
    with tempfile.TemporaryDirectory() as folder:
        for name in chosen.only or steps:
            steps[name](Path(folder))


if __name__ == "__main__":
    main()

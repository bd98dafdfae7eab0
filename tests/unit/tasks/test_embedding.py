"""Vectors learned from pairs, from hard negatives and from scores: what counts as a positive, and how it is measured."""

import json
import math

import numpy as np
import pytest
import torch

from trifold.data.rows import Row
from trifold.errors import DataError
from trifold.presets.pretrained import Transformer
from trifold.tasks import Embedding, Record
from trifold.tasks.embedding import EmbeddingTask, Partners, find_scores
from trifold.tasks.frame import pack
from trifold.tasks.record import place_rows
from trifold.tasks.task import Prediction
from trifold.text import train_tokenizer

TOKENIZER = train_tokenizer(["a red cup", "the cup is red", "not blue"] * 9, kind="byte_bpe", vocab_size=280)


def made(config: Embedding, preset: str = "bert") -> tuple[EmbeddingTask, Transformer]:
    torch.manual_seed(0)
    model = Transformer.from_preset(preset, size="tiny", vocab_size=TOKENIZER.vocab_size, num_layers=1, d_model=32)
    return EmbeddingTask(config, TOKENIZER, model.config), model.double().eval()


def records_in(rows: list[dict], config: Embedding | None = None) -> tuple[Embedding, list[Record]]:
    placed = place_rows([Row(row, f"a.jsonl:{n}") for n, row in enumerate(rows, 1)], Embedding.roles, {})
    filled = find_scores(config or Embedding(), placed)
    task = made(filled)[0]
    return filled, [task.record(row, columns) for row, columns in placed]


PARTNERS = {
    "a pair": ({"query": "q", "passage": "p"}, Partners(("p",))),
    "a triplet": ({"anchor": "q", "positive": "p", "negative": "n"}, Partners(("p",), ("n",))),
    "a list": ({"query": "q", "pos": ["p", "p2"], "neg": ["n", "m", "n"]}, Partners(("p", "p2"), ("n", "m"))),
    "a list as text": ({"query": "q", "positive": "p", "negatives": '["n", "m"]'}, Partners(("p",), ("n", "m"))),
    "numbered": ({"query": "q", "positive": "p", "negative_1": "n", "negative_2": "m"}, Partners(("p",), ("n", "m"))),
    "without one": (
        {"query": "q", "positive": "p", "Hard-Negative 1": "", "hard_negative_2": "m"},
        Partners(("p",), ("m",)),
    ),
}


@pytest.mark.parametrize("case", PARTNERS)
def test_partners_are_read_however_they_are_written(case):
    row, wanted = PARTNERS[case]
    config, (record,) = records_in([row])
    assert record == Record(("q",), wanted, "a.jsonl:1") and not config.scores


SCORES = {
    "numbers": ("score", [0.0, 0.5, 5], [0.0, 0.5, 5.0]),
    "of a table": ("similarity", ["0.0", " 1 ", "2"], [0.0, 1.0, 2.0]),
    "yes and no": ("label", [0, 1, 1], [0.0, 1.0, 1.0]),
    "truth": ("is_duplicate", [True, False, "true"], [1.0, 0.0, 1.0]),
}


@pytest.mark.parametrize("case", SCORES)
def test_pairs_with_scores_are_not_positives(case):
    name, values, wanted = SCORES[case]
    rows = [{"sentence1": f"q{n}", "sentence2": f"p{n}", name: value} for n, value in enumerate(values)]
    config, records = records_in(rows)
    assert config.scores and [record.gold.score for record in records] == wanted
    assert made(config)[0].metrics == ("spearman", "pearson")


REFUSED = {
    "one score": ([{"query": "a", "positive": "b", "score": 1}] * 3, "data.columns.score="),
    "no numbers": ([{"query": "a", "positive": "b", "label": "entailment"}] * 3, "data.columns.score="),
    "both": (
        [{"query": "a", "positive": "b", "score": n, "negative": "c"} for n in range(3)],
        "data.columns.negative=",
    ),
    "contradiction": ([{"query": "a", "positive": "b", "negative": "b"}], "a.jsonl:1"),
    "a damaged score": ([{"query": "a", "positive": "b", "score": score} for score in (1, 2, 3, "x")], "a.jsonl:4"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_meant_is_refused_with_its_line_or_what_to_do(case):
    rows, part = REFUSED[case]
    with pytest.raises(DataError, match=part):
        records_in(rows)


def loss_of(config: Embedding, records: list[Record]) -> tuple[float, int, np.ndarray]:
    """The loss of one batch of all records, and the vectors of all their texts."""
    task, model = made(config)
    batch, _ = pack([one for part in task.examples(records) for one in part], task.frame.pad)
    loss = task.loss(model, batch)
    texts = [text for one in records for text in (*one.inputs, *one.gold.positives, *one.gold.negatives)]
    return loss.sum.item(), loss.weight, task.embed(model, texts).astype(float)


def test_a_hard_negative_is_a_rival_of_each_query_and_nobody_s_partner():
    records = [Record(("a",), Partners(("b",), ("c",))), Record(("d",), Partners(("e",), ("f",)))]
    found, count, (a, b, c, d, e, f) = loss_of(Embedding(temperature=0.5), records)

    def apart(anchor, own, others):
        return math.log(sum(math.exp(anchor @ other / 0.5) for other in (own, *others))) - anchor @ own / 0.5

    wanted = apart(a, b, (c, e, f)) + apart(d, e, (b, c, f)) + apart(b, a, (d,)) + apart(e, d, (a,))
    assert count == 4 and found == pytest.approx(wanted, rel=1e-5)


def test_texts_that_belong_to_the_same_query_are_no_rivals():
    records = [Record(("a",), Partners(("b",))), Record(("a",), Partners(("c",)))]
    assert loss_of(Embedding(), records)[0] == pytest.approx(0.0, abs=1e-6)


def test_scores_are_learned_by_the_order_of_cosines():
    records = [Record((q,), Partners((p,), (), s)) for q, p, s in (("a", "b", 0.0), ("c", "d", 1.0), ("e", "f", 1.0))]
    found, count, vectors = loss_of(Embedding(temperature=0.5, scores=True), records)
    low, one, two = (vectors[n] @ vectors[n + 1] / 0.5 for n in (0, 2, 4))
    wanted = math.log(1 + math.exp(low - one) + math.exp(low - two))
    assert count == 6 and found == pytest.approx(6 * wanted, rel=1e-5)


def test_ranks_count_negatives_and_the_nearest_of_several_positives():
    axes = np.eye(3, dtype=np.float32)
    texts = {"p": axes[0], "p2": axes[1], "n": (axes[0] + axes[1]) / 1.5}
    task = made(Embedding())[0]
    both = Record(("q",), Partners(("p", "p2"), ("n",)))
    (tally,) = [task.measure([both], [Prediction(axes[1], details={"texts": texts})])["recall_at_1"]]
    assert tally.score == 1.0
    only = Record(("q",), Partners(("p",), ("n",)))
    found = task.measure([only], [Prediction(axes[0] + axes[1], details={"texts": texts})])
    assert found["reciprocal_rank"].score == 0.5


@pytest.mark.parametrize("kind", ["scores", "negatives"])
def test_they_are_learned_through_the_command_line(tmp_path, capsys, kind):
    from tests.applications.test_tasks import SMALL, call

    things = [f"{colour} {thing}" for colour in ("red", "blue", "pink") for thing in ("cup", "boat", "door", "cat")]
    rows = []
    for turn in range(8):
        for number, thing in enumerate(things):
            if kind == "scores":
                right = number % 2
                rows.append(
                    {
                        "sentence1": f"a {thing} {turn}",
                        "sentence2": f"the {thing}" if right else "thunder",
                        "score": right,
                    }
                )
            else:
                rows.append({"anchor": f"a {thing} {turn}", "positive": f"the {thing}", "negative": f"no {thing}"})
    (tmp_path / "train.jsonl").write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    code, out, err = call(capsys, "finetune", "embedding", "--model", "bert", *SMALL, "--train", tmp_path / "train.jsonl",
                          "--out", tmp_path / "run", "--steps", 30, "--batch-size", 16, "--json")  # fmt: skip
    assert code == 0, err
    judged = json.loads(out)["judgement"]
    first, bar = ("spearman", 0.8) if kind == "scores" else ("reciprocal_rank", 0.5)
    assert judged["metrics"][first]["value"] > bar
    assert first in judged["baselines"]["tfidf"]
    code, out, err = call(capsys, "evaluate", tmp_path / "run", "--data", tmp_path / "train.jsonl", "--json")
    assert code == 0 and first in json.loads(out)["metrics"], err

"""Scores of texts and of pairs: learned, used, judged beside what costs nothing, compared, and refused where none are."""

import json

import numpy as np
import pytest
from scipy import stats

from tests.applications.test_tasks import SMALL, call
from tests.unit.tasks.test_label import write_csv, write_jsonl, write_parquet
from trifold.evaluation.score import mean_absolute_error, pearson, spearman
from trifold.tasks import load

WORDS = {"awful": 1.0, "poor": 2.0, "fair": 3.0, "good": 4.0, "great": 5.0}


def rated(count: int, seed: int) -> list[dict]:
    dice = np.random.default_rng(seed)
    words = list(WORDS)
    return [{"review": f"a {word} film {dice.integers(99)}", "stars": WORDS[word]}
            for word in (words[dice.integers(5)] for _ in range(count))]  # fmt: skip


def test_correlations_are_those_of_scipy():
    dice = np.random.default_rng(0)
    gold = dice.integers(0, 5, 200).astype(float)
    said = gold + dice.normal(size=200)
    assert pearson(gold, said).score == pytest.approx(stats.pearsonr(gold, said).statistic, rel=1e-9)
    assert pearson(gold + 1e6, said).score == pytest.approx(stats.pearsonr(gold, said).statistic, rel=1e-6)
    assert spearman(gold, said).score == pytest.approx(stats.spearmanr(gold, said).statistic, rel=1e-9)
    assert mean_absolute_error(gold, said).score == pytest.approx(np.abs(gold - said).mean())
    assert pearson(gold, np.full(200, 0.1)).score == 0.0, "what does not vary says nothing"


def test_ratings_are_learned_used_judged_and_compared(tmp_path, capsys):
    train, test = write_csv(tmp_path / "train.csv", rated(240, 0)), write_jsonl(tmp_path / "test.jsonl", rated(60, 1))
    run = tmp_path / "run"
    code, out, err = call(capsys, "finetune", "regression", "--model", "bert", *SMALL, "--train", train, "--test", test,
                          "--out", run, "--epochs", 8, "--batch-size", 16, "--json")  # fmt: skip
    assert code == 0, err
    judged = json.loads(out)["judgement"]
    assert judged["metrics"]["pearson"]["value"] > 0.9 and judged["metrics"]["mean_absolute_error"]["value"] < 0.8
    assert judged["baselines"]["mean"]["mean_absolute_error"]["value"] > 0.9
    assert judged["baselines"]["tfidf_ridge"]["spearman"]["value"] > 0.9
    assert judged["worst"][0]["distance"] >= judged["worst"][-1]["distance"]
    assert "off by" in (run / "report.html").read_text(encoding="utf-8")
    code, out, _ = call(capsys, "classify", run, "a great film", "a awful film")
    great, awful = (float(line.split("\t")[0]) for line in out.splitlines())
    assert code == 0 and great > 4 and awful < 2
    code, out, err = call(capsys, "evaluate", run, "--data", test, "--json")
    assert code == 0 and json.loads(out)["metrics"]["pearson"] == judged["metrics"]["pearson"], err
    code, out, err = call(capsys, "compare", run, run, "--data", test, "--json")
    assert code == 0 and json.loads(out)["differences"]["spearman"]["p"] == 1.0, err


def test_the_similarity_of_pairs_is_learned_and_rows_without_a_score_are_counted(tmp_path, capsys):
    pairs = [("cup", "cup", 1.0), ("cup", "boat", 0.0), ("boat", "boat", 1.0), ("boat", "cup", 0.0)]
    rows = [{"sentence1": f"a {one} {n}", "sentence2": f"the {other}", "score": score}
            for n in range(30) for one, other, score in pairs]  # fmt: skip
    rows[7]["score"] = None
    train = write_parquet(tmp_path / "train.parquet", rows)
    code, out, err = call(capsys, "finetune", "similarity", "--model", "bert", *SMALL, "--train", train, "--out",
                          tmp_path / "run", "--steps", 8, "--batch-size", 16, "--metric", "mean_absolute_error",
                          "--json")  # fmt: skip
    assert code == 0 and "1 left out" in err, err
    judged = json.loads(out)["judgement"]
    assert load(tmp_path / "run").task.config.pairs and judged["baselines"].keys() == {"mean", "tfidf_ridge"}


@pytest.mark.parametrize(("scores", "part"), [([1, 2, "much", 3], ".jsonl:3"), ([2, 2.0, "2", 2], "same score")])
def test_what_is_no_score_is_refused(tmp_path, capsys, scores, part):
    train = write_jsonl(tmp_path / "train.jsonl", [{"text": f"t{n}", "score": scores[n % 4]} for n in range(40)])
    code, _, err = call(capsys, "finetune", "regression", "--model", "bert", *SMALL, "--train", train, "--out",
                        tmp_path / "run", "--steps", 1)  # fmt: skip
    assert code == 3 and part in err, err

"""Metrics equal their reference tools; text rules equal the official scripts' answers."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trifold.evaluation import metric
from trifold.evaluation.metric_text import cmrc_exact, cmrc_f1, squad_exact, squad_f1

LABELS = 4


def draw(seed: int, count: int = 60) -> tuple[np.ndarray, np.ndarray]:
    dice = np.random.default_rng(seed)
    gold = dice.integers(0, LABELS - seed % 2, count)
    return gold, np.where(dice.random(count) < 0.6, gold, dice.integers(0, LABELS, count))


@pytest.mark.parametrize("seed", range(6))
def test_g12_labels_as_scikit_learn(seed):
    from sklearn import metrics as reference

    gold, said = draw(seed)
    assert metric.accuracy(gold, said).score == pytest.approx(reference.accuracy_score(gold, said), abs=1e-12)
    for average in ("macro", "micro"):
        found = metric.f1(gold, said, LABELS, average=average).score
        assert found == pytest.approx(reference.f1_score(gold, said, average=average), abs=1e-12)
    assert metric.matthews(gold, said, LABELS).score == pytest.approx(
        reference.matthews_corrcoef(gold, said), abs=1e-12
    )
    assert (metric.confusion(gold, said, LABELS) == reference.confusion_matrix(gold, said, labels=range(LABELS))).all()
    score = np.random.default_rng(seed).random(60).round(1)
    assert metric.area_under_curve(gold > 0, score) == pytest.approx(
        reference.roc_auc_score(gold > 0, score), abs=1e-12
    )
    table, other = (np.random.default_rng(seed + n).integers(0, 2, (30, 5)) for n in (0, 50))
    for average in ("macro", "micro"):
        found = metric.multi_label_f1(table, other, average=average).score
        assert found == pytest.approx(reference.f1_score(table, other, average=average, zero_division=0.0), abs=1e-12)


def test_g12_a_constant_answer_has_no_correlation():
    assert metric.matthews(np.array([0, 1, 1]), np.array([1, 1, 1]), 2).score == 0.0


@settings(max_examples=60, deadline=None)
@given(st.lists(st.lists(st.sampled_from("O B-A I-A B-B I-B".split()), min_size=1, max_size=8), min_size=1, max_size=5),
       st.integers(0, 2**31))  # fmt: skip
def test_g12_entities_as_seqeval(gold, seed):
    import warnings

    from seqeval.metrics import f1_score

    dice = np.random.default_rng(seed)
    said = [
        [str(dice.choice("O B-A I-A B-B I-B".split())) if dice.random() < 0.3 else tag for tag in row] for row in gold
    ]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        wanted = f1_score(gold, said, zero_division=0)
    assert metric.entity_f1(gold, said).score == pytest.approx(float(wanted), abs=1e-12)


SAID = ["the cat sat on a mat .", "It is raining , today", "a b", "ein Hund läuft über die Wiese"]
GOLD = ["the cat sat on the mat .", "It rains today", "a b c", "ein Hund rennt über die grüne Wiese"]


def test_g12_translation_as_sacrebleu():
    import sacrebleu

    found = metric.bleu(SAID, GOLD)
    assert found.score == pytest.approx(sacrebleu.corpus_bleu(SAID, [GOLD]).score, abs=1e-9)
    assert "tok:13a" in found.signature and "nrefs:1" in found.signature
    said, gold = ["我爱自然语言处理", "今天天气很好"], ["我喜欢自然语言处理", "今天天气不错"]
    assert metric.bleu(said, gold, tokenize="zh").score == pytest.approx(
        sacrebleu.corpus_bleu(said, [gold], tokenize="zh").score, abs=1e-9
    )
    assert metric.chrf(SAID, GOLD).score == pytest.approx(sacrebleu.corpus_chrf(SAID, [GOLD]).score, abs=1e-9)
    assert metric.ter(SAID, GOLD).score == pytest.approx(sacrebleu.corpus_ter(SAID, [GOLD]).score, abs=1e-9)


@pytest.mark.parametrize(
    ("said", "gold", "exact", "overlap"),
    [
        ("The Cat!", "cat", 1.0, 1.0),
        ("a black cat", "the cat", 0.0, 2 / 3),
        ("cat cat", "cat", 0.0, 2 / 3),
        ("U.S.", "us", 1.0, 1.0),
        ("the", "", 1.0, 1.0),
        ("dog", "cat", 0.0, 0.0),
        ("theatre", "atre", 0.0, 0.0),  # an article is a whole word
    ],
)
def test_g12_english_answers_by_hand(said, gold, exact, overlap):
    assert squad_exact(said, [gold]) == exact
    assert squad_f1(said, [gold]) == pytest.approx(overlap)


@pytest.mark.parametrize(
    ("said", "gold", "exact", "overlap"),
    [
        ("《红楼梦》", "红楼梦", 1.0, 1.0),
        ("北京大学", "北京", 0.0, 2 / 3),
        ("1999年5月", "1999年", 0.0, 2 * 2 / 6),  # 1999 年 5 月 against 1999 年
        ("Nexon公司", "nexon", 0.0, 2 / 4),
        ("上海", "北京", 0.0, 0.0),
        ("甲乙丙", "甲x丙", 0.0, 2 * 1 / 6),  # the longest common run, not the common bag
        ("", "", 1.0, 1.0),
    ],
)
def test_g12_chinese_answers_by_hand(said, gold, exact, overlap):
    assert cmrc_exact(said, [gold]) == exact
    assert cmrc_f1(said, [gold]) == pytest.approx(overlap)
    assert cmrc_f1(said, ["完全不同的答案", gold]) >= overlap


def test_no_gold_answer_means_that_none_is_right():
    assert squad_exact("", []) == squad_f1("", []) == cmrc_f1("", []) == 1.0
    assert squad_f1("something", []) == 0.0


@pytest.mark.parametrize("seed", range(4))
def test_g12_rankings_as_scikit_learn(seed):
    from sklearn.metrics import average_precision_score, ndcg_score

    dice = np.random.default_rng(seed)
    gains, scores = dice.integers(0, 4, 20).astype(float), dice.permutation(20).astype(float)
    order = np.argsort(-scores)
    found = metric.ndcg(gains[order].tolist(), gains.tolist(), k=10)
    assert found == pytest.approx(ndcg_score([gains], [scores], k=10), abs=1e-12)
    found = metric.average_precision((gains[order] > 1).tolist(), int((gains > 1).sum()))
    assert found == pytest.approx(average_precision_score(gains > 1, scores), abs=1e-12)

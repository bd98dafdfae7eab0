"""Metrics equal their reference tools; text rules equal the official scripts' answers."""

import re
import string
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trifold.errors import ConfigError, MissingExtraError, UsageError
from trifold.evaluation import metric
from trifold.evaluation.metric_text import MARKS, cmrc_exact, cmrc_f1, squad_exact, squad_f1

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
    assert np.isnan(metric.area_under_curve(np.ones(3), np.ones(3)))


@pytest.mark.parametrize("measure", ["accuracy", "f1", "matthews", "confusion", "area", "entities", "bleu", "table"])
def test_unequal_numbers_of_examples_are_refused(measure):
    short, long = np.array([0]), np.array([0, 1, 1])
    call = {
        "accuracy": lambda: metric.accuracy(long, short),
        "f1": lambda: metric.f1(long, short, 2),
        "matthews": lambda: metric.matthews(long, short, 2),
        "confusion": lambda: metric.confusion(long, short, 2),
        "area": lambda: metric.area_under_curve(long, short),
        "entities": lambda: metric.entity_f1([["O"], ["O"]], [["O"]]),
        "bleu": lambda: metric.bleu(["a"], ["a", "b"]),
        "table": lambda: metric.multi_label_f1(np.ones((2, 3)), np.ones((1, 3)), average="micro"),
    }[measure]
    with pytest.raises(UsageError, match="paired"):
        call()


@pytest.mark.parametrize("label", [-1, 2])
def test_labels_outside_their_range_are_refused(label):
    good, bad = np.array([0, 1]), np.array([0, label])
    for call in (metric.matthews, metric.confusion, metric.f1):
        with pytest.raises(ConfigError, match="0 to 1"):
            call(good, bad, 2)
    with pytest.raises(ConfigError, match="macro"):
        metric.f1(good, good, 2, average="weighted")
    with pytest.raises(ConfigError, match="linear"):
        metric.ndcg([1.0], [1.0], k=1, gain="square")


def test_g12_a_constant_answer_has_no_correlation():
    assert metric.matthews(np.array([0, 1, 1]), np.array([1, 1, 1]), 2).score == 0.0


TAGS = "O B-A I-A B-B I-B E-A S-A E-B S-B".split()


@settings(max_examples=100, deadline=None)
@given(st.lists(st.lists(st.sampled_from(TAGS), min_size=1, max_size=8), min_size=1, max_size=5),
       st.integers(0, 2**31))  # fmt: skip
def test_g12_entities_as_seqeval(gold, seed):
    import warnings

    from seqeval import metrics as reference
    from seqeval.metrics.sequence_labeling import get_entities

    dice = np.random.default_rng(seed)
    said = [[str(dice.choice(TAGS)) if dice.random() < 0.3 else tag for tag in row] for row in gold]
    assert metric.entities(gold[0]) == set(get_entities(gold[0]))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        wanted = float(reference.f1_score(gold, said, zero_division=0))
        assert metric.entity_f1(gold, said).score == pytest.approx(wanted, abs=1e-12)


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
    assert metric.chrf(said, gold).score == pytest.approx(sacrebleu.corpus_chrf(said, [gold]).score, abs=1e-9)
    assert metric.ter(SAID, GOLD).score == pytest.approx(sacrebleu.corpus_ter(SAID, [GOLD]).score, abs=1e-9)
    wanted = sacrebleu.corpus_ter(said, [gold], normalized=True, asian_support=True).score
    assert metric.ter(said, gold, asian=True).score == pytest.approx(wanted, abs=1e-9)
    with pytest.raises(UsageError, match="no examples"):
        metric.bleu([], [])


@pytest.mark.parametrize("build", [metric.bleu, metric.chrf, metric.ter])
def test_translations_drawn_again_are_scored_by_the_tool_itself(build):
    tally, chosen = build(SAID, GOLD), [0, 0, 3, 1]
    weights = np.bincount(chosen, minlength=4).astype(float)
    wanted = build([SAID[n] for n in chosen], [GOLD[n] for n in chosen]).score
    assert tally.value(weights @ tally.rows) == pytest.approx(wanted, abs=1e-9)
    many = tally.value(np.stack([weights @ tally.rows] * 3))
    assert many.shape == (3,) and many == pytest.approx(wanted, abs=1e-9)


def test_without_sacrebleu_the_message_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "sacrebleu.metrics.bleu", None)
    with pytest.raises(MissingExtraError, match=r"trifold\[eval\]"):
        metric.bleu(["a"], ["a"])


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
        ("", "the", 1.0, 1.0),  # a gold answer of which nothing is left is none
    ],
)
def test_g12_english_answers_by_hand(said, gold, exact, overlap):
    assert squad_exact(said, [gold]) == exact
    assert squad_f1(said, [gold]) == pytest.approx(overlap)


@settings(max_examples=150, deadline=None)
@given(st.text("aTthe n.,'-", max_size=12), st.lists(st.text("aTthe n.,'-", max_size=12), max_size=3))
def test_g12_english_answers_as_the_rule_of_squad_2_says(said, gold):
    def words(text):
        bare = text.lower().translate(str.maketrans("", "", string.punctuation))
        return re.sub(r"\b(?:a|an|the)\b", " ", bare).split()

    def overlap(one, other):
        if not one or not other:
            return float(one == other)
        shared = sum(min(one.count(word), other.count(word)) for word in set(one))
        precision, recall = shared / len(one), shared / len(other)
        return 2 * precision * recall / (precision + recall) if shared else 0.0

    kept = [words(one) for one in gold if words(one)] or [[]]  # a question without answers wants none
    assert squad_exact(said, gold) == max(words(said) == one for one in kept)
    assert squad_f1(said, gold) == pytest.approx(max(overlap(words(said), one) for one in kept), abs=1e-12)


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
        ("等等……", "等等", 0.0, 4 / 5),  # the script lists two dots of it as one mark, so they stay
        ("约1.5米", "1.5米", 0.0, 2 * 2 / 5),  # 约 1.5 米
        ("1,000人", "1000人", 0.0, 2 * 1 / 4),
        ("10:30", "1030", 1.0, 1.0),  # the colon is left out before words are cut
        ("windows 10（64位）", "Windows 10", 0.0, 2 * 1 / 5),  # windows 1064 位: so does the script
        ("甲、乙", "甲乙", 1.0, 1.0),
    ],
)
def test_g12_chinese_answers_by_hand(said, gold, exact, overlap):
    assert cmrc_exact(said, [gold]) == exact
    assert cmrc_f1(said, [gold]) == pytest.approx(overlap)
    assert cmrc_f1(said, ["完全不同的答案", gold]) >= overlap


@pytest.mark.parametrize(
    ("text", "words"),
    [  # as nltk.NLTKWordTokenizer 3.10 cuts them
        ("约3.14%", "约3.14 %"),
        ("u.s.", "u.s ."),
        ("hello, world.", "hello , world ."),
        ("北京大学(peking university)", "北京大学 ( peking university )"),
        ("don't stop", "do n't stop"),
        ("children's day", "children 's day"),
        ("$5.00", "$ 5.00"),
        ("no.1 a&b 3,4...", "no.1 a & b 3,4 ..."),
    ],
)
def test_words_between_chinese_characters_are_cut_as_nltk_does(text, words):
    assert " ".join(MARKS.sub(r" \1 ", text).split()) == words


@settings(max_examples=100, deadline=None)
@given(st.text("甲乙丙a1. ，", max_size=10), st.text("甲乙丙a1. ，", max_size=10))
def test_chinese_overlap_is_symmetric_and_full_for_equal_answers(one, other):
    assert cmrc_f1(one, [other]) == pytest.approx(cmrc_f1(other, [one]))
    assert 0.0 <= cmrc_f1(one, [other]) <= 1.0
    assert cmrc_f1(one, [one]) == cmrc_exact(one, [one]) == 1.0


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
    found = metric.ndcg(gains[order].tolist(), gains.tolist(), k=10, gain="exponential")
    assert found == pytest.approx(ndcg_score([2.0**gains - 1], [scores], k=10), abs=1e-12)
    found = metric.average_precision((gains[order] > 1).tolist(), int((gains > 1).sum()))
    assert found == pytest.approx(average_precision_score(gains > 1, scores), abs=1e-12)


def test_rankings_by_hand():
    assert metric.reciprocal_rank([False, False, True]) == pytest.approx(1 / 3)
    assert metric.reciprocal_rank([False]) == metric.reciprocal_rank([]) == 0.0
    assert metric.average_precision([True], 2) == 0.5  # the one that is not found counts
    assert metric.average_precision([], 0) == metric.ndcg([1.0], [], k=3) == 0.0


@settings(max_examples=50, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 2), st.integers(0, 2)), min_size=1, max_size=20), st.integers(0, 2**31))
def test_summed_rows_give_the_metric_of_the_examples_drawn(pairs, seed):
    gold, said = np.array(pairs).T
    chosen = np.random.default_rng(seed).integers(0, len(gold), len(gold))
    weights = np.bincount(chosen, minlength=len(gold)).astype(float)
    for build in (
        metric.accuracy,
        lambda told, given: metric.f1(told, given, 3),
        lambda told, given: metric.f1(told, given, 3, average="micro"),
        lambda told, given: metric.matthews(told, given, 3),
    ):
        tally = build(gold, said)
        assert tally.value(weights @ tally.rows) == pytest.approx(build(gold[chosen], said[chosen]).score, abs=1e-12)

"""Tuned runs say in transformers' own pipelines and classes what they say in Trifold."""

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers

from trifold.data.rows import Row
from trifold.tasks import (
    Classification,
    FineTuning,
    LabelledData,
    LoadedModel,
    MultipleChoice,
    Prediction,
    Regression,
    SpanQA,
    Tagging,
    load,
)
from trifold.tasks.experiment import TRAINING
from trifold.tasks.finetune import finetune
from trifold.tasks.task import TaskConfig
from trifold.tasks.units import joined
from trifold.training import AdamW, ModelChoice, TokenizerChoice

KINDS: dict[str, Any] = {"bert": "wordpiece", "roberta": "byte_bpe", "modernbert": "byte_bpe", "gpt2": "byte_bpe",
                         "llama": "byte_bpe", "t5": "unigram"}  # fmt: skip
DIALS: dict[str, Any] = {"num_layers": 2, "d_model": 32, "num_heads": 2}
GOOD, BAD = "good fine lovely great 好 棒 😀".split(), "bad poor awful dull 差 坏 😡".split()
FILL = "the film was and it is a story 这 部 片 ， . 🎬".split()
PEOPLE, PLACES = "Anna Otto Wei Zhang".split(), "Berlin Paris Oslo Lima".split()
ODD = ["这部电影很好😀", "the  film was\tbad 😡", "电影 🎬👩‍👩‍👧 story", "Ünïcödé ☃ fine", " good ", "坏", "x" * 700]


def words(dice: np.random.Generator, extra: Sequence[str]) -> list[str]:
    found = [*dice.choice(FILL, dice.integers(2, 9)), *extra]
    dice.shuffle(found)
    return [str(word) for word in found]


def texts(count: int, seed: int) -> Iterator[tuple[str, int]]:
    """A text and whether it praises."""
    dice = np.random.default_rng(seed)
    for _ in range(count):
        label = int(dice.integers(2))
        yield " ".join(words(dice, [dice.choice((BAD, GOOD)[label])])), label


def sentiment(count: int, seed: int) -> list[dict[str, Any]]:
    return [{"text": text, "label": ("negative", "positive")[label]} for text, label in texts(count, seed)]


def pairs(count: int, seed: int) -> list[dict[str, Any]]:
    sides = zip(texts(count, seed), texts(count, seed + 1), strict=True)
    return [{"sentence1": one, "sentence2": other, "label": ("differ", "agree")[a == b]}
            for (one, a), (other, b) in sides]  # fmt: skip


def several(count: int, seed: int) -> list[dict[str, Any]]:
    sides = zip(texts(count, seed), texts(count, seed + 1), strict=True)
    return [{"text": f"{one} {other}", "labels": ["good"] * a + ["bad"] * (1 - b) + ["long"] * (len(one) > 30)}
            for (one, a), (other, b) in sides]  # fmt: skip


def scored(count: int, seed: int) -> list[dict[str, Any]]:
    return [{"text": text, "score": 3.0 + 2.5 * label + len(text) / 50} for text, label in texts(count, seed)]


def tagged(count: int, seed: int) -> list[dict[str, Any]]:
    dice = np.random.default_rng(seed)
    names = {**dict.fromkeys(PEOPLE, "PER"), **dict.fromkeys(PLACES, "LOC")}
    found = [words(dice, [dice.choice(PEOPLE), dice.choice(PLACES)]) for _ in range(count)]
    return [{"tokens": one, "tags": [f"B-{names[word]}" if word in names else "O" for word in one]} for one in found]


def asked(count: int, seed: int) -> list[dict[str, Any]]:
    dice = np.random.default_rng(seed)
    found = []
    for _ in range(count):
        who = str(dice.choice(PEOPLE))
        context = " ".join(words(dice, [who, dice.choice(PLACES)]))
        answers = {"text": [who], "answer_start": [context.index(who)]}
        found.append({"id": str(len(found)), "question": "who is it ?", "context": context, "answers": answers})
    return found


def chosen(count: int, seed: int) -> list[dict[str, Any]]:
    """Which of three texts is the one that praises."""
    good = iter(text for text, label in texts(9 * count, seed) if label)
    bad = iter(text for text, label in texts(9 * count, seed + 1) if not label)
    return [{"question": "which is good ?", "choices": [next(bad) for _ in range(number % 3)] + [next(good)]
             + [next(bad) for _ in range(2 - number % 3)], "label": number % 3} for number in range(count)]  # fmt: skip


def but_slow(*chosen: Any, others: Sequence[Any]) -> list[Any]:
    """The chosen cases, and others that only `make test-all` runs."""
    return [*chosen, *(pytest.param(*(one if isinstance(one, tuple) else (one,)), marks=pytest.mark.slow)
                       for one in others)]  # fmt: skip


Tune = Callable[[str, str], Path]
TASKS: dict[str, tuple[Callable[[int, int], list[dict[str, Any]]], TaskConfig]] = {
    "sentiment": (sentiment, Classification(max_length=96, ngrams=0)),
    "pairs": (pairs, Classification(max_length=96, ngrams=0)),
    "several": (several, Classification(multi_label=True, ngrams=0)), "scored": (scored, Regression(ngrams=0)),
    "chosen": (chosen, MultipleChoice(max_length=96)),
    "tagged": (tagged, Tagging(units="words")), "asked": (asked, SpanQA(max_question=16, max_answer=8)),
}  # fmt: skip


@pytest.fixture(scope="module")
def tune(tmp_path_factory: pytest.TempPathFactory) -> Tune:
    """Tunes a family for a task, once, and gives the folder."""
    runs: dict[tuple[str, str], Path] = {}
    place = tmp_path_factory.mktemp("runs")

    def tuned(family: str, name: str) -> Path:
        if (family, name) not in runs:
            rows, task = TASKS[name]
            data = place / f"{name}.jsonl"
            data.write_text("\n".join(json.dumps(row) for row in rows(128, 0)), encoding="utf-8")
            training = replace(TRAINING, steps=16, evaluate_every=16, optimizer=AdamW(lr=5e-3))
            runs[family, name] = finetune(
                FineTuning(
                    model=ModelChoice(preset=family, overrides=DIALS), task=task, data=LabelledData(train=str(data)),
                    tokenizer=TokenizerChoice(kind=KINDS[family], vocab_size=600), training=training, epochs=None,
                ), place / f"{family}-{name}",
            ).folder  # fmt: skip
        return runs[family, name]

    return tuned


def said(tuned: LoadedModel, rows: Sequence[dict[str, Any]]) -> list[Prediction]:
    columns = {"tokens": "text"} if tuned.task.config.kind == "tagging" else {name: name for name in rows[0]}
    return list(tuned.task.predict(tuned.model, [tuned.task.record(Row(row, "here"), columns) for row in rows]))


def compare(folder: Path, rows: Sequence[dict[str, str]]) -> None:
    """The pipeline's scores of every label, and its first label, are those of the run."""
    pipe: Any = transformers.pipeline("text-classification", model=str(folder), device="cpu")
    theirs = pipe(list(rows) if len(rows[0]) > 1 else [row["text"] for row in rows], top_k=None, truncation=True)
    tuned = load(folder)
    labels, head = {one["label"] for one in theirs[0]}, tuned.task.head
    assert head is not None and labels == set(head.labels)
    for row, mine, other in zip(rows, said(tuned, rows), theirs, strict=True):
        scores = {one["label"]: one["score"] for one in other}
        if tuned.task.config.kind == "regression":
            assert scores["score"] == pytest.approx(mine.answer, abs=1e-4), row
            continue
        assert {name: mine.details["probabilities"][name] for name in scores} == pytest.approx(scores, abs=1e-4), row
        chosen = sorted(name for name, score in scores.items() if score > 0.5)
        assert (sorted(mine.answer) if isinstance(mine.answer, list) else [mine.answer]) == chosen or len(labels) > 2


@pytest.mark.parametrize("family", but_slow("bert", "gpt2", "t5", others=("roberta", "modernbert", "llama")))
def test_a_pipeline_classifies_texts_as_the_run_does(tune: Tune, family: str) -> None:
    compare(tune(family, "sentiment"), [{"text": text} for text in [*ODD, *(text for text, _ in texts(40, 7))]])


@pytest.mark.slow
@pytest.mark.parametrize("family", KINDS)
def test_a_pipeline_classifies_a_thousand_texts_as_the_run_does(tune: Tune, family: str) -> None:
    compare(tune(family, "sentiment"), [{"text": text} for text, _ in texts(1000, 8)])


@pytest.mark.parametrize("family", but_slow("bert", others=["llama"]))
def test_a_pipeline_classifies_pairs_as_the_run_does(tune: Tune, family: str) -> None:
    rows = [{"text": row["sentence1"], "text_pair": row["sentence2"]} for row in pairs(20, 7)]
    compare(
        tune(family, "pairs"), [*rows, {"text": ODD[-1], "text_pair": ODD[0]}, {"text": ODD[1], "text_pair": ODD[-1]}]
    )


@pytest.mark.parametrize(
    ("family", "name"), but_slow(("bert", "several"), ("gpt2", "scored"), others=[("bert", "scored")])
)
def test_a_pipeline_gives_several_labels_and_scores_as_the_run_does(tune: Tune, family: str, name: str) -> None:
    compare(tune(family, name), [{"text": text} for text in [*ODD, *(text for text, _ in texts(20, 7))]])


@pytest.mark.filterwarnings("ignore:.*fallback heuristic")  # transformers says so of every tokenizer of bytes
@pytest.mark.parametrize("family", but_slow("roberta", others=["bert", "modernbert"]))
def test_a_pipeline_finds_the_entities_that_the_run_finds(tune: Tune, family: str) -> None:
    folder = tune(family, "tagged")
    cut = [row["tokens"] for row in tagged(40, 7)]
    if family != "bert":  # its tokenizer parts Chinese characters, as the run does; for others they are one word
        cut = [[word for word in one if word.isascii() or word == "🎬"] for one in cut]
    sentences = [joined(one, "words") for one in cut]
    pipe: Any = transformers.pipeline(
        "token-classification", model=str(folder), aggregation_strategy="first", device="cpu"
    )
    mine = said(load(folder), [{"text": text} for text in sentences])
    count = 0
    for text, one, theirs in zip(sentences, mine, pipe(sentences), strict=True):
        found = {(part["type"], part["start"], part["end"]): part["score"] for part in one.details["entities"]}
        wanted = {(part["entity_group"], part["start"], part["end"]): float(part["score"]) for part in theirs}
        assert found == pytest.approx(wanted, abs=1e-4), text
        count += len(found)
    assert count > 20


@pytest.mark.parametrize("family", but_slow("bert", others=["roberta", "modernbert"]))
def test_the_class_of_multiple_choice_scores_candidates_as_the_run_does(tune: Tune, family: str) -> None:
    folder, rows = tune(family, "chosen"), chosen(20, 7)
    model = transformers.AutoModelForMultipleChoice.from_pretrained(folder).eval()
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    for row, one in zip(rows, said(load(folder), rows), strict=True):
        given = tokenizer([row["question"]] * 3, row["choices"], padding=True, return_tensors="pt")
        with torch.no_grad():
            scores = model(**{name: value[None] for name, value in given.items()}).logits[0]
        assert torch.allclose(torch.tensor(one.logits), scores, rtol=1e-5, atol=1e-5), row
        assert one.answer == row["choices"][int(scores.argmax())]


@pytest.mark.parametrize("family", but_slow("gpt2", others=["bert", "roberta", "t5"]))
def test_the_class_of_question_answering_finds_the_spans_that_the_run_finds(tune: Tune, family: str) -> None:
    folder = tune(family, "asked")
    model = transformers.AutoModelForQuestionAnswering.from_pretrained(folder).eval()
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    rows = [{"question": row["question"], "context": row["context"]} for row in asked(30, 7)]
    mine = said(load(folder), rows)
    right = 0
    for row, one in zip(rows, mine, strict=True):
        given = tokenizer(row["question"], row["context"], return_tensors="pt", return_offsets_mapping=True)
        offsets = given.pop("offset_mapping")[0].tolist()
        inside = np.array([side == 1 for side in given.sequence_ids()])
        with torch.no_grad():
            out = model(**given)
        scores = out.start_logits[0, :, None] + out.end_logits[0, None, :]
        fits = torch.ones_like(scores, dtype=torch.bool).triu() & ~torch.ones_like(scores, dtype=torch.bool).triu(8)
        fits &= torch.tensor(inside)[:, None] & torch.tensor(inside)[None, :]
        first, last = divmod(int(scores.masked_fill(~fits, -torch.inf).argmax()), scores.shape[1])
        span = row["context"][offsets[first][0] : offsets[last][1]]
        assert one.answer.strip() == span.strip(), row
        right += one.answer in row["context"]
    assert right == len(rows)

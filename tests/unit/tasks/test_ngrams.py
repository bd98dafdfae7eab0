"""A linear model of runs of tokens beside the deep one: at its optimum, honest about its own texts, saved with the run."""

import json

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from trifold.batch import Layout
from trifold.config import from_json
from trifold.errors import ConfigError, ModelFileError
from trifold.example import TrainingExample
from trifold.tasks import finetune, load, ngram_fit
from trifold.tasks.classification import Classification
from trifold.tasks.experiment import FineTuning
from trifold.tasks.multiple_choice import MultipleChoice
from trifold.tasks.ngram_fit import fit_ngrams
from trifold.tasks.ngrams import NGramBag
from trifold.tasks.regression import Regression
from trifold.tasks.tagging import Tagging
from trifold.tasks.translation import Translation
from trifold.training import ModelChoice, TokenizerChoice

SETTING = {"strengths": (10.0,), "shares": (1.0,)}
WORDS = "a film that was and it is this of the".split()


def summed(logits: Tensor, wanted: Tensor) -> Tensor:
    return F.cross_entropy(logits, wanted, reduction="sum")


def texts(count: int, labels: int = 3, seed: int = 0) -> tuple[list[TrainingExample], Tensor]:
    """Token 10 + n stands in most texts of label n."""
    dice = np.random.default_rng(seed)
    wanted = dice.integers(labels, size=count)
    told = np.where(dice.random(count) < 0.8, wanted, dice.integers(labels, size=count))
    ids = [np.append(dice.integers(20, 60, size=dice.integers(1, 9)), 10 + one) for one in told]
    return [TrainingExample(labels=np.zeros(len(one), np.int64), source=one) for one in ids], torch.from_numpy(wanted)


def dense(bag: NGramBag, examples: list[TrainingExample]) -> Tensor:
    """The weights of all runs of each text, as a table."""
    rows = [bag.counts(torch.from_numpy(one.source)[None], torch.zeros(1, len(one.source), dtype=torch.int64))
            for one in examples if one.source is not None]  # fmt: skip
    return torch.stack([torch.zeros(one.size[1]).index_add(0, one.runs, one.weights) for one in rows])


def test_it_is_what_logistic_regression_comes_to():
    pytest.importorskip("sklearn")
    from sklearn.linear_model import LogisticRegression

    examples, wanted = texts(200)
    bag, _ = fit_ngrams(NGramBag(3, 2), examples, wanted, summed, groups=range(len(examples)), **SETTING)
    table = dense(bag, examples).numpy()
    theirs = LogisticRegression(C=10.0, max_iter=2000, tol=1e-8).fit(table, wanted.numpy())
    ours = torch.from_numpy(table) @ bag.table + bag.bias
    wanted_logits = theirs.decision_function(table)
    scale = float((ours * torch.from_numpy(wanted_logits)).sum() / (wanted_logits**2).sum())  # ours has a temperature
    away = np.abs(ours.numpy() / scale - wanted_logits).max()
    assert away < 0.05 * np.abs(wanted_logits).max()


def test_what_it_says_of_its_own_texts_was_said_without_them():
    dice = np.random.default_rng(0)
    ids = [np.arange(100 + 5 * n, 105 + 5 * n) for n in range(100)]  # no two texts share a token
    examples = [TrainingExample(labels=np.zeros(5, np.int64), source=one) for one in ids]
    wanted = torch.from_numpy(dice.integers(2, size=100))
    bag, said = fit_ngrams(NGramBag(2, 1), examples, wanted, summed, groups=range(len(examples)), **SETTING)
    learned = (dense(bag, examples) @ bag.table + bag.bias).argmax(1)
    assert float((learned == wanted).float().mean()) == 1.0
    assert float((said.argmax(1) == wanted).float().mean()) < 0.7


def test_texts_beyond_those_that_are_fitted_are_read_by_the_finished_model(monkeypatch):
    examples, wanted = texts(300)
    monkeypatch.setattr(ngram_fit, "MOST_TOKENS", 600)
    bag, said = fit_ngrams(NGramBag(3, 2), examples, wanted, summed, groups=range(len(examples)), **SETTING)
    whole = dense(bag, examples) @ bag.table + bag.bias
    same = (said - whole).abs().amax(1) < 1e-4
    assert 100 < int(same.sum()) < 250
    assert float((said.argmax(1) == wanted).float().mean()) > 0.6


def test_texts_of_one_group_are_left_out_together():
    dice = np.random.default_rng(0)
    ids = [np.arange(100 + 5 * (n // 4), 105 + 5 * (n // 4)) for n in range(200)]  # four times the same text
    examples = [TrainingExample(labels=np.zeros(5, np.int64), source=one) for one in ids]
    wanted = torch.from_numpy(dice.integers(2, size=50)).repeat_interleave(4)
    _, alone = fit_ngrams(NGramBag(2, 1), examples, wanted, summed, groups=range(200), **SETTING)
    _, together = fit_ngrams(NGramBag(2, 1), examples, wanted, summed, groups=[n // 4 for n in range(200)], **SETTING)
    assert float((alone.argmax(1) == wanted).float().mean()) > 0.9
    assert float((together.argmax(1) == wanted).float().mean()) < 0.7


def test_how_strongly_it_is_fitted_follows_from_the_texts(monkeypatch):
    strengths: list[float] = []
    optimum = ngram_fit._Fit.optimum

    def spy(self, counts, strength, only=None, start=None):
        strengths.append(strength)
        return optimum(self, counts, strength, only, start)

    monkeypatch.setattr(ngram_fit._Fit, "optimum", spy)
    dice = np.random.default_rng(0)
    noise = [dice.integers(20, 60, size=9) for _ in range(400)]
    examples = [TrainingExample(labels=np.zeros(9, np.int64), source=one) for one in noise]
    fit_ngrams(NGramBag(2, 2), examples, torch.from_numpy(dice.integers(2, size=400)), summed, groups=range(400))
    for_nothing = strengths[-1]
    votes = torch.tensor([int((one % 2).sum() > 4) for one in noise])  # of nine tokens, each with a side
    fit_ngrams(NGramBag(2, 1), examples, votes, summed, groups=range(400))
    assert for_nothing == ngram_fit.STRENGTHS[0] < 5 <= strengths[-1]


def test_a_document_is_read_alike_whatever_stands_beside_it():
    torch.manual_seed(0)
    bag = NGramBag(3, 3, 256)
    torch.nn.init.normal_(bag.table)
    torch.nn.init.uniform_(bag.rarity, 1, 4)
    one, other = torch.tensor([[5, 6, 7, 5]]), torch.tensor([[8, 5]])
    alone = bag(one, Layout.whole(1, 4))
    numbers = torch.tensor([[1, 1, 1, 1, 2, 2, 0]])
    packed = Layout(positions=torch.tensor([[0, 1, 2, 3, 0, 1, 0]]), documents=numbers)
    both = bag(torch.cat([one, other, torch.zeros(1, 1, dtype=torch.int64)], 1), packed)
    torch.testing.assert_close(both[1], alone[0])
    torch.testing.assert_close(both[2], bag(other, Layout.whole(1, 2))[0])


def rows(count: int, seed: int = 0) -> list[dict[str, str]]:
    dice = np.random.default_rng(seed)
    found = []
    for _ in range(count):
        label = int(dice.integers(2))
        words = [*dice.choice(WORDS, dice.integers(2, 9)), ("bad", "good")[label]]
        found.append({"text": " ".join(dice.permutation(words)), "label": ("no", "yes")[label]})
    return found


SMALL = {"num_layers": 1, "d_model": 16, "num_heads": 2}


def experiment(start: str | None = None, **task: object) -> FineTuning:
    model = {"start": start} if start else {"preset": "bert", "overrides": SMALL}
    training = {"steps": 4, "batch_size": 16, "optimizer": {"kind": "adamw", "lr": 1e-3}}
    data = {"model": model, "task": {"kind": "classification", **task}, "training": training, "epochs": None,
            "tokenizer": {} if start else {"vocab_size": 120}}  # fmt: skip
    return from_json(FineTuning, data, where="experiment")


def test_a_run_from_random_weights_has_one_says_the_same_when_loaded_and_goes_on(tmp_path):
    stages: list[str] = []
    result = finetune(experiment(), tmp_path / "run", train=rows(200), test=rows(60, 1),
                      listen=lambda event: stages.append(event.stage))  # fmt: skip
    assert "linear" in stages and result.judgement["metrics"]["accuracy"]["value"] == 1.0
    task = json.loads((tmp_path / "run/task.json").read_text())["task"]
    loaded = load(tmp_path / "run")
    assert task["ngrams"] == 2 and task["ngram_rows"] == len(NGramBag.of(loaded.model).table) > 0
    assert [one.answer for one in loaded.predict(["it was good", "a bad film"])] == ["yes", "no"]
    again = finetune(experiment(str(tmp_path / "run")), tmp_path / "more", train=rows(80, 2))
    kept, gone_on = NGramBag.of(loaded.model), NGramBag.of(load(again.folder).model)
    ratio = gone_on.table[kept.table != 0] / kept.table[kept.table != 0]  # divided by a temperature at most
    assert len(gone_on.table) == len(kept.table) and float(ratio.detach().std()) < 1e-4


def test_it_is_left_out_where_it_is_not_wanted_and_where_a_model_was_pre_trained(tmp_path):
    finetune(experiment(ngrams=0), tmp_path / "without", train=rows(60))
    assert "ngrams" not in load(tmp_path / "without").model.heads
    finetune(experiment(str(tmp_path / "without")), tmp_path / "more", train=rows(60))
    assert "ngrams" not in load(tmp_path / "more").model.heads
    assert Classification().started_from(None).ngrams == 2 == Regression().started_from(None).ngrams
    with pytest.raises(ConfigError, match="ngrams"):
        MultipleChoice(ngrams=1)


def test_a_table_of_any_size_is_not_made_because_a_folder_says_so(tmp_path):
    finetune(experiment(), tmp_path / "run", train=rows(60))
    for given, error in (
        (10**12, ConfigError),
        (2**15, ModelFileError),
    ):  # more than is ever made; another than is there
        path = tmp_path / "run/task.json"
        told = json.loads(path.read_text())
        path.write_text(json.dumps({"task": told["task"] | {"ngram_rows": given}}))
        with pytest.raises(error):
            load(tmp_path / "run")


def test_the_deep_model_starts_from_what_the_linear_one_knows(tmp_path):
    found: list[float] = []

    def listen(event):
        if event.evaluation is not None:
            found.append(event.evaluation.loss)

    finetune(experiment(), tmp_path / "run", train=rows(200), listen=listen)
    assert found[0] < 0.3  # of ln 2, before the first step


def test_scores_have_one_too(tmp_path):
    dice = np.random.default_rng(0)
    scored = [{"text": " ".join(["good"] * n + ["bad"] * (4 - n) + list(dice.choice(WORDS, 3))), "score": float(n)}
              for n in dice.integers(5, size=200)]  # fmt: skip
    result = finetune(experiment(kind="regression"), tmp_path / "run", train=scored)
    assert result.judgement["metrics"]["pearson"]["value"] > 0.8


@pytest.mark.parametrize(
    ("task", "said", "lowercase"),
    [
        (Classification(), {}, True),
        (Classification(), {"lowercase": False}, False),
        (Classification(), {"kind": "byte_bpe"}, False),
        (Tagging(), {}, False),
        (Translation(), {}, False),
    ],
)
def test_text_is_lower_cased_where_a_task_counts_words_and_nobody_says_otherwise(task, said, lowercase):
    tuning = FineTuning(model=ModelChoice(preset="bert"), task=task, tokenizer=TokenizerChoice(**said))
    assert tuning.tokenizer.lowercase is lowercase

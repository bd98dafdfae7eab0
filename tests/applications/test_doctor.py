"""The doctor finds nothing wrong where nothing is, and finds what is; drills leave the run as it was."""

import hashlib
import json
from dataclasses import replace

import pytest
import torch
from safetensors.torch import save_file

from tests.applications.test_runs import call, write_text
from trifold.checkpoint import hugging_face
from trifold.cli.doctor import NAMES
from trifold.doctor import examine, numeric, open_subject, text
from trifold.doctor.check import CHECKS
from trifold.locale import catalogue
from trifold.model import attention
from trifold.model.cache import Slot
from trifold.presets.pretrained import Transformer
from trifold.tasks import Classification, Embedding, Generation, LoadedModel, Regression, SpanQA, Tagging, Translation
from trifold.tasks.build import build_task
from trifold.tasks.equip import equip
from trifold.tasks.multiple_choice import MultipleChoice
from trifold.text import train_tokenizer
from trifold.training import Trainer
from trifold.training.adapter import LowRankLinear, add_adapters

QUICK = tuple(name for name in NAMES if name not in ("resume", "machine"))


def verdicts(subject, *names):
    return {one.name: one.passed for one in examine(subject, names)}


def test_the_command_knows_every_check_and_each_has_its_words():
    assert tuple(CHECKS) == NAMES
    assert all({f"{name}_claim", f"{name}_advice"} <= catalogue("en")["doctor"].keys() for name in NAMES)


@pytest.mark.parametrize("preset", ["gpt2", "llama", "mistral", "bert", "modernbert", "roberta", "t5", "vaswani"])
def test_every_family_is_healthy(tmp_path, preset):
    found = verdicts(open_subject(preset, tmp_path), *QUICK)
    assert False not in found.values(), found
    assert sum(passed is True for passed in found.values()) >= 8


def test_a_run_is_examined_on_its_own_text_and_drilled_on_a_copy(tmp_path, capsys):
    data = tmp_path / "text.txt"
    write_text(data)
    run = tmp_path / "run"
    words = ("--data", data, "--document", "line", "--preset", "gpt2", "--steps", 4, "--length", 32, "--batch-size", 4,
             "--overrides", "num_layers=1", "d_model=16", "num_heads=2", "--kind", "character",
             "--vocab-size", 160)  # fmt: skip
    assert call(capsys, "pretrain", *words, "--out", run)[0] == 0
    before = {path: hashlib.sha256(path.read_bytes()).hexdigest() for path in run.rglob("*") if path.is_file()}
    code, out, err = call(capsys, "doctor", run, "--json")
    found = {one["name"]: one["passed"] for one in json.loads(out)["checks"]}
    assert found == {name: None if name == "template" or name.startswith("hf_") else True for name in found}, (out, err)
    for drill in ("disk-full", "bit-flip"):  # killed and gone on with it was just now, by the doctor
        code, out, err = call(capsys, "drill", drill, run, "--place", tmp_path)
        assert code == 0, (out, err)
    assert before == {path: hashlib.sha256(path.read_bytes()).hexdigest() for path in run.rglob("*") if path.is_file()}
    assert not list(tmp_path.glob(".trifold-drill-*"))


@pytest.mark.slow
@pytest.mark.parametrize("drill", ["kill-resume", "disk-full", "bit-flip"])
def test_a_fine_tuned_run_is_drilled_on_a_copy(drill, tmp_path, capsys):
    rows = [
        f"{word} film {number}\t{label}" for number in range(30) for word, label in (("good", "yes"), ("bad", "no"))
    ]
    (tmp_path / "rows.tsv").write_text("\n".join(["text\tlabel", *rows]), encoding="utf-8")
    words = ("--model", "gpt2", "--overrides", "num_layers=1", "d_model=16", "num_heads=2", "--vocab-size", 300,
             "--steps", 4, "--train", tmp_path / "rows.tsv", "training.checkpoint_every=2")  # fmt: skip
    run = tmp_path / "run"
    assert call(capsys, "finetune", "sentiment", *words, "--out", run)[0] == 0
    code, out, err = call(capsys, "drill", drill, run, "--place", tmp_path)
    assert code == 0, (out, err)


def test_a_mask_that_is_missing_is_found(tmp_path, monkeypatch):
    subject = open_subject("gpt2", tmp_path)
    monkeypatch.setattr(attention.Visibility, "is_everything", property(lambda _: True))
    found = verdicts(subject, "causal", "packed", "padding", "cached")
    assert found == dict.fromkeys(found, False)


def _merged_without_scale(self):
    plain = torch.nn.Linear(self.in_features, self.out_features, bias=self.bias is not None)
    plain.weight = torch.nn.Parameter(self.weight + self.lora_b @ self.lora_a)
    plain.bias = self.bias
    return plain


FAULTS = {
    "merged": lambda patch: patch.setattr(LowRankLinear, "merged", _merged_without_scale),
    "frozen": lambda patch: patch.setattr(numeric, "add_adapters", lambda model, *_, **__: add_and_thaw(model)),
    "accumulation": lambda patch: patch.setattr(
        Trainer, "_pass", lambda self, batch, count, plain=Trainer._pass: plain(self, batch, int((batch.labels >= 0).sum()))
    ),
    "end_of_text": lambda patch: patch.setattr(text, "BATCHES", 0),
    "cached": lambda patch: patch.setattr(Slot, "append", lambda self, key, value: (key, value)),
    "saved": lambda patch: patch.setattr(hugging_face, "save_file", lambda tensors, path, metadata=None: save_file(
        {name: value + 1e-3 for name, value in tensors.items()}, path, metadata)),
}  # fmt: skip


def add_and_thaw(model):
    add_adapters(model, ("q_proj",), rank=2, alpha=4.0)
    model.requires_grad_(True)


@pytest.mark.parametrize("name", FAULTS)
def test_what_is_broken_is_found(tmp_path, monkeypatch, name):
    subject = open_subject("gpt2", tmp_path)
    assert verdicts(subject, name) == {name: True}
    FAULTS[name](monkeypatch)
    assert verdicts(subject, name) == {name: False}


@pytest.mark.parametrize("given", ["nowhere", "gpt"])
def test_what_cannot_be_examined_is_refused_in_one_line(capsys, given):
    code, _, err = call(capsys, "doctor", given)
    assert code == 4 and "gpt2" in err and len(err.splitlines()) == 1


TASKS = {
    "classification": (Classification(labels=("no", "yes")), "bert"),
    "pairs": (Classification(labels=("no", "yes"), pairs=True, multi_label=True), "gpt2"),
    "regression": (Regression(mean=0.0, deviation=1.0), "bert"),
    "tagging": (Tagging(labels=("O", "B-X")), "gpt2"),
    "span_qa": (SpanQA(), "bert"),
    "translation": (Translation(beams=1), "vaswani"),
    "generation": (Generation(), "gpt2"),
    "embedding": (Embedding(), "bert"),
    "scores": (Embedding(scores=True), "bert"),
    "choices": (MultipleChoice(), "bert"),
}


@pytest.mark.parametrize("case", TASKS)
def test_every_task_sees_in_use_what_it_saw_in_training(tmp_path, case):
    wanted, preset = TASKS[case]
    tokenizer = train_tokenizer(["the text to read, and the answer is yes"] * 9, kind="byte_bpe", vocab_size=300)
    model = Transformer.from_preset(preset, size="tiny", vocab_size=tokenizer.vocab_size)
    task = build_task(wanted, tokenizer, model.config)
    equip(model, task)
    subject = open_subject("gpt2", tmp_path)
    found = text.template(replace(subject, tuned=LoadedModel(model.eval(), tokenizer, task, tmp_path)))
    assert found.passed is True, found

"""Run in a fresh process, which can be forked: runs killed at random moments, beside one that nobody kills."""

import hashlib
import json
import random
import time
from dataclasses import replace
from pathlib import Path

import sklearn.linear_model  # noqa: F401 - loaded once here, not by the report of every child anew
import torch
import torch._dynamo  # the same, for torch's optimizers

from tests.faults.child import Child
from trifold.checkpoint import checkpoints
from trifold.doctor.resume import state as checkpoint_state
from trifold.objective.config import Causal, Denoising, Masked
from trifold.tasks import Classification, Translation, finetune
from trifold.tasks.experiment import FineTuning, LabelledData, LowRank
from trifold.training import AdamW, DataChoice, Experiment, ModelChoice, Muon, TokenizerChoice, Training, pretrain

TEXT = "the cat sat on the mat and the dog ran to the sun\n"
TRAINING = Training(steps=6, length=24, batch_size=2, accumulation=3, checkpoint_passes=1, evaluate_every=2,
                    checkpoint_every=1, optimizer=AdamW(lr=1e-2), dtype="float32", keep_checkpoints=2)  # fmt: skip
KINDS = {
    "gpt2": AdamW(lr=1e-2),
    "llama": Muon(adamw=AdamW(lr=1e-2)),
    "bert": AdamW(lr=1e-2),
    "t5": Muon(adamw=AdamW(lr=1e-2)),
    "lora": AdamW(lr=1e-2),
    "translation": AdamW(lr=1e-2),
}
DIALS = {"num_layers": 1, "d_model": 16, "num_heads": 2, "d_ff": 24, "dropout": 0.1}


def prepare(kind: str, folder: Path):
    """A function that starts or goes on with a run in a folder."""
    if kind == "lora":
        return _finetune(folder)
    if kind == "translation":
        return _translate(folder)
    text = folder / "text.txt"
    text.write_text(TEXT * 60, encoding="utf-8")
    experiment = Experiment(
        model=ModelChoice(preset=kind, overrides=DIALS if kind != "llama" else {**DIALS, "num_kv_heads": 1}),
        data=DataChoice(paths=(str(text),), document="line", valid_fraction=0.2),
        tokenizer=TokenizerChoice(kind="character", vocab_size=128),
        objective={"bert": Masked(), "t5": Denoising()}.get(kind, Causal()),
        training=replace(TRAINING, optimizer=KINDS[kind]),
    )
    return lambda out, resume: pretrain(experiment, out, resume=resume)


def _finetune(folder: Path):
    pretrain_out = folder / "base"
    prepare("gpt2", folder)(pretrain_out, False)
    rows = [{"text": TEXT[number % 9 :][:20], "label": str(number % 2)} for number in range(80)]
    (folder / "rows.jsonl").write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    experiment = FineTuning(
        model=ModelChoice(start=str(pretrain_out)), task=Classification(), lora=LowRank(rank=2), epochs=None,
        data=LabelledData(train=str(folder / "rows.jsonl")), training=TRAINING,
    )  # fmt: skip
    return lambda out, resume: finetune(experiment, out, resume=resume)


def _translate(folder: Path):
    rows = [{"source": TEXT[number % 9 :][:12], "target": TEXT[number % 7 :][:9]} for number in range(80)]
    (folder / "rows.jsonl").write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    experiment = FineTuning(
        model=ModelChoice(preset="vaswani", overrides=DIALS), task=Translation(max_tokens=4, beams=1), epochs=None,
        tokenizer=TokenizerChoice(kind="character", vocab_size=128), metric="chrf",
        data=LabelledData(train=str(folder / "rows.jsonl")), training=replace(TRAINING, evaluate_rows=4),
    )  # fmt: skip
    return lambda out, resume: finetune(experiment, out, resume=resume)


def state(out: Path) -> dict[str, str]:
    """Hashes of the newest checkpoint's weights, moments, counters and place, and of the finished model."""
    return {**checkpoint_state(out), "final": hashlib.sha256((out / "model.safetensors").read_bytes()).hexdigest()}


def _first_save(child: Child, out: Path) -> int | None:
    """Wait until the run saves for the first time; its exit code where it ends before."""
    code = None
    while code is None and not checkpoints(out / "checkpoints"):
        code = child.wait(0.01)
    return code


def main(kind: str, runs: int, folder: Path) -> dict:
    """How many runs were killed how often, and which ended as another than the one that nobody killed."""
    torch.set_num_threads(1)
    run = prepare(kind, folder)
    start = time.monotonic()
    assert Child(lambda: run(folder / "whole", False) and None).wait() == 0
    length, expected = time.monotonic() - start, state(folder / "whole")
    chance, kills, wrong = random.Random(kind), 0, []
    for number in range(runs):
        out = folder / f"run-{number}"

        def go_on(out: Path = out) -> None:
            run(out, (out / "trifold.json").exists())

        for last in [False] * chance.randint(1, 3) + [True]:
            child = Child(go_on)
            early = None if last or chance.random() < 0.3 else _first_save(child, out)
            code = child.wait(120.0 if last else chance.uniform(0.0, length / 2)) if early is None else early
            if code is not None:
                wrong += [] if code == 0 else [f"run {number} ended with {code}"]
                break
            child.kill()
            child.wait()
            kills += 1
        if state(out) != expected:
            wrong.append(f"run {number} is another")
    return {"runs": runs, "kills": kills, "wrong": wrong, "seconds": length}

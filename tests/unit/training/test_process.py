"""A run leaves the process that called it as it was."""

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import torch

from tests.shapes import SHAPES
from tests.unit.training.test_trainer import NextToken, Rows
from trifold.model import Transformer
from trifold.training import Experiment, ModelChoice, TokenizerChoice, Trainer, Training, pretrain

CALLER = """
import gc, os, random, signal, sys, warnings
from dataclasses import replace
from pathlib import Path

import numpy, torch

from trifold import Experiment, FineTuning, Training, finetune, pretrain
from trifold.native import get_passes
from trifold.native.memory import memory_kept, report_memory
from trifold.tasks import LabelledData
from trifold.training import DataChoice, ModelChoice, TokenizerChoice
from trifold.training.precision import choose_dtype

torch.set_num_threads(2)
torch.manual_seed(7)


def ours() -> bool | None:
    "Whether new tensors come from our own allocator."
    before = report_memory()
    x = torch.empty(2**22)
    return None if before is None else report_memory().used >= before.used + x.nbytes


def process() -> dict[str, object]:
    return {
        "environment": dict(os.environ), "directory": os.getcwd(), "threads": torch.get_num_threads(),
        "signals": [signal.getsignal(one) for one in (signal.SIGINT, signal.SIGTERM)], "filters": list(warnings.filters),
        "said by": warnings.showwarning, "torch": torch.get_rng_state().tolist(), "python": random.getstate(),
        "numpy": numpy.random.get_state()[1].tolist(), "dtype": torch.get_default_dtype(), "grad": torch.is_grad_enabled(),
        "deterministic": torch.are_deterministic_algorithms_enabled(), "frozen": gc.get_freeze_count(), "ours": ours(),
        "excepthook": sys.excepthook, "waiting": (report_memory() or (0, 0, 0))[2],
    }


text, table = Path("text.txt"), Path("rows.tsv")
text.write_text("to be or not to be\\n" * 60, encoding="utf-8")
rows = [f"{word} film\\t{'yn'[number % 2]}" for number, word in enumerate(["good", "bad"] * 30)]
table.write_text("\\n".join(["text\\tlabel", *rows]), encoding="utf-8")
model = ModelChoice(preset="gpt2", overrides={"num_layers": 1, "d_model": 32, "num_heads": 2})
plain = Experiment(model=model, tokenizer=TokenizerChoice(vocab_size=300), data=DataChoice(paths=(text,), document="line"),
                   training=Training(steps=2, batch_size=2, length=16))
during = []


def train(name: str) -> list[str]:
    "What training changes."
    before = process()
    pretrain(replace(plain, training=replace(plain.training, deterministic=True)), name,
             listen=lambda event: during.append(ours()) if event.step else None)
    finetune(FineTuning(model=ModelChoice(start=name), data=LabelledData(train=table), epochs=0.1), name + "-tuned")
    return [key for key, value in process().items() if value != before[key]]


if get_passes() is not None and choose_dtype("auto", torch.device("cpu")) is torch.bfloat16:  # our own optimizers move all
    pretrain(plain, "zero")
    loaded = {"torch._dynamo", "sympy"} & sys.modules.keys()
    assert not loaded, loaded  # half a second that no run needs
# libraries that are imported for the first time set variables and filters
first = set(train("one")) - {"environment", "filters"}
assert not first, first
again = train("two")
assert not again, again
assert not ours()
assert report_memory() is None or all(during)
with memory_kept(), memory_kept():
    assert ours() in (True, None)
assert not ours()
"""


def test_pretraining_and_fine_tuning_leave_the_process_as_it_was(tmp_path: Path):
    done = subprocess.run([sys.executable, "-c", CALLER], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]


def test_what_the_caller_has_set_is_not_the_run_s(tmp_path: Path):
    def loss(name: str) -> float:
        small = ModelChoice(preset="gpt2", overrides={"num_layers": 1, "d_model": 16, "num_heads": 2})
        tokens = TokenizerChoice(vocab_size=260)
        training = Training(steps=1, batch_size=2, length=16)
        experiment = Experiment(model=small, tokenizer=tokens, training=training)
        found = pretrain(experiment, tmp_path / name, texts=["to be or not to be"] * 60).valid
        assert found is not None
        return found.loss

    alone = loss("alone")
    with ThreadPoolExecutor(2) as pool:
        assert list(pool.map(loss, ("one", "two"))) == [alone] * 2  # torch's random numbers are of the whole process
    torch.set_default_dtype(torch.float64)
    try:
        with torch.inference_mode():
            assert loss("three") == alone
        assert torch.get_default_dtype() == torch.float64
    finally:
        torch.set_default_dtype(torch.float32)


def test_between_two_steps_torch_s_random_numbers_are_the_caller_s():
    model = Transformer(SHAPES["decoder_gpt2"])
    torch.manual_seed(3)
    alone = [torch.rand(1) for _ in range(4)]
    torch.manual_seed(3)
    steps = Trainer(model, NextToken(), Rows(), Training(steps=3, dtype="float32")).steps()
    assert [torch.rand(1), *(torch.rand(1) for _ in steps)] == alone

"""How long a command takes before it does anything."""

import subprocess
import sys
import time

import torch

from benchmarks.text import made_up
from benchmarks.work import Benchmark, Measured, Side, Work
from trifold.presets.pretrained import Transformer
from trifold.text import train_tokenizer

__all__ = ["HELP", "ONE_TOKEN"]

SCRIPT = """
import sys, torch
from transformers import AutoModelForCausalLM, AutoTokenizer
model = AutoModelForCausalLM.from_pretrained(sys.argv[1])
tokenizer = AutoTokenizer.from_pretrained(sys.argv[1])
ids = tokenizer("ba co", return_tensors="pt").input_ids
print(tokenizer.decode(model.generate(ids, max_new_tokens=1, pad_token_id=0)[0]))
"""


def timed(work: Work, *words: str) -> Measured:
    """Commands a second: the fastest of a few, since what slows them down is the machine's other work."""
    times = []
    for _ in range(work.pick(full=7, smoke=1)):
        start = time.perf_counter()
        subprocess.run([sys.executable, *words], check=True, capture_output=True)  # noqa: S603 - our own words
        times.append(time.perf_counter() - start)
    return Measured(amount=1, seconds=min(times), note=f"{min(times):.2f} s")


def help_trifold(work: Work) -> Measured:
    """`trifold --help`."""
    return timed(work, "-m", "trifold.cli.main", "--help")


def help_transformers(work: Work) -> Measured:
    """`transformers --help`."""
    return timed(
        work,
        "-c",
        "import sys; sys.argv=['transformers','--help']; from transformers.cli.transformers import main; main()",
    )


def model_folder(work: Work) -> str:
    """A decoder of 14 M parameters."""
    folder = work.place("small")
    if not folder.exists():
        tokenizer = train_tokenizer([made_up(number, 50) for number in range(200)], kind="byte_bpe", vocab_size=1000)
        torch.manual_seed(0)
        shape = {} if work.smoke else {"num_layers": 6, "d_model": 384, "num_heads": 6}
        model = Transformer.from_preset("gpt2", size="tiny", vocab_size=work.pick(full=8000, smoke=1000), **shape)
        model.save_pretrained(folder, tokenizer=tokenizer)
    return str(folder)


def token_trifold(work: Work) -> Measured:
    """`trifold generate` of one token."""
    return timed(
        work, "-m", "trifold.cli.main", "generate", model_folder(work), "--prompt", "ba co", "--max-tokens", "1"
    )


def token_transformers(work: Work) -> Measured:
    """The shortest script that does the same with transformers."""
    return timed(work, "-c", SCRIPT, model_folder(work))


HELP = Benchmark(
    name="help",
    title="the help of the command",
    title_zh="命令的帮助",
    unit="runs",
    sides=(
        Side(name="trifold", run=help_trifold),
        Side(name="transformers", run=help_transformers, needs=("transformers",)),
    ),
)
ONE_TOKEN = Benchmark(
    name="first-token",
    title="a command that writes one token with 14 M parameters",
    title_zh="用 1,400 万参数的模型写出一个词元的整条命令",
    unit="runs",
    sides=(
        Side(name="trifold", run=token_trifold),
        Side(name="transformers", run=token_transformers, needs=("transformers",)),
    ),
)

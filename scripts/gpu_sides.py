"""What `gpu.py` measures: each function is one side, and gives its figures as a dictionary."""

import importlib.util
import itertools
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from gpu_reference import ReferenceGPT
from torch import Tensor

from trifold.acceleration.attention import attend
from trifold.acceleration.packed import load_varlen
from trifold.batch import IGNORED, Batch, Layout
from trifold.generation import Generator, Sampling
from trifold.model import Visibility
from trifold.model import attend as attend_plainly
from trifold.objective.objective import language_model_loss
from trifold.presets.pretrained import Transformer
from trifold.text import train_tokenizer
from trifold.training import AdamW, Schedule, Trainer, Training

Found = dict[str, Any]
WARM = 3
"""Steps that are not counted: memory is taken, kernels are chosen, stacks compiled."""


@dataclass(frozen=True, kw_only=True)
class Scale:
    """How much is measured.

    Attributes:
        device: `cuda`, or `cpu` in a rehearsal.
        seconds: of the counted steps of one side.
        shape: of a model, the overrides that make it small.
        rows, length: of a batch of GPT-2; BERT's rows are half as long, and twice as many.
        written: tokens that decoding adds.
        square: side of the matrices whose product is the limit.
        nanogpt: a checkout of it; None where there is none.
    """

    device: str = "cuda"
    seconds: float = 8.0
    shape: tuple[tuple[str, int], ...] = ()
    rows: int = 32
    length: int = 1024
    written: int = 128
    square: int = 8192
    nanogpt: str | None = None


TINY = Scale(device="cpu", seconds=0.1, rows=2, length=32, written=3, square=64,
             shape=(("num_layers", 1), ("d_model", 32), ("num_heads", 2), ("vocab_size", 384)))  # fmt: skip


def wait(scale: Scale) -> float:
    """The time at which all is done that was begun."""
    if scale.device == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter()


def limit(scale: Scale) -> Found:
    """Operations a second of a product of square matrices, and bytes a second of reading: the best of several tries."""
    found: Found = {}
    for dtype in (torch.bfloat16, torch.float32):
        one = torch.randn(scale.square, scale.square, device=scale.device).to(dtype)
        seconds = min(spend(scale, lambda one=one: one @ one) for _ in range(20))
        found[f"{dtype}".removeprefix("torch.") + "_flops"] = 2.0 * scale.square**3 / seconds
    long = torch.ones(scale.square**2 * 2, dtype=torch.int64, device=scale.device)
    found["read_bytes"] = long.numel() * 8 / min(spend(scale, long.sum) for _ in range(10))
    return found


def spend(scale: Scale, call: Callable[[], object]) -> float:
    """Seconds of one call, from an idle device to an idle device."""
    start = wait(scale)
    call()
    return wait(scale) - start


def rate(scale: Scale, steps: Iterator[object], tokens: int, flops: float) -> Found:
    """Tokens a second of steps that go on without end, and their operations a second, after the first ones."""
    times = [wait(scale)]
    for _ in range(WARM):
        next(steps)
    times.append(wait(scale))
    while times[-1] - times[1] < scale.seconds or len(times) < 5:
        next(steps)
        times.append(wait(scale))
    counted = [later - earlier for earlier, later in itertools.pairwise(times[1:])]
    speed = tokens / statistics.median(counted)
    found = {
        "tokens_per_second": speed,
        "flops": speed * flops,
        "steps": len(counted),
        "warm_seconds": times[1] - times[0],
    }
    if scale.device == "cuda":
        found["peak_bytes"] = torch.cuda.max_memory_allocated()
    return found


def model_of(name: str, scale: Scale, **overrides: int) -> Transformer:
    """GPT-2 124 M or BERT base with random weights and no dropout."""
    torch.manual_seed(0)
    size = {"gpt2": "base", "bert": "base"}[name]
    return Transformer.from_preset(name, size=size, dropout=0.0, **{**dict(scale.shape), **overrides})


def flops_of(scale: Scale, *, length: int, labelled: float = 1.0) -> float:
    """Operations for each token: six a weight (Kaplan et al. 2020), and twelve a pair of places (Chowdhery et al. 2022)."""
    shape = {"num_layers": 12, "d_model": 768, "vocab_size": 50257, **dict(scale.shape)}
    blocks, head = 12 * shape["num_layers"] * shape["d_model"] ** 2, labelled * shape["vocab_size"] * shape["d_model"]
    return 6.0 * (blocks + head) + 12.0 * shape["num_layers"] * shape["d_model"] * length


class Labelled:
    """The loss of batches that come with their labels."""

    loss = staticmethod(language_model_loss)


def causal_batch(scale: Scale, *, documents: int = 1) -> Batch:
    """Rows of random tokens, each of so many documents of equal length."""
    ids = random_ids(scale, scale.rows, scale.length + 1)
    layout = Layout.whole(scale.rows, scale.length)
    if documents > 1:
        place = torch.arange(scale.length).expand(scale.rows, -1)
        size = scale.length // documents
        layout = Layout(place % size, place // size + 1)
    return Batch(target=ids[:, :-1], target_layout=layout, labels=ids[:, 1:])


def masked_batch(scale: Scale, *, documents: int = 4) -> Batch:
    """Rows of random tokens for BERT, packed, of which 15 % have a label."""
    rows, length = 2 * scale.rows, scale.length // 2
    ids = random_ids(scale, rows, length)
    labels = torch.where(torch.rand(ids.shape) < 0.15, ids, IGNORED)
    place = torch.arange(length).expand(rows, -1)
    size = length // documents
    return Batch(source=ids, source_layout=Layout(place % size, place // size + 1), labels=labels)


def random_ids(scale: Scale, rows: int, length: int) -> Tensor:
    """Tokens that every model here knows."""
    return torch.randint(5, dict(scale.shape).get("vocab_size", 30522), (rows, length),
                         generator=torch.Generator().manual_seed(1))  # fmt: skip


def train_trifold(scale: Scale, *, model: str = "gpt2", documents: int = 1, compiled: bool = False) -> Found:
    """Our trainer, in bfloat16 with exact weights, AdamW."""
    batch = causal_batch(scale, documents=documents) if model == "gpt2" else masked_batch(scale)
    assert batch.labels is not None
    training = Training(steps=10**6, dtype="bfloat16", device="cuda" if scale.device == "cuda" else "cpu",
                        optimizer=AdamW(lr=1e-4), schedule=Schedule(kind="constant"), compile=compiled)  # fmt: skip
    trainer = Trainer(model_of(model, scale), Labelled(), itertools.repeat(batch), training)
    share = batch.num_targets / batch.labels.numel()
    flops = flops_of(scale, length=batch.labels.shape[1], labelled=share)
    return rate(scale, iter(trainer.steps()), batch.num_tokens, flops)


def train_reference(scale: Scale) -> Found:
    """GPT-2 in plain torch, compiled, by autocast, with fused AdamW: nanoGPT's where there is a checkout, else our own."""
    torch.manual_seed(0)
    shape = {"num_layers": 12, "d_model": 768, "num_heads": 12, "vocab_size": 50304, **dict(scale.shape)}
    model = (nanogpt if scale.nanogpt else ReferenceGPT)(scale, shape)
    model = model.to(scale.device)
    forward: Any = torch.compile(model) if scale.device == "cuda" else model
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4, betas=(0.9, 0.95), fused=True)
    ids = random_ids(scale, scale.rows, scale.length + 1).to(scale.device)

    def steps() -> Iterator[float]:
        while True:
            with torch.autocast(scale.device, torch.bfloat16):
                loss = forward(ids[:, :-1].contiguous(), ids[:, 1:].contiguous())[1]
            loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
            yield loss.item()

    found = rate(scale, steps(), scale.rows * scale.length, flops_of(scale, length=scale.length))
    return {**found, "note": "nanoGPT" if scale.nanogpt else "no checkout of nanoGPT: a reference in plain torch"}


def nanogpt(scale: Scale, shape: dict[str, int]) -> torch.nn.Module:
    """Its model, from its checkout."""
    spec = importlib.util.spec_from_file_location("peer_nanogpt", Path(scale.nanogpt or "") / "model.py")
    assert spec is not None, scale.nanogpt
    assert spec.loader is not None, scale.nanogpt
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module.GPT(module.GPTConfig(
        block_size=scale.length, vocab_size=shape["vocab_size"], n_layer=shape["num_layers"], n_head=shape["num_heads"],
        n_embd=shape["d_model"], dropout=0.0, bias=False))  # fmt: skip


def train_transformers(scale: Scale, *, model: str = "gpt2") -> Found:
    """The Trainer of transformers, in bfloat16 by its option."""
    import transformers

    batch = causal_batch(scale) if model == "gpt2" else masked_batch(scale)
    ids, labels = (batch.target, batch.target) if model == "gpt2" else (batch.source, batch.labels)
    assert ids is not None
    assert labels is not None
    times: list[float] = []

    class Clock(transformers.TrainerCallback):
        """Notes the end of each step, and when it is enough."""

        def on_step_end(self, args: Any, state: Any, control: Any, **more: Any) -> None:
            """One step is done."""
            del args, state, more
            times.append(wait(scale))
            control.should_training_stop = len(times) > WARM + 2 and times[-1] - times[WARM - 1] > scale.seconds

    with tempfile.TemporaryDirectory() as folder:
        settings = transformers.TrainingArguments(
            output_dir=folder, report_to=[], save_strategy="no", logging_steps=1000, disable_tqdm=True, max_steps=10**4,
            per_device_train_batch_size=len(ids), bf16=True, use_cpu=scale.device == "cpu", optim="adamw_torch_fused",
            learning_rate=1e-4, lr_scheduler_type="constant", remove_unused_columns=False,
        )  # fmt: skip
        rows = [{"input_ids": one, "labels": label} for one, label in zip(ids, labels, strict=True)]
        transformers.Trainer(model=peer(model, scale), args=settings, train_dataset=rows * 8,  # type: ignore[arg-type]
                             callbacks=[Clock()]).train()  # fmt: skip
    counted = [later - earlier for earlier, later in itertools.pairwise(times[WARM - 1 :])]
    speed = ids.numel() / statistics.median(counted)
    share = 1.0 if model == "gpt2" else batch.num_targets / labels.numel()
    return {"tokens_per_second": speed, "flops": speed * flops_of(scale, length=ids.shape[1], labelled=share),
            "steps": len(counted)}  # fmt: skip


def peer(name: str, scale: Scale) -> Any:
    """The same model in transformers, with random weights."""
    import transformers

    names = {"num_layers": ("n_layer", "num_hidden_layers"), "d_model": ("n_embd", "hidden_size"),
             "num_heads": ("n_head", "num_attention_heads"), "vocab_size": ("vocab_size", "vocab_size")}  # fmt: skip
    small = {names[override][name == "bert"]: value for override, value in scale.shape}
    if name == "bert":
        none = {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
        return transformers.BertForMaskedLM(transformers.BertConfig(**none, **small))
    none = {"resid_pdrop": 0.0, "embd_pdrop": 0.0, "attn_pdrop": 0.0}
    return transformers.GPT2LMHeadModel(transformers.GPT2Config(**none, **small))


def decode_trifold(scale: Scale, *, batch: int) -> Found:
    """Greedy tokens a second, after a prompt of 32 tokens."""
    tokenizer = train_tokenizer(["abcdefghijklmnopqrstuvwxyz "], kind="character", vocab_size=64, num_sentinels=2)
    model = model_of("gpt2", scale, max_length=1024).to(scale.device, torch.bfloat16)
    generator = Generator(model, tokenizer, ends=())
    prompts = [row.tolist() for row in torch.randint(5, 30, (batch, 32 if scale.device == "cuda" else 4))]

    def write(tokens: int) -> None:
        generator.generate(prompts, Sampling(temperature=0.0, max_tokens=tokens), batch_size=batch)

    return decoded(scale, write, batch, sum(value.numel() for value in model.parameters()) * 2)


def decode_transformers(scale: Scale, *, batch: int) -> Found:
    """The same by `generate` of transformers."""
    model = peer("gpt2", scale).to(scale.device, torch.bfloat16).eval()
    ids = torch.randint(5, 30, (batch, 32 if scale.device == "cuda" else 4), device=scale.device)
    options = {"do_sample": False, "eos_token_id": None, "pad_token_id": 0, "attention_mask": torch.ones_like(ids)}

    @torch.inference_mode()
    def write(tokens: int) -> None:
        model.generate(ids, max_new_tokens=tokens, **options)

    return decoded(scale, write, batch, sum(value.numel() for value in model.parameters()) * 2)


def decoded(scale: Scale, write: Callable[[int], None], batch: int, weights: int) -> Found:
    """Tokens a second of all rows, and how many bytes of weights that reads a second."""
    write(2)
    seconds = min(spend(scale, lambda: write(scale.written)) for _ in range(2))
    return {"tokens_per_second": batch * scale.written / seconds, "read_bytes": weights * scale.written / seconds}


def attention(scale: Scale) -> Found:
    """Milliseconds of attention over packed rows, forward and back: by mask, and by the kernel for unequal lengths."""
    batch = causal_batch(scale, documents=4)
    assert batch.target_layout is not None
    layout = batch.target_layout.to(scale.device)
    seen = Visibility(layout, layout, causal=True, window=None)
    parts = [torch.randn(scale.rows, 12, scale.length, 64, device=scale.device).bfloat16().requires_grad_()
             for _ in range(3)]  # fmt: skip
    found: Found = {"kernel": load_varlen(parts[0].device) is not None}
    for name, one in (("mask", attend_plainly), ("chosen", attend)):
        times = [spend(scale, lambda one=one: one(*parts, seen).sum().backward()) for _ in range(6)]
        found[f"{name}_ms"] = 1000.0 * min(times[1:])
    return found


def machine(scale: Scale) -> Found:
    """What is there."""
    modules = ("transformers", "accelerate", "triton", "pytest", "beartype", "flash_attn")
    found: Found = {"torch": torch.__version__, "python": sys.version.split()[0], "cores": os.cpu_count(),
                    "installed": [name for name in modules if importlib.util.find_spec(name) is not None]}  # fmt: skip
    if scale.device == "cuda":
        here = torch.cuda.get_device_properties(0)
        found |= {"device": here.name, "memory_bytes": here.total_memory, "cuda": torch.version.cuda,
                  "capability": f"{here.major}.{here.minor}"}  # fmt: skip
    return found

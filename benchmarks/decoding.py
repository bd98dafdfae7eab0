"""Decoding: one prompt by a model of GPT-2's size, and many prompts whose answers end at unequal places."""

import time
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

import torch

from benchmarks.llama import NEEDS, run_llama
from benchmarks.step import count_matrices
from benchmarks.text import SENTENCES, WIKIPEDIA, english_documents, labelled_sentences
from benchmarks.work import Benchmark, Measured, Side, Work
from trifold.generation import Generator, Sampling, lower_precision
from trifold.native import keep_memory
from trifold.presets.pretrained import Transformer
from trifold.tasks import Generation
from trifold.tasks.build import build_task
from trifold.tasks.conversation import Turn
from trifold.tasks.generation import Conversation
from trifold.tasks.loader import ExampleLoader
from trifold.text import Tokenizer, train_tokenizer
from trifold.training import AdamW, Muon, Schedule, Training
from trifold.training.trainer import Trainer

__all__ = ["BATCH", "ONE"]

PEERS = ("transformers",)
LARGE = {"num_layers": 12, "d_model": 768, "num_heads": 12, "max_length": 1024}
SMALL = {"num_layers": 6, "d_model": 384, "num_heads": 6, "max_length": 256}
PROMPT, WRITTEN = 32, 64
PROMPTS, LONGEST = 64, 128
BYTES = {"float32": 4, "bfloat16": 2, "int8": 1}
"""Of a weight."""


def large_folder(work: Work) -> Path:
    """GPT-2 small with random weights: what is written is nonsense, the time it takes is not."""
    folder = work.place("large")
    if not folder.exists():
        texts = islice(english_documents(work), work.pick(full=500, smoke=20))
        tokenizer = train_tokenizer(texts, kind="byte_bpe", vocab_size=work.pick(full=8000, smoke=300))
        torch.manual_seed(0)
        shape: dict[str, Any] = {"vocab_size": 400} if work.smoke else {**LARGE, "vocab_size": 50257}
        Transformer.from_preset("gpt2", size="tiny", **shape).save_pretrained(folder, tokenizer=tokenizer)
    return folder


def prompt_of(work: Work) -> list[int]:
    """Any ids."""
    return torch.randint(
        100, 290, (work.pick(full=PROMPT, smoke=4),), generator=torch.Generator().manual_seed(1)
    ).tolist()


def one_trifold(work: Work, *, int8: bool = False) -> Measured:
    """Greedy, batch 1; `int8`: with weights in eight bits."""
    precision, written = "int8" if int8 else work.precision, work.pick(full=WRITTEN, smoke=4)
    generator = Generator.from_pretrained(large_folder(work))
    generator.ends = frozenset()
    read = count_matrices(generator.model, head=True) * BYTES[precision]
    lower_precision(generator.model, precision, decoding=True)
    prompt, sampling = prompt_of(work), Sampling(temperature=0.0, max_tokens=written)
    generator.generate([prompt], Sampling(temperature=0.0, max_tokens=2))
    start = time.perf_counter()
    generator.generate([prompt], sampling)
    seconds = time.perf_counter() - start
    return Measured(amount=written, seconds=seconds, bytes=read * written, note=precision)


def one_generate(work: Work) -> Measured:
    """`generate` of transformers, greedy, with its cache, in the number format that is faster here."""
    import transformers

    precision, written = work.precision, work.pick(full=WRITTEN, smoke=4)
    model: Any = transformers.AutoModelForCausalLM.from_pretrained(
        large_folder(work), dtype=getattr(torch, precision)
    ).eval()
    ids = torch.tensor([prompt_of(work)])
    options = {"do_sample": False, "eos_token_id": None, "pad_token_id": 0, "attention_mask": torch.ones_like(ids)}
    with torch.inference_mode():
        model.generate(ids, max_new_tokens=2, **options)
        start = time.perf_counter()
        made = model.generate(ids, max_new_tokens=written, **options)
    seconds = time.perf_counter() - start
    count = made.shape[1] - ids.shape[1]
    read = sum(part.weight.numel() for part in model.modules() if hasattr(part, "nf") or hasattr(part, "out_features"))
    return Measured(amount=count, seconds=seconds, bytes=BYTES[precision] * read * count, note=precision)


def one_llama(work: Work, *, kind: str) -> Measured:
    """llama.cpp, on the same weights."""
    return run_llama(work, large_folder(work), prompt_of(work), work.pick(full=WRITTEN, smoke=4), kind=kind)


def sentence_writer(work: Work) -> Path:
    """A small decoder that has learned for a minute or two to go on and to end as SST-2's sentences do."""
    folder = work.place("writer")
    if folder.exists():
        return folder
    texts = [text for text, _ in labelled_sentences(work, "train")][: work.pick(full=6400, smoke=64)]
    tokenizer = train_tokenizer(texts, kind="byte_bpe", vocab_size=work.pick(full=8000, smoke=300))
    torch.manual_seed(0)
    shape = {} if work.smoke else SMALL
    model = Transformer.from_preset("gpt2", size="tiny", vocab_size=tokenizer.vocab_size, dropout=0.0, **shape)
    task = build_task(Generation(), tokenizer, model.config)
    examples = task.examples([Conversation(("",), text, "-", turns=(Turn("assistant", text),)) for text in texts])
    training = Training(
        steps=work.pick(full=60, smoke=2),
        batch_size=64,
        schedule=Schedule(kind="constant", warmup=0.0),
        optimizer=Muon(lr=5e-3, weight_decay=0.1, adamw=AdamW(lr=3e-3, weight_decay=0.0)),
    )
    trainer = Trainer(model, task, ExampleLoader(examples, batch_size=64, pad=task.frame.pad, seed=0), training)
    for _ in trainer.steps():
        pass
    model.save_pretrained(folder, tokenizer=tokenizer)
    return folder


def prompts_of(tokenizer: Tokenizer, work: Work) -> list[list[int]]:
    """The first words of sentences, 1 to 12 of them."""
    texts = [text for text, _ in labelled_sentences(work, "dev")][: work.pick(full=PROMPTS, smoke=6)]
    begin = [] if tokenizer.special.bos is None else [tokenizer.special.bos]
    starts = [" ".join(text.split()[: 1 + number % 12]) for number, text in enumerate(texts)]
    return [[*begin, *tokenizer.encode(text).ids.tolist()] for text in starts]


def batch_trifold(work: Work) -> Measured:
    """All prompts together, in float32; `quality` is the share whose tokens equal those of the prompt alone."""
    keep_memory()
    generator = Generator.from_pretrained(sentence_writer(work))
    prompts = prompts_of(generator.tokenizer, work)
    sampling = Sampling(temperature=0.0, max_tokens=work.pick(full=LONGEST, smoke=6))
    generator.generate(prompts[:2], sampling)
    start = time.perf_counter()
    made = generator.generate(prompts, sampling, batch_size=64)
    seconds = time.perf_counter() - start
    few = range(0, len(prompts), 4)
    alone = [generator.generate([prompts[number]], sampling)[0].ids == made[number].ids for number in few]
    return Measured(
        amount=sum(len(one.ids) for one in made), seconds=seconds, quality=sum(alone) / len(few), note="float32"
    )


def batch_generate(work: Work) -> Measured:
    """`generate` of transformers on one batch, padded on the left; tokens up to each end count."""
    import transformers

    folder = sentence_writer(work)
    model: Any = transformers.AutoModelForCausalLM.from_pretrained(folder).eval()
    tokenizer = Tokenizer.from_pretrained(folder)
    prompts, end = prompts_of(tokenizer, work), tokenizer.special.eos
    width = max(map(len, prompts))
    ids = torch.tensor([[0] * (width - len(one)) + one for one in prompts])
    mask = torch.tensor([[0] * (width - len(one)) + [1] * len(one) for one in prompts])
    options = {"do_sample": False, "eos_token_id": end, "pad_token_id": 0}
    with torch.inference_mode():
        model.generate(ids[:2], attention_mask=mask[:2], max_new_tokens=4, **options)
        start = time.perf_counter()
        made = model.generate(ids, attention_mask=mask, max_new_tokens=work.pick(full=LONGEST, smoke=6), **options)
    seconds = time.perf_counter() - start
    written = [row[: row.index(end) + 1] if end in row else row for row in made[:, width:].tolist()]
    return Measured(amount=sum(map(len, written)), seconds=seconds, note="float32")


ONE = Benchmark(
    name="decode",
    title="decoding 64 tokens after 32, one prompt, 124 M parameters",
    title_zh="解码：一条提示，在 32 个词元之后生成 64 个词元，1.24 亿参数",
    unit="tokens",
    files=(WIKIPEDIA,),
    sides=(
        Side(name="trifold", run=one_trifold),
        Side(name="trifold int8", run=partial(one_trifold, int8=True)),
        Side(name="transformers generate", run=one_generate, needs=PEERS, bar=2.5),
        Side(name="llama.cpp", run=partial(one_llama, kind="BF16"), needs=NEEDS, bar=1.0),
        Side(name="llama.cpp int8", run=partial(one_llama, kind="Q8_0"), needs=NEEDS),
    ),
    rounds=5,
)
BATCH = Benchmark(
    name="batch",
    title="64 prompts of unequal length, answers that end at unequal places, 6 layers, 384 wide",
    title_zh="64 条长短不一的提示，回答在不同位置结束，6 层，宽 384",
    unit="tokens",
    files=(SENTENCES,),
    quality="equal to alone",
    sides=(
        Side(name="trifold", run=batch_trifold),
        Side(name="transformers generate", run=batch_generate, needs=PEERS, bar=3.0),
    ),
    rounds=5,
)

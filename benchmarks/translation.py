"""An encoder-decoder on Multi30k: training it from scratch, and translating with beam search."""

import time
from collections.abc import Callable
from functools import partial
from typing import Any

import torch

from benchmarks.joeynmt import NEEDS as JOEYNMT_NEEDS
from benchmarks.joeynmt import run_joeynmt
from benchmarks.pairs import (
    BEAMS,
    LONGEST,
    RATE,
    ROWS,
    WARM,
    parameters_of,
    setting,
    task_of,
    trainer_of,
)
from benchmarks.step import time_peer, time_trainer
from benchmarks.text import PAIRS, Setting
from benchmarks.work import Benchmark, Measured, Side, Work
from trifold.evaluation.metric import bleu
from trifold.native import keep_memory
from trifold.presets.pretrained import Transformer
from trifold.tasks.record import Record
from trifold.training import AdamW

__all__ = ["TRANSLATE", "TRANSLATION"]

PEERS = ("transformers", "accelerate")


def train_trifold(work: Work) -> Measured:
    """The trainer of `trifold finetune translation`, with the Trainer's method of learning."""
    shared = setting(work, trained=False)
    model = Transformer.from_pretrained(shared.folder)
    optimizer = AdamW(lr=RATE, betas=(0.9, 0.999), weight_decay=0.0)
    loop = trainer_of(
        model, shared.tokenizer, shared.train, work, steps=work.pick(full=33, smoke=5), optimizer=optimizer
    )
    return time_trainer(loop, warm=WARM, parameters=parameters_of(model))


def train_trainer(work: Work) -> Measured:
    """The Seq2SeqTrainer with its collator: padding to the longest of the batch."""
    import transformers

    shared = setting(work, trained=False)
    model: Any = transformers.AutoModelForSeq2SeqLM.from_pretrained(shared.folder)
    tokenizer: Any = transformers.AutoTokenizer.from_pretrained(shared.folder)
    rows = [{"input_ids": source, "labels": target} for source, target in encoded(shared)]
    options = {
        "max_steps": work.pick(full=33, smoke=5),
        "per_device_train_batch_size": work.pick(full=ROWS, smoke=8),
        "learning_rate": RATE,
        "bf16": work.precision == "bfloat16",
        "seed": 0,
    }
    collate = transformers.DataCollatorForSeq2Seq(tokenizer, model=model)
    return time_peer(
        model,
        rows,
        collate,
        work=work,
        warm=WARM,
        parameters=parameters_of(model),
        options=options,
        sequence_to_sequence=True,
    )


def encoded(shared: Setting) -> list[tuple[list[int], list[int]]]:
    """Ids of each pair, ended."""
    end = shared.tokenizer.special.eos
    assert end is not None
    sides = [
        [[*ids.tolist(), end] for ids in shared.tokenizer.encode_ids(list(texts))]
        for texts in zip(*shared.train, strict=True)
    ]
    return list(zip(*sides, strict=True))


def timed(shared: Setting, translate: Callable[[list[str]], list[str]], note: str) -> Measured:
    """Seconds for all test sentences, after a few that are not counted, and BLEU."""
    texts, gold = [source for source, _ in shared.test], [target for _, target in shared.test]
    translate(texts[:4])
    start = time.perf_counter()
    said = translate(texts)
    seconds = time.perf_counter() - start
    return Measured(amount=len(texts), seconds=seconds, quality=bleu(said, gold).score, note=note)


def translate_trifold(work: Work, dtype: torch.dtype = torch.float32) -> Measured:
    """What `trifold translate` does after loading."""
    keep_memory()
    shared = setting(work, trained=True)
    model = Transformer.from_pretrained(shared.folder).to(dtype).eval()
    task = task_of(model, shared.tokenizer)

    def translate(texts: list[str]) -> list[str]:
        return [one.answer for one in task.predict(model, [Record((text,), None, "-") for text in texts])]

    return timed(shared, translate, str(dtype).removeprefix("torch."))


def translate_generate(work: Work) -> Measured:
    """`generate` of transformers, sentences sorted by length, in batches."""
    import transformers

    shared = setting(work, trained=True)
    model: Any = transformers.AutoModelForSeq2SeqLM.from_pretrained(shared.folder).eval()
    tokenizer: Any = transformers.AutoTokenizer.from_pretrained(shared.folder)
    rows, end = 32, shared.tokenizer.special.eos

    def translate(texts: list[str]) -> list[str]:
        order, made = sorted(range(len(texts)), key=lambda number: len(texts[number])), {}
        for first in range(0, len(order), rows):
            chosen = order[first : first + rows]
            ids = [[*shared.tokenizer.encode(texts[number]).ids.tolist(), end] for number in chosen]
            batch = tokenizer.pad({"input_ids": ids}, return_tensors="pt")
            with torch.inference_mode():
                out = model.generate(
                    **batch, num_beams=BEAMS, early_stopping=True, max_new_tokens=LONGEST, do_sample=False
                )
            made |= zip(chosen, (shared.tokenizer.decode(one[1:].tolist()).strip() for one in out), strict=True)
        return [made[number] for number in range(len(texts))]

    return timed(shared, translate, "float32")


def translate_ctranslate2(work: Work, precision: str = "float32") -> Measured:
    """ctranslate2, which sorts and batches by itself."""
    import ctranslate2
    from ctranslate2.converters import TransformersConverter

    shared = setting(work, trained=True)
    folder = work.place("translation_ctranslate2")
    if not (folder / "model.bin").exists():
        TransformersConverter(str(shared.folder)).convert(str(folder), force=True)
    translator = ctranslate2.Translator(
        str(folder), device="cpu", compute_type=precision, intra_threads=work.threads or torch.get_num_threads()
    )
    tokenizer = shared.tokenizer
    end = tokenizer.special.eos or 0

    def translate(texts: list[str]) -> list[str]:
        rows = [[*ids.tolist(), end] for ids in tokenizer.encode_ids(texts)]
        pieces = [[str(tokenizer.backend.id_to_token(token)) for token in row] for row in rows]
        found = translator.translate_batch(pieces, beam_size=BEAMS, max_batch_size=128, max_decoding_length=LONGEST)
        ids = [[tokenizer.backend.token_to_id(piece) or 0 for piece in one.hypotheses[0]] for one in found]
        return [tokenizer.decode(one).strip() for one in ids]

    return timed(shared, translate, precision)


TRANSLATION = Benchmark(
    name="translation",
    title="training an encoder-decoder of 6 + 6 layers, 256 wide, on Multi30k, 64 pairs a step",
    title_zh="训练编码器-解码器：6 + 6 层，宽 256，Multi30k，每步 64 对句子",
    unit="tokens",
    files=(PAIRS,),
    quality="loss",
    sides=(
        Side(name="trifold", run=train_trifold),
        Side(name="transformers Seq2SeqTrainer", run=train_trainer, needs=PEERS, bar=3.0),
        Side(name="joeynmt", run=run_joeynmt, checkout="joeynmt", needs=JOEYNMT_NEEDS, bar=2.0),
        Side(
            name="joeynmt, default",
            run=partial(run_joeynmt, half=False),
            checkout="joeynmt",
            needs=JOEYNMT_NEEDS,
            bar=2.0,
        ),
    ),
)
TRANSLATE = Benchmark(
    name="translate",
    title="translating Multi30k's test of 2016 (1,000 sentences), 6 + 6 layers, 256 wide, beam 5",
    title_zh="翻译 Multi30k 的 2016 测试集（1,000 句），6 + 6 层，宽 256，束宽 5",
    unit="texts",
    files=(PAIRS,),
    quality="BLEU",
    sides=(
        Side(name="trifold", run=translate_trifold),
        Side(name="transformers generate", run=translate_generate, needs=PEERS, bar=4.0),
        Side(name="ctranslate2", run=translate_ctranslate2, needs=("ctranslate2", "transformers"), bar=1.0),
    ),
)

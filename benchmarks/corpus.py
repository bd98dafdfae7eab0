"""Text to packed rows of tokens: tokenizing, storing, packing; 20 MB, and 200 MB in the same memory."""

import json
import tempfile
import time
from functools import partial
from itertools import chain, count, islice
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.text import WIKIPEDIA, english_documents
from benchmarks.work import Benchmark, Measured, Side, Work
from trifold.data import Loader, Room
from trifold.objective import build_objective
from trifold.objective.config import Causal
from trifold.presets.pretrained import Transformer
from trifold.text import Tokenizer, train_tokenizer
from trifold.training import DataChoice
from trifold.training.prepare import build_corpora

__all__ = ["LARGE", "SMALL"]

LENGTH, ROWS = 256, 16


def text_of(work: Work, characters: int) -> tuple[Path, Tokenizer]:
    """A file of documents, one a line, and a tokenizer; repeated with a number before each, so that none is the same."""
    folder = work.place("corpus")
    path = folder / f"{characters}.jsonl"
    if not path.exists():
        folder.mkdir(exist_ok=True)
        left = work.pick(full=characters, smoke=20_000)
        with path.open("w", encoding="utf-8") as out:
            again = chain.from_iterable(english_documents(work) for _ in count())
            for number, text in enumerate(again):
                out.write(json.dumps({"text": f"{number} {text}"}) + "\n")
                left -= len(text)
                if left <= 0:
                    break
        train_tokenizer(
            islice(english_documents(work), 500), kind="byte_bpe", vocab_size=work.pick(full=8000, smoke=300)
        ).save_pretrained(folder / "tokenizer")
    return path, Tokenizer.from_pretrained(folder / "tokenizer")


def run_trifold(work: Work, *, characters: int) -> Measured:
    """The stores and the loader of `trifold pretrain`."""
    path, tokenizer = text_of(work, characters)
    shape = Transformer.from_preset("gpt2", size="tiny", vocab_size=tokenizer.vocab_size, max_length=LENGTH).config
    objective = build_objective(Causal(), tokenizer, shape)
    start = time.perf_counter()
    with tempfile.TemporaryDirectory() as out:
        choice = DataChoice(paths=(str(path),), valid_fraction=0.0)
        (store,) = build_corpora(choice, tokenizer, Path(out), words=False).train
        loader = Loader([store], objective, Room(source=0, target=LENGTH), batch_size=ROWS, pad=0)
        tokens = 0
        for batch in loader.epoch():
            assert batch.target is not None
            tokens += batch.target.numel()
        return Measured(
            amount=store.num_tokens,
            seconds=time.perf_counter() - start,
            note=f"best fit, {store.num_tokens / tokens:.1%} full".replace("%", " %"),
        )


def run_datasets(work: Work, *, characters: int) -> Measured:
    """`datasets.map` in batches with a fast tokenizer, then joining and cutting, as transformers' example scripts do."""
    import datasets
    import transformers

    path, _ = text_of(work, characters)
    tokenizer = transformers.PreTrainedTokenizerFast.from_pretrained(work.place("corpus") / "tokenizer")
    datasets.disable_progress_bars()

    def tokenize(rows: dict[str, list[str]]) -> dict[str, list[list[int]]]:
        return {"input_ids": tokenizer(rows["text"])["input_ids"]}

    def join(rows: dict[str, list[list[int]]]) -> dict[str, list[list[int]]]:
        joined = np.concatenate(rows["input_ids"])
        size = len(joined) // LENGTH * LENGTH
        return {"input_ids": joined[:size].reshape(-1, LENGTH).tolist()}

    start = time.perf_counter()
    with tempfile.TemporaryDirectory() as out:
        found = datasets.load_dataset("json", data_files=str(path), split="train", cache_dir=out)
        found = found.map(tokenize, batched=True, remove_columns=found.column_names)
        found = found.map(join, batched=True).with_format("torch")
        batches: Any = found.iter(batch_size=ROWS)
        tokens = sum(rows["input_ids"].numel() for rows in batches)
    return Measured(amount=tokens, seconds=time.perf_counter() - start, note="joined and cut")


def _benchmark(name: str, millions: int, rounds: int) -> Benchmark:
    size = millions * 1_000_000
    sides = (
        Side(name="trifold", run=partial(run_trifold, characters=size)),
        Side(
            name="datasets.map", run=partial(run_datasets, characters=size), needs=("datasets", "transformers"), bar=2.0
        ),
    )
    return Benchmark(
        name=name,
        title=f"{millions} MB of text to packed rows of {LENGTH}",
        title_zh=f"{millions} MB 文本变为打包好的行，每行 {LENGTH} 个词元",
        unit="tokens",
        files=(WIKIPEDIA,),
        sides=sides,
        rounds=rounds,
    )


SMALL = _benchmark("corpus", 20, 3)
LARGE = _benchmark("corpus-large", 200, 1)

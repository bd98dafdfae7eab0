"""Text to packed rows of tokens: tokenizing, storing, packing; 20 MB, and 200 MB in the same memory."""

import json
import tempfile
import time
from functools import partial
from itertools import cycle, islice
from pathlib import Path
from typing import Any

import numpy as np

from trifold.benchmark.text import english_documents
from trifold.benchmark.work import Benchmark, Measured, Side, Work
from trifold.data import Loader, Room
from trifold.objective import build_objective
from trifold.objective.config import Causal
from trifold.presets.pretrained import Transformer
from trifold.text import Tokenizer, train_tokenizer
from trifold.training import DataChoice
from trifold.training.prepare import build_corpora

__all__ = ["LARGE", "SMALL"]

LENGTH, ROWS = 256, 16
CHARACTERS = 20_000_000


def text_of(work: Work, times: int) -> tuple[Path, Tokenizer]:
    """A file of documents, one a line, and a tokenizer; repeated with a number before each, so that none is the same."""
    folder = work.place("corpus")
    path = folder / f"{times}.jsonl"
    if not path.exists():
        folder.mkdir(exist_ok=True)
        size = work.pick(full=CHARACTERS, smoke=20_000) * times
        with path.open("w", encoding="utf-8") as out:
            documents = list(english_documents(work))
            for number, text in enumerate(cycle(documents)):
                out.write(json.dumps({"text": f"{number} {text}"}) + "\n")
                size -= len(text)
                if size <= 0:
                    break
        train_tokenizer(islice(documents, 500), kind="byte_bpe", vocab_size=work.pick(full=8000, smoke=300)
                        ).save_pretrained(folder / "tokenizer")  # fmt: skip
    return path, Tokenizer.from_pretrained(folder / "tokenizer")


def run_trifold(work: Work, *, times: int) -> Measured:
    """The stores and the loader of `trifold pretrain`."""
    path, tokenizer = text_of(work, times)
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
        return Measured(amount=store.num_tokens, seconds=time.perf_counter() - start,
                        note=f"best fit, {store.num_tokens / tokens:.1%} full".replace("%", " %"))  # fmt: skip


def run_datasets(work: Work, *, times: int) -> Measured:
    """`datasets.map` in batches with a fast tokenizer, then joining and cutting, as transformers' example scripts do."""
    import datasets
    import transformers

    path, _ = text_of(work, times)
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


def _benchmark(name: str, title: str, times: int, rounds: int) -> Benchmark:
    sides = (
        Side(name="trifold", run=partial(run_trifold, times=times)),
        Side(name="datasets.map", run=partial(run_datasets, times=times), needs=("datasets", "transformers"), bar=2.0),
    )
    return Benchmark(name=name, title=title, unit="tokens", sides=sides, rounds=rounds)


SMALL = _benchmark("corpus", "20 MB of text to packed rows of 256", 1, 3)
LARGE = _benchmark("corpus-large", "200 MB of text to packed rows of 256", 10, 1)

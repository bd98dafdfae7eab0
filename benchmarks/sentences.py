"""Short, unequal texts: fine-tuning a classifier on SST-2, and using one on many sentences."""

import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.step import count_matrices, time_peer, time_trainer
from benchmarks.text import SENTENCES, Setting, labelled_sentences, records_of
from benchmarks.work import Benchmark, Measured, Side, Work
from trifold.generation import Precision, lower_precision
from trifold.native import keep_memory
from trifold.presets.pretrained import Transformer
from trifold.tasks import Classification
from trifold.tasks.build import build_task
from trifold.tasks.classification import ClassificationTask
from trifold.tasks.equip import equip
from trifold.tasks.loader import ExampleLoader
from trifold.text import train_tokenizer
from trifold.training import AdamW, Schedule, Training
from trifold.training.trainer import Trainer

__all__ = ["CLASSIFY", "FINETUNE"]

PEERS = ("transformers", "accelerate")
SHAPE = {"num_layers": 4, "d_model": 256, "num_heads": 4}
LABELS, COLUMNS = ("0", "1"), ("text", "label")
ROWS, RATE, WARM = 32, 5e-4, 10


@contextmanager
def setting(work: Work) -> Iterator[Setting]:
    """The same for every side."""
    train, test = (labelled_sentences(work, split) for split in ("train", "dev"))
    tokenizer = train_tokenizer(
        [text for text, _ in train], kind="wordpiece", lowercase=True, vocab_size=work.pick(full=12_000, smoke=300)
    )
    torch.manual_seed(0)
    shape = {} if work.smoke else SHAPE
    model = Transformer.from_preset("bert", size="tiny", vocab_size=tokenizer.vocab_size, dropout=0.0, **shape)
    with tempfile.TemporaryDirectory() as place:
        model.save_pretrained(place, tokenizer=tokenizer)
        yield Setting(train, test, tokenizer, Path(place))


def made_task(shared: Setting) -> tuple[Transformer, ClassificationTask]:
    """Our model with its head."""
    model = Transformer.from_pretrained(shared.folder)
    task = build_task(Classification(labels=LABELS), shared.tokenizer, model.config)
    assert isinstance(task, ClassificationTask)
    equip(model, task)
    return model, task


def tune_trifold(work: Work) -> Measured:
    """The trainer and loader of `trifold finetune`, with the method of learning that the Trainer has."""
    with setting(work) as shared:
        model, task = made_task(shared)
        training = Training(
            steps=work.pick(full=400, smoke=13),
            batch_size=ROWS,
            device=work.device,  # type: ignore[arg-type]
            optimizer=AdamW(lr=RATE, betas=(0.9, 0.999), weight_decay=0.0),
            schedule=Schedule(kind="constant", warmup=0.0),
        )
        examples = task.examples(records_of(shared.train, task, COLUMNS))
        loader = ExampleLoader(examples, batch_size=ROWS, pad=task.frame.pad, seed=0)
        trainer = Trainer(model, task, loader, training)
        found = time_trainer(trainer, warm=WARM, parameters=count_matrices(model))
        test = records_of(shared.test, task, COLUMNS)
        said = task.predict(model.eval(), test)
        right = [one.answer == record.gold for one, record in zip(said, test, strict=True)]
        return replace(found, quality=float(np.mean(right)))


def tune_trainer(work: Work, *, grouped: bool = False) -> Measured:
    """The Trainer with padding to the longest of the batch; `grouped`: batches of texts of like lengths."""
    import transformers

    with setting(work) as shared:
        model: Any = transformers.AutoModelForSequenceClassification.from_pretrained(shared.folder, num_labels=2)
        tokenizer: Any = transformers.AutoTokenizer.from_pretrained(shared.folder)
        found = tokenizer([text for text, _ in shared.train], truncation=True, max_length=128)["input_ids"]
        rows = [{"input_ids": ids, "label": int(label)} for ids, (_, label) in zip(found, shared.train, strict=True)]
        collate = transformers.DataCollatorWithPadding(tokenizer)
        options: dict[str, Any] = {
            "max_steps": work.pick(full=400, smoke=13),
            "per_device_train_batch_size": ROWS,
            "learning_rate": RATE,
            "bf16": work.precision == "bfloat16",
            "seed": 0,
        }
        if grouped:
            options["train_sampling_strategy"] = "group_by_length"
        matrices = sum(part.weight.numel() for part in model.modules() if isinstance(part, torch.nn.Linear))
        made = time_peer(model, rows, collate, work=work, warm=WARM, parameters=matrices, options=options)
        said = [
            int(one["label"][-1])
            for one in pipeline(model, tokenizer, torch.float32)([text for text, _ in shared.test])
        ]
        right = [one == int(label) for one, (_, label) in zip(said, shared.test, strict=True)]
        note = made.note + (", grouped by length" if grouped else ", padded to the longest")
        return replace(made, quality=float(np.mean(right)), note=note)


def pipeline(model: Any, tokenizer: Any, dtype: torch.dtype, rows: int = ROWS) -> Any:
    """Classification by transformers' pipeline."""
    import transformers

    return transformers.pipeline(
        "text-classification", model=model.to(dtype).eval(), tokenizer=tokenizer, batch_size=rows, device="cpu"
    )


def sentences_of(shared: Setting, work: Work) -> list[str]:
    """What is classified."""
    texts = [text for text, _ in shared.train]
    chosen = np.random.default_rng(0).permutation(len(texts))[: work.pick(full=10_000, smoke=32)]
    return [texts[number] for number in chosen]


def timed(work: Work, classify: Callable[[list[str]], object], texts: list[str], note: str) -> Measured:
    """Seconds of all texts, after a few that are not counted."""
    classify(texts[: work.pick(full=256, smoke=8)])
    start = time.perf_counter()
    classify(texts)
    return Measured(amount=len(texts), seconds=time.perf_counter() - start, note=note)


def classify_trifold(work: Work, precision: Precision | None = None) -> Measured:
    """What `trifold classify` does after loading."""
    keep_memory()
    precision = precision or work.precision
    with setting(work) as shared:
        model, task = made_task(shared)
        lower_precision(model.eval(), precision)

        def classify(texts: list[str]) -> object:
            return task.predict(model, records_of([(text, "0") for text in texts], task, COLUMNS))

        return timed(work, classify, sentences_of(shared, work), precision)


def classify_pipeline(work: Work) -> Measured:
    """The pipeline at the best of four batch sizes, chosen on a few texts."""
    import transformers

    with setting(work) as shared:
        model: Any = transformers.AutoModelForSequenceClassification.from_pretrained(shared.folder, num_labels=2)
        tokenizer: Any = transformers.AutoTokenizer.from_pretrained(shared.folder)
        texts, tried = sentences_of(shared, work), {}
        for dtype in {getattr(torch, work.precision), torch.float32}:
            for rows in (1, 8, 32, 128):
                made = pipeline(model, tokenizer, dtype, rows)
                tried[timed(work, made, texts[: work.pick(full=512, smoke=16)], "").seconds] = (dtype, rows)
        dtype, rows = tried[min(tried)]
        note = f"{str(dtype).removeprefix('torch.')}, batches of {rows}"
        return timed(work, pipeline(model, tokenizer, dtype, rows), texts, note)


def classify_onnx(work: Work, *, quantized: bool = False) -> Measured:
    """onnxruntime: texts sorted by length, padded to the longest of 32; with dynamically quantized weights or without."""
    import onnxruntime
    import transformers

    with setting(work) as shared:
        model: Any = transformers.AutoModelForSequenceClassification.from_pretrained(shared.folder, num_labels=2)
        path = export(model.eval(), shared.folder / "model.onnx")
        if quantized:
            path = quantize(path)
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = work.threads or torch.get_num_threads()
        session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])

        def classify(texts: list[str]) -> object:
            ids = [one.ids for one in shared.tokenizer.encode_batch(texts, special=True)]
            order, found = sorted(range(len(ids)), key=lambda number: len(ids[number])), []
            for first in range(0, len(order), ROWS):
                part = [ids[number][:128] for number in order[first : first + ROWS]]
                width = max(map(len, part))
                tokens = np.array([[*one, *[0] * (width - len(one))] for one in part], dtype=np.int64)
                mask = np.array([[1] * len(one) + [0] * (width - len(one)) for one in part], dtype=np.int64)
                found.append(session.run(None, {"input_ids": tokens, "attention_mask": mask})[0])
            return found

        return timed(work, classify, sentences_of(shared, work), "int8" if quantized else "float32")


def export(model: Any, path: Path) -> str:
    """The model as an ONNX file whose rows and lengths are free."""
    model.config.return_dict = False
    free = {0: "rows", 1: "length"}
    example = torch.ones(2, 8, dtype=torch.int64)
    names = ["input_ids", "attention_mask"]
    torch.onnx.export(
        model,
        (example, example),
        str(path),
        input_names=names,
        output_names=["logits"],
        dynamic_axes=dict.fromkeys(names, free),
        dynamo=False,
    )
    return str(path)


def quantize(path: str) -> str:
    """The same file with int8 weights."""
    from onnxruntime.quantization import QuantType, quantize_dynamic

    quantize_dynamic(path, f"{path}.int8", weight_type=QuantType.QInt8)
    return f"{path}.int8"


FINETUNE = Benchmark(
    name="finetune",
    title="fine-tuning a classifier of 4 layers, 256 wide, on SST-2 as it is, 32 texts a step",
    title_zh="微调分类器：4 层，宽 256，原样的 SST-2，每步 32 条文本",
    unit="tokens",
    files=(SENTENCES,),
    quality="accuracy",
    sides=(
        Side(name="trifold", run=tune_trifold),
        Side(name="transformers Trainer", run=tune_trainer, needs=PEERS, bar=3.0),
        Side(name="transformers Trainer, grouped", run=partial(tune_trainer, grouped=True), needs=PEERS),
    ),
)
CLASSIFY = Benchmark(
    name="classify",
    title="classifying 10,000 sentences of SST-2, 4 layers, 256 wide",
    title_zh="对 SST-2 的 10,000 个句子分类，4 层，宽 256",
    unit="texts",
    files=(SENTENCES,),
    sides=(
        Side(name="trifold", run=classify_trifold),
        Side(name="trifold int8", run=partial(classify_trifold, precision="int8")),
        Side(name="transformers pipeline", run=classify_pipeline, needs=PEERS, bar=3.0),
        Side(name="onnxruntime", run=classify_onnx, needs=("transformers", "onnxruntime", "onnx"), bar=1.2),
        Side(
            name="onnxruntime int8",
            run=partial(classify_onnx, quantized=True),
            needs=("transformers", "onnxruntime", "onnx"),
        ),
    ),
)

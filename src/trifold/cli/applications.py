"""The five applications of the demo, fine-tuned on the samples and on questions about the standard library."""

import ast
import json
import sysconfig
from collections.abc import Iterator
from dataclasses import dataclass, replace
from importlib import resources
from pathlib import Path
from typing import Any, TypeGuard

from trifold.cli.console import Progress
from trifold.cli.corpus import module_files
from trifold.cli.option import Request
from trifold.cli.process import keep_memory_of_training
from trifold.locale import message

__all__ = ["Shown", "run_applications"]

MOST_FUNCTIONS = 1500
SIGNATURE = 60


@dataclass(frozen=True, slots=True)
class Shown:
    """What the demo shows of one application.

    Attributes:
        name: of the application.
        folder: of its run.
        judgement: metrics beside baselines.
        samples: pairs of what was given and what came out.
    """

    name: str
    folder: Path
    judgement: dict[str, Any]
    samples: list[tuple[str, str]]


def run_applications(out: Path, request: Request, *, minutes: float) -> list[Shown]:
    """Fine-tune and show all five; each gets the same share of the time."""
    each = minutes / 5
    return [
        _classify("sentiment", "sentiment.tsv", out, request, each),
        _classify("classification", "topics.tsv", out, request, each),
        _translate(out, request, each),
        _ask(out, request, each),
        _generate(out, request, each),
    ]


def _sample(name: str) -> str:
    return str(resources.files("trifold.samples").joinpath(name))


def _tune(name: str, out: Path, request: Request, experiment: Any) -> tuple[Any, dict[str, Any]]:
    """Fine-tune; give the tuned model and its judgement."""
    from trifold.cli.finetune import say_judgement, show
    from trifold.tasks import finetune, load

    request.console.say(f"\n== {message(f'cli.application_{name}')}")
    folder = out / name
    keep_memory_of_training()
    with Progress(request.console, name, every=5.0) as progress:
        result = finetune(experiment, folder, listen=lambda event: show(event, progress))
    say_judgement(result.judgement, request.console)
    return load(folder), result.judgement


def _experiment(model: Any, task: Any, data: Any, minutes: float, **training: Any) -> Any:
    from trifold.tasks import FineTuning

    made = FineTuning(model=model, task=task, data=data, epochs=None)
    return replace(made, training=replace(made.training, steps=None, minutes=minutes, **training))


def _classify(name: str, file: str, out: Path, request: Request, minutes: float) -> Shown:
    from trifold.tasks import Classification, LabelledData, Record
    from trifold.training import ModelChoice

    data = LabelledData(train=_sample(file), dev_fraction=0.2)
    start = ModelChoice(start=str(out / "bert"))
    task = Classification(max_length=64)
    tuned, judged = _tune(name, out, request, _experiment(start, task, data, minutes, evaluate_every=25))
    texts = {
        "sentiment": ["The train was clean and quiet.", "服务很差，再也不来了。"],
        "classification": ["In spring the probe finds a new planet.", "上周银行下调利率。"],
    }[name]
    made = tuned.task.predict(tuned.model, [Record((text,)) for text in texts])
    samples = [(text, f"{one.answer} ({one.confidence:.0%})") for text, one in zip(texts, made, strict=True)]
    return _said(Shown(name, out / name, judged, samples), request)


def _translate(out: Path, request: Request, minutes: float) -> Shown:
    from trifold.tasks import LabelledData, Record, Translation
    from trifold.training import AdamW, ModelChoice, Muon

    data = LabelledData(train=_sample("translation.tsv"), dev_fraction=0.15, columns={"source": "en", "target": "zh"})
    model = ModelChoice(preset="vaswani", size="tiny", overrides={"num_layers": 2, "max_length": 64})
    optimizer = Muon(lr=5e-3, adamw=AdamW(lr=3e-3, weight_decay=0.0))
    task = Translation(max_length=64, beams=4)
    experiment = _experiment(model, task, data, minutes, optimizer=optimizer, evaluate_every=50)
    experiment = replace(experiment, tokenizer=replace(experiment.tokenizer, vocab_size=600))
    tuned, judged = _tune("translation", out, request, experiment)
    texts = ["The doctor finds the white horse.", "My sister draws three letters."]
    made = tuned.task.predict(tuned.model, [Record((text,)) for text in texts])
    samples = [(text, one.answer) for text, one in zip(texts, made, strict=True)]
    return _said(Shown("translation", out / "translation", judged, samples), request)


def _generate(out: Path, request: Request, minutes: float) -> Shown:
    from trifold.data.rows import Row
    from trifold.generation import Sampling
    from trifold.tasks import Generation, LabelledData
    from trifold.tasks.generation import GenerationTask
    from trifold.training import ModelChoice

    data = LabelledData(train=_sample("instructions.jsonl"), dev_fraction=0.15)
    start = ModelChoice(start=str(out / "gpt2"))
    wanted = Generation(max_length=96)
    tuned, judged = _tune("generation", out, request, _experiment(start, wanted, data, minutes, evaluate_every=25))
    task = GenerationTask.of(tuned.task)
    asked = [("Who does it?", "The old man likes the map."), ("是谁做的？", "医生看见两个苹果。")]
    rows = [Row({"prompt": prompt, "input": given}, "") for prompt, given in asked]
    records = [task.question(row, {"prompt": "prompt", "input": "input"}) for row in rows]
    made = task.write(tuned.model, records, Sampling(temperature=0.0, max_tokens=24))
    samples = [(" ".join(one), answer.answer) for one, answer in zip(asked, made, strict=True)]
    return _said(Shown("generation", out / "generation", judged, samples), request)


def _ask(out: Path, request: Request, minutes: float) -> Shown:
    """A knowledge base of the standard library's functions, and a reader trained on questions about other modules."""
    from trifold.retrieval import KnowledgeBase
    from trifold.tasks import LabelledData, SpanQA
    from trifold.tasks.knowledge import ask
    from trifold.training import ModelChoice

    place = out / "knowledge"
    place.mkdir(exist_ok=True)
    counts = write_questions(place)
    base, _ = KnowledgeBase.build([place / "functions.jsonl"], out / "kb")
    request.console.say("\n" + message("cli.demo_kb", documents=counts, passages=len(base)))
    data = LabelledData(train=str(place / "train.jsonl"), dev=str(place / "dev.jsonl"))
    task = SpanQA(max_length=128, stride=64, max_question=32, match=True, rule="squad")
    start = ModelChoice(start=str(out / "bert"))
    experiment = _experiment(start, task, data, minutes, evaluate_every=50, batch_size=16, evaluate_rows=150)
    tuned, judged = _tune("span_qa", out, request, experiment)
    questions = ["What does shutil.copyfile do?", "textwrap.dedent 的作用是什么？"]
    samples = []
    for question in questions:
        found = ask(base, tuned, question, k=3)
        place_of = f" [{found.document}:{found.start}-{found.end}]" if found.text else ""
        samples.append((question, (found.text or message("cli.do_not_know")) + place_of))
    return _said(Shown("span_qa", out / "span_qa", judged, samples), request)


def _said(shown: Shown, request: Request) -> Shown:
    for given, made in shown.samples:
        request.console.say(f"  {given} -> {made}")
    return shown


def write_questions(folder: Path) -> int:
    """Write `functions.jsonl`, one document a function, and questions about them; every eighth module is held out."""
    documents, train, dev = [], [], []
    for number, (name, text, answer) in enumerate(_functions()):
        documents.append({"id": name, "title": name, "text": text})
        ask = f"What does {name} do?" if number % 2 else f"{name} 的作用是什么？"
        row = {"question": ask, "context": text, "answers": [{"text": answer, "start": text.index(answer)}]}
        (dev if hash_of(name.partition(".")[0]) % 8 == 0 else train).append(row)
    for file, rows in (("functions", documents), ("train", train), ("dev", dev)):
        lines = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
        (folder / f"{file}.jsonl").write_text(lines, encoding="utf-8")
    return len(documents)


def hash_of(text: str) -> int:
    """A number that is the same in every process.

    Example:
        >>> hash_of("shutil") == hash_of("shutil")
        True
    """
    import zlib

    return zlib.crc32(text.encode())


def _functions() -> Iterator[tuple[str, str, str]]:
    """Name, documentation and its first sentence, of public functions with a docstring, evenly from all modules."""
    root = Path(sysconfig.get_paths()["stdlib"])
    functions = []
    for path in module_files():
        module = ".".join(path.relative_to(root).with_suffix("").parts).removesuffix(".__init__")
        try:
            tree = ast.parse(path.read_text(encoding="utf-8"))
        except (OSError, ValueError, SyntaxError):
            continue
        functions += [(f"{module}.{node.name}", *_documented(module, node)) for node in tree.body if _is_public(node)]
    step = max(1, -(-len(functions) // MOST_FUNCTIONS))
    distinct = {
        name: (name, text, answer) for name, text, answer in functions[::step] if answer and text.count(answer) == 1
    }
    yield from distinct.values()


def _is_public(node: ast.stmt) -> TypeGuard[ast.FunctionDef]:
    return isinstance(node, ast.FunctionDef) and not node.name.startswith("_") and bool(ast.get_docstring(node))


def _documented(module: str, node: ast.FunctionDef) -> tuple[str, str]:
    doc = " ".join((ast.get_docstring(node) or "").split())[:600]
    signature = f"{module}.{node.name}({', '.join(one.arg for one in node.args.args)})"[:SIGNATURE]
    first = doc.partition(". ")[0].rstrip(".")
    return f"{signature}: {doc}", first if 8 <= len(first) <= 160 else ""

"""`trifold demo`: the whole way on text that every machine with Python has."""

import shutil
import time
from pathlib import Path
from typing import Any

from trifold.cli.applications import Shown, run_applications
from trifold.cli.console import Console, duration
from trifold.cli.corpus import write_standard_library
from trifold.cli.option import Command, Option, Request
from trifold.errors import UsageError
from trifold.locale import message

__all__ = ["COMMAND"]

OWN = ".trifold-demo"
FAMILIES = {"gpt2": "causal", "bert": "masked", "t5": "denoising"}
PROMPTS = ("The `open` function returns", 'def read_lines(path):\n    """Return', "Raises ValueError if")
MASKED = "The function returns {mask} if the file does not {mask}."
CORRUPTED = "Return the number of <extra_id_0> in the list. Raises <extra_id_1> if the value is not present."


def run(request: Request) -> dict[str, Any]:
    """Tokenizer, one model of each family, what they can do, and a page about it."""
    from trifold.evaluation.metric import require_sacrebleu

    require_sacrebleu()  # the demo translates too, at its end
    start = time.perf_counter()
    out, console = Path(request.values.out), request.console
    _claim(out, console)
    sizes = write_standard_library(out / "data")
    console.say(message("cli.demo_data", train=f"{sizes['train'] / 1e6:.1f}", valid=f"{sizes['valid'] / 1e6:.1f}"))
    _train_tokenizer(out, console, request.values.vocab_size)
    pages, data = [], {}
    for family, objective in FAMILIES.items():
        console.say(f"\n== {family} ({objective})")
        page, data[family] = _family(family, out, request)
        pages.append(page)
    shown = run_applications(out, request, minutes=0.8 * request.values.minutes)
    from trifold.evaluation.report import write_report

    extra = [section for application in shown for section in _application(application)]
    page = write_report(out, pages, title=message("cli.demo_title"), extra=extra)
    seconds = time.perf_counter() - start
    _say_table(pages, data, console)
    console.say(message("cli.demo_done", page=page, time=duration(seconds)))
    applications = {
        application.name: {"judgement": application.judgement, "samples": application.samples} for application in shown
    }
    return {
        "page": str(page),
        "seconds": seconds,
        "runs": data,
        "baselines": dict(pages[0].baselines),
        "applications": applications,
    }


def _application(shown: Shown) -> list[str]:
    """One application as parts of the page."""
    import html

    from trifold.evaluation.report import html_table
    from trifold.tasks.report import result_table

    name = message(f"cli.application_{shown.name}")
    parts = [f"<h2>{html.escape(name)}</h2>", html_table(result_table(shown.judgement))]
    parts += [
        f'<pre><b class="given">{html.escape(given)}</b>\n{html.escape(made)}</pre>' for given, made in shown.samples
    ]
    return [
        *parts,
        f'<p><a href="{shown.name}/report.html">{html.escape(message("cli.more_about", name=name))}</a></p>',
    ]


def _claim(out: Path, console: Console) -> None:
    """Take the folder; one that an earlier demo made is cleared, any other is left alone."""
    if out.exists() and any(out.iterdir()):
        if not (out / OWN).is_file():
            raise UsageError("cli.folder_exists", path=out)
        console.note(message("cli.demo_again", path=out))
        shutil.rmtree(out)
    out.mkdir(parents=True, exist_ok=True)
    (out / OWN).touch()


def _train_tokenizer(out: Path, console: Console, vocab_size: int) -> None:
    from trifold.data import read
    from trifold.text import train_tokenizer

    texts = (example.texts[0] for example in read([str(out / "data" / "train.jsonl")]))
    tokenizer = train_tokenizer(texts, kind="byte_bpe", vocab_size=vocab_size)
    tokenizer.save_pretrained(out / "tokenizer")
    console.say(message("cli.tokenizer_done", path=out / "tokenizer", size=f"{tokenizer.vocab_size:,}"))


def _family(family: str, out: Path, request: Request) -> tuple[Any, dict[str, Any]]:
    from trifold.cli.pretrain import describe, run_experiment
    from trifold.evaluation.baselines import run_baselines
    from trifold.evaluation.report import RunPage

    experiment = _experiment(family, out, request)
    result = run_experiment(experiment, out / family, request.console)
    samples = _samples(family, out / family)
    for sample in samples:
        request.console.say(f"  {sample.given!r} -> {sample.made!r}")
    baselines = run_baselines(out / family)
    page = RunPage(folder=out / family, samples=samples, baselines=baselines)
    shown = [{"given": one.given, "made": one.made} for one in samples]
    return page, {**describe(result), "samples": shown, "baselines": baselines}


def _experiment(family: str, out: Path, request: Request) -> Any:
    from trifold.training.fit import fit

    held, trained = ([str(out / "data" / f"{name}.jsonl")] for name in ("valid", "train"))
    sections = {
        "model": {"preset": family, "size": request.values.size},
        "tokenizer": {"path": str(out / "tokenizer")},
        "data": {"paths": trained, "valid": held},
        "training": {"minutes": request.values.minutes / len(FAMILIES), "checkpoint_every": 0},
    }
    return fit(sections).experiment


def _samples(family: str, folder: Path) -> list[Any]:
    """What the trained model makes of a few fixed beginnings."""
    from trifold.evaluation.language_model import load_run
    from trifold.evaluation.sample import Sample
    from trifold.generation import Generator, Sampling, fill_mask, restore_spans

    if family == "bert":
        model, tokenizer = load_run(folder)
        text = MASKED.format(mask=tokenizer.roles["mask"])
        masks = fill_mask(model, tokenizer, text, top_k=5)
        lists = [
            ", ".join(f"{candidate.token.strip()} {candidate.probability:.0%}" for candidate in candidates)
            for candidates in masks
        ]
        return [Sample(f"{text}\n", f"{number}: {line}") for number, line in enumerate(lists, start=1)]
    generator = Generator.from_pretrained(folder)
    if family == "t5":
        restored = restore_spans(generator, CORRUPTED, Sampling(temperature=0.0, max_tokens=40))
        return [Sample(f"{CORRUPTED}\n", restored.text)]
    options = Sampling(temperature=0.7, top_p=0.9, max_tokens=60, seed=1)
    generations = generator.generate(list(PROMPTS), options)
    return [Sample(prompt, generation.text) for prompt, generation in zip(PROMPTS, generations, strict=True)]


def _say_table(pages: list[Any], data: dict[str, Any], console: Console) -> None:
    console.say("\n" + message("cli.demo_table"))
    for name, value in pages[0].baselines.items():
        console.say(f"  {name:<12} {value:.3f}")
    for family, found in data.items():
        bits = (found["valid"] or {}).get("bits_per_byte")
        console.say(f"  {family:<12} {'-' if bits is None else f'{bits:.3f}'}  ({FAMILIES[family]})")


COMMAND = Command(
    name="demo",
    options=(
        Option(name="out", kind="folder", default="runs/demo", help="option_out_demo"),
        Option(name="minutes", kind="number", above=0, default=5.0, help="option_minutes_demo"),
        Option(name="size", choices=("tiny", "mini", "small"), default="tiny"),
        Option(name="vocab-size", kind="integer", low=512, default=4096),
    ),
    run=run,
)

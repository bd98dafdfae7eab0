"""`trifold demo`: the whole way on text that every machine with Python has, by commands that anybody can type."""

import shlex
import shutil
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from trifold.cli import finetune, pretrain, tokenizer
from trifold.cli.console import Console, duration
from trifold.cli.demo_steps import APPLICATIONS, FAMILIES, NEXT, Application, Family, Judged, Trained
from trifold.cli.option import Command, Option, Request
from trifold.cli.parse import parse_to_run
from trifold.errors import UsageError
from trifold.locale import message

__all__ = ["COMMAND"]

OWN = ".trifold-demo"


class Shell:
    """Runs commands as if they had been typed, and shows them."""

    def __init__(self, console: Console) -> None:
        self.console = console

    def __call__(self, command: Command, words: Sequence[object]) -> dict[str, Any]:
        """The result of a command as data."""
        typed = list(map(str, words))
        self.console.say(f"\n$ trifold {command.name} {shlex.join(typed)}")
        return command.run(parse_to_run(command, typed, self.console))


def run(request: Request) -> dict[str, Any]:
    """Tokenizer, one model of each family, five applications, and a page about all of them."""
    from trifold.cli.demo_page import write_page
    from trifold.evaluation.metric import require_sacrebleu
    from trifold.samples.exercises import write_exercises, write_text

    require_sacrebleu()  # the demo translates too, at its end
    start, values, console = time.perf_counter(), request.values, request.console
    out, shell = Path(values.out), Shell(console)
    _claim(out, console)
    sizes = write_text(out / "data")
    console.say(message("cli.demo_data", train=f"{sizes['train'] / 1e6:.1f}", valid=f"{sizes['valid'] / 1e6:.1f}"))
    shell(tokenizer.TRAIN, [out / "data/train.jsonl", "--vocab-size", values.vocab_size, "--out", out / "tokenizer"])
    trained = [_family(family, out, request, shell) for family in FAMILIES]
    write_exercises(out / "data")
    judged = [_application(application, out, request, shell) for application in APPLICATIONS]
    page, seconds = write_page(out, trained, judged), time.perf_counter() - start
    _say_table(trained, judged, console)
    console.say(message("cli.demo_done", page=page, time=duration(seconds)))
    console.say("\n  ".join([message("cli.demo_next"), *NEXT]))
    return {
        "page": str(page),
        "seconds": seconds,
        "runs": {each.family.name: each.result for each in trained},
        "baselines": trained[0].result["baselines"],
        "applications": {
            each.application.name: {"judgement": each.judgement, "samples": list(map(asdict, each.samples))}
            for each in judged
        },
    }


def _claim(out: Path, console: Console) -> None:
    """Take the folder; one that an earlier demo made is cleared, any other is left alone."""
    if out.exists() and any(out.iterdir()):
        if not (out / OWN).is_file():
            raise UsageError("cli.folder_exists", path=out)
        console.note(message("cli.demo_again", path=out))
        shutil.rmtree(out)
    out.mkdir(parents=True, exist_ok=True)
    (out / OWN).touch()


def _family(family: Family, out: Path, request: Request, shell: Shell) -> Trained:
    """Pre-train a model of a family, and see what it makes of a few texts."""
    values = request.values
    result = shell(pretrain.COMMAND, family.words(out, minutes=values.minutes, size=values.size))
    texts = family.texts(out / family.name)
    said = shell(family.use, [out / family.name, *texts, *family.options])
    return Trained(family, out / family.name, result, family.read(said, texts))


def _application(application: Application, out: Path, request: Request, shell: Shell) -> Judged:
    """Fine-tune a model for a task, judge it, and use it."""
    for command, words in application.before(out):
        shell(command, words)
    tuned = shell(finetune.COMMAND, application.words(out, minutes=request.values.minutes))
    said = shell(application.use, [out / application.name, *application.texts, *application.options(out)])
    return Judged(application, out / application.name, tuned["judgement"], application.read(said, application.texts))


def _say_table(trained: Sequence[Trained], judged: Sequence[Judged], console: Console) -> None:
    """All figures of the demo beside their baselines, in a few lines."""
    from trifold.tasks.report import verdict_line

    console.say("\n" + message("cli.demo_table"))
    for name, value in trained[0].result["baselines"].items():
        console.say(f"  {name:<12} {value:.3f}")
    for each in trained:
        bits = (each.result["valid"] or {}).get("bits_per_byte")
        objective = message(f"evaluation.objective_{each.family.objective}")
        console.say(f"  {each.family.name:<12} {'-' if bits is None else f'{bits:.3f}'}  ({objective})")
    for each in judged:
        console.say(f"{message(f'cli.application_{each.application.name}')}: {verdict_line(each.judgement)}")


COMMAND = Command(
    name="demo",
    options=(
        Option(name="out", kind="folder", default="runs/demo", help="option_out_demo"),
        Option(name="minutes", kind="number", above=0, default=4.0, help="option_minutes_demo"),
        Option(name="size", choices=("tiny", "mini", "small"), default="tiny"),
        Option(name="vocab-size", kind="integer", low=512, default=4096),
    ),
    run=run,
)

"""`trifold sweep` and `trifold compare-families`: the best settings, and the best family, for the user's own data."""

from argparse import Namespace
from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trifold.cli import finetune as tuning
from trifold.cli.console import Console, Progress
from trifold.cli.help import pad
from trifold.cli.needs import missing_files, with_out
from trifold.cli.option import Command, Option, Request
from trifold.cli.process import keep_memory_of_training
from trifold.errors import UsageError
from trifold.locale import message

if TYPE_CHECKING:
    from trifold.tasks.sweep import Trial

__all__ = ["FAMILIES", "SWEEP"]

KINDS = {"encoder": "bert", "decoder": "gpt2", "encoder-decoder": "vaswani"}


def run_sweep(request: Request) -> dict[str, Any]:
    """Try settings; show each, then the best."""
    from trifold.config import to_json
    from trifold.tasks.sweep import VARIED, sweep
    from trifold.training.description import read_description

    request = with_out(request, f"sweep-{request.values.task or 'run'}")
    values, console = request.values, request.console
    experiment = tuning.build(request)
    keep_memory_of_training()
    vary = [name for name in VARIED if name not in request.given]
    if not vary or (vary == ["epochs"] and experiment.epochs is None):
        fixed = [name for name in (*VARIED, "steps", "minutes") if name in request.given]
        raise UsageError("cli.nothing_to_vary", given=", ".join(f"--{name}".replace("_", "-") for name in fixed))

    def show(trial: "Trial") -> None:
        metric = "-" if trial.metric is None else f"{trial.metric:.4f}"
        state = message(f"cli.trial_{trial.state}")
        console.say(
            message("cli.trial", number=trial.number, state=state, metric=metric, values=_options(trial.values))
        )

    with Progress(console, Path(values.out).name, every=5.0) as progress:
        best, trials = sweep(
            experiment,
            values.out,
            trials=values.trials,
            vary=vary,
            done=show,
            listen=lambda event: tuning.show(event, progress),
        )
    settings = {"lr": best.training.optimizer.lr, "batch_size": best.training.batch_size, "epochs": best.epochs}
    complete = [trial.number for trial in trials if trial.state == "complete"]
    if complete:
        console.say(message("cli.best_trial", values=_options({name: settings[name] for name in vary})))
    account = read_description(Path(values.out) / f"trial-{complete[0]}")["account"] if complete else {}
    return {
        "best": settings,
        "account": account,
        "trials": [asdict(trial) for trial in trials],
        "experiment": to_json(best),
    }


def _options(values: Mapping[str, float | None]) -> str:
    """Values as options that try them again."""
    named = {f"--{name}".replace("_", "-"): value for name, value in values.items() if value is not None}
    return " ".join(f"{name} {value:.4g}" for name, value in named.items())


def run_families(request: Request) -> dict[str, Any]:
    """The same data, the same minutes, one model of each family from random weights, and what costs nothing."""
    from trifold.tasks import compare, finetune, load
    from trifold.tasks.finetune import split_records

    request = with_out(request, "families")
    values, console = request.values, request.console
    out, minutes = Path(values.out), _minutes(values.budget) / len(KINDS)
    if values.task not in ("classification", "sentiment", "tagging", "span_qa"):
        raise UsageError(
            "cli.bad_value", option="--task", given=values.task, allowed="classification, span_qa, tagging", hint=""
        )
    keep_memory_of_training()
    judged: dict[str, Any] = {}
    account: dict[str, Any] = {}
    experiment: Any = None
    for family, preset in KINDS.items():
        defaults = {option.field: option.default for option in tuning.COMMAND.options}
        asked = Namespace(**defaults | vars(values) | {"model": preset, "minutes": minutes})
        experiment = tuning.build(replace(request, values=asked, given=request.given | {"minutes"}))
        with Progress(console, family, every=5.0) as progress:
            result = finetune(experiment, out / family, listen=lambda event, p=progress: tuning.show(event, p))
        judged[family], account = result.judgement, result.account
    rows = {family: judgement["metrics"] for family, judgement in judged.items()} | judged["encoder"]["baselines"]
    _say_scores(rows, console)
    first = next(iter(judged["encoder"]["metrics"]))
    best = max(judged, key=lambda family: judged[family]["metrics"][first]["value"])
    tuned = {family: load(out / family) for family in KINDS}
    records = split_records(experiment, tuned[best].require())
    said = {family: model.predict(records) for family, model in tuned.items()}
    pairs = {}
    for family in (family for family in KINDS if family != best):
        pair = compare(tuned[best].require(), records, said[best], said[family])["differences"][first]
        pairs[family] = pair
        difference = f"{pair['value']:+.4f} [{pair['low']:+.4f}, {pair['high']:+.4f}]"
        facts = {"best": best, "other": family, "metric": first, "difference": difference, "p": f"{pair['p']:.4f}"}
        console.say(message("cli.family_pair", **facts))
    return {"families": judged, "account": account, "best": best, "against": pairs}


def _say_scores(rows: Mapping[str, Any], console: Console) -> None:
    """The metrics of each family and each baseline, with their intervals."""
    from trifold.tasks.report import baseline_name

    for who, metrics in rows.items():
        for name, score in metrics.items():
            interval = f"[{score['low']:.4f}, {score['high']:.4f}]"
            console.say(f"{pad(baseline_name(who), 28)} {name:<14} {score['value']:8.4f}  {interval}  n = {score['n']}")


def _minutes(text: str) -> float:
    """Minutes from `10m`, `1.5h`, `90s` or a plain number of minutes."""
    units = {"s": 1 / 60, "m": 1.0, "h": 60.0}
    number, unit = (text[:-1], units[text[-1]]) if text[-1:] in units else (text, 1.0)
    try:
        minutes = float(number) * unit
    except ValueError:
        minutes = 0.0
    if not 0 < minutes < 1e6:
        raise UsageError("cli.bad_value", option="--budget", given=text, allowed="90s, 10m, 1.5h", hint="")
    return minutes


WITHOUT = ("seeds", "resume", "steps", "minutes")
SHARED = tuple(option for option in tuning.COMMAND.options if option.name not in WITHOUT)
SWEEP = Command(
    name="sweep",
    options=(*SHARED, Option(name="steps", kind="integer", low=1), Option(name="minutes", kind="number", above=0),
             Option(name="trials", kind="integer", low=1, high=10_000, default=12)),
    run=run_sweep,
    problems=lambda request: tuning.missing_of_tuning(request, "sweep"),
    sections=tuning.COMMAND.sections,
)  # fmt: skip
FAMILIES = Command(
    name="compare-families",
    options=(
        Option(name="train", kind="file", positional=True, required=True),
        Option(name="budget", default="10m"),
        Option(name="task", default="classification", help="option_task"),
        *(option for option in SHARED if option.name not in ("task", "train", "model", "lora", "epochs", "experiment")),
    ),
    run=run_families,
    problems=lambda request: missing_files([request.values.train]),
    sections=tuning.COMMAND.sections,
)

"""The best weights of a run, by what was measured on the dev set; and whether it is worth going on."""

import json
import math
from dataclasses import replace
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from trifold.errors import ModelFileError
from trifold.training.trainer import Evaluation, Trainer

__all__ = ["Best"]

WEIGHTS, FACTS = "best.safetensors", "best.json"


class Best:
    """Keeps the weights of the best evaluation on disk, so that a run that is resumed knows them too.

    Args:
        out: the run's folder.
        trainer: whose weights are kept.
        higher: whether a higher metric is better.
        patience: after how many evaluations without a better one it is enough; 0 for never.
    """

    def __init__(self, out: Path, trainer: Trainer, *, higher: bool, patience: int) -> None:
        self.out, self.trainer, self.higher, self.patience = out, trainer, higher, patience
        self.metric, self.step, self.since = (-math.inf if higher else math.inf), -1, 0
        if (out / FACTS).is_file():
            known = json.loads((out / FACTS).read_text(encoding="utf-8"))
            if known["step"] <= trainer.step:
                self.metric, self.step, self.since = known["metric"], known["step"], known["since"]

    def consider(self, found: Evaluation) -> Evaluation:
        """Keep the weights if this evaluation is the best so far; the evaluation says whether it is enough."""
        metric = found.loss if found.metric is None else found.metric
        better = metric > self.metric if self.higher else metric < self.metric
        self.since = 0 if better else self.since + 1
        if better:
            self.metric, self.step = metric, self.trainer.step
            working = self.out / f"{WEIGHTS}.tmp"
            exact = self.trainer.weights.exact
            save_file({name: value.detach().cpu().contiguous() for name, value in exact.items()}, working)
            working.replace(self.out / WEIGHTS)
        facts = {"metric": self.metric, "step": self.step, "since": self.since}
        (self.out / FACTS).write_text(json.dumps(facts), encoding="utf-8")
        return replace(found, enough=bool(self.patience) and self.since >= self.patience)

    def restore(self) -> None:
        """Put the best weights in place; leave all as it is where nothing was evaluated.

        Raises:
            ModelFileError: the file is damaged.
        """
        path = self.out / WEIGHTS
        if not path.is_file():
            return
        try:
            saved = load_file(path)
            with torch.no_grad():
                for name, value in self.trainer.weights.exact.items():
                    value.copy_(saved[name])
        except (SafetensorError, OSError, KeyError, RuntimeError) as error:
            raise ModelFileError("checkpoint.bad_file", path=path, problem=str(error)[:200]) from None
        self.trainer.weights.refresh()

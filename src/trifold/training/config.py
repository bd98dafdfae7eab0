"""What a training run is asked to do, as frozen values."""

from dataclasses import dataclass
from typing import Annotated, Literal

from annotated_types import Interval

from trifold.config import TAGGED, Chance, Config, Count, Fraction, Natural, Positive, require

__all__ = ["AdamW", "Muon", "Optimizer", "Schedule", "Training"]

Rate = Annotated[float, Interval(gt=0, le=10)]
Decay = Annotated[float, Interval(ge=0, le=10)]


@dataclass(frozen=True, kw_only=True, slots=True)
class AdamW(Config):
    """Adam with decoupled weight decay (Loshchilov and Hutter 2019); no decay on norms, biases and embeddings.

    Example:
        >>> AdamW(lr=1e-3).lr
        0.001
    """

    kind: Literal["adamw"] = "adamw"
    lr: Rate = 1e-3
    betas: tuple[Chance, Chance] = (0.9, 0.95)
    eps: Positive = 1e-8
    weight_decay: Decay = 0.1


@dataclass(frozen=True, kw_only=True, slots=True)
class Muon(Config):
    """Orthogonalised momentum (Jordan 2024) for the matrices of the blocks, AdamW for all other parameters.

    The update of a matrix is scaled to the size that AdamW's would have (Liu et al. 2025), so `lr` reads like AdamW's.

    Example:
        >>> Muon().adamw.kind
        'adamw'
    """

    kind: Literal["muon"] = "muon"
    lr: Rate = 5e-3
    momentum: Chance = 0.95
    weight_decay: Decay = 0.0
    adamw: AdamW = AdamW(lr=1e-2, weight_decay=0.0)


Optimizer = Annotated[AdamW | Muon, TAGGED]


@dataclass(frozen=True, kw_only=True, slots=True)
class Schedule(Config):
    """How the learning rate moves: up over `warmup`, then down to `final` of its peak by the `kind` of curve.

    `warmup` and `decay` are fractions of the whole run; `decay` counts for `wsd` only (warm-up, stable, decay).

    Example:
        >>> Schedule(kind="constant").final
        0.0
    """

    kind: Literal["cosine", "linear", "wsd", "constant"] = "cosine"
    warmup: Fraction = 0.02
    decay: Fraction = 0.3
    final: Fraction = 0.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Training(Config):
    """One run of the trainer.

    Attributes:
        steps, tokens, minutes: how long to train; exactly one is given. `tokens` counts target tokens (with a loss).
        length: tokens in a row, of the encoder where there is one, else of the decoder.
        target_length: tokens in a decoder's row beside an encoder; None lets the objective say.
        batch_size: rows in one pass.
        accumulation: passes in one optimizer step, which all processes share; the gradient is that of one big batch.
        layer_decay: what the learning rate is multiplied by from each layer to the one below (Howard and Ruder 2018).
        clip: largest norm of the gradient; None for no limit.
        dtype: `auto` is bfloat16 where the device multiplies it in hardware, else float32.
        gradient_checkpointing: compute activations again in the backward pass, to save memory.
        compile: use torch.compile; where it fails, says so and goes on without.
        on_bad_step: what to do with a step whose loss or gradient is no finite number, or a spike: `stop`; `skip`, which
            leaves the weights as they are and stops at the third in a row; or `rollback`, which goes back to the newest
            checkpoint and on with the batches after the bad ones, three times at most.
        spike: a step is bad from so many times the median of the last 64 steps on (of loss or gradient norm); None: never.
        evaluate_every, checkpoint_every, log_every: cadence in steps; 0 means only at the end.
        checkpoint_passes: save also inside a step, after every so many of its passes; 0 means never.
        keep_checkpoints: how many of the newest to keep.
        keep_every: also keep those whose step is a multiple of this; 0 means none.
        keep_best: end with the weights that did best on held-out data, not with the last ones.
        save_in_background: copy the state and go on training while it is written.
        on_full_disk: whether a checkpoint that does not fit stops the run, or is left out.
        deterministic: add gradients in a fixed order, on one thread a process, so that 1, 2 or 4 processes give the same
            bits.
        parallel: what each of several processes holds: the whole model (`ddp`), or its share of the weights, gradients and
            moments (`fsdp`), which takes less memory and more words between them.
        timeout: seconds that processes wait for one another before they say who is missing.
        evaluate_rows: held-out rows for the evaluations during training, a sample of all; 0 means all. The last one always
            reads all.

    Example:
        >>> Training(steps=10).batch_size
        16
    """

    steps: Annotated[int, Interval(ge=1)] | None = None
    tokens: Annotated[int, Interval(ge=1)] | None = None
    minutes: Positive | None = None
    length: Count = 256
    target_length: Count | None = None
    batch_size: Count = 16
    accumulation: Count = 1
    optimizer: Optimizer = Muon()
    schedule: Schedule = Schedule()
    layer_decay: Annotated[float, Interval(gt=0, le=1)] = 1.0
    clip: Positive | None = 1.0
    dtype: Literal["auto", "float32", "bfloat16", "float64"] = "auto"
    device: Literal["auto", "cpu", "cuda"] = "auto"
    seed: Annotated[int, Interval(ge=0, lt=2**31)] = 0
    gradient_checkpointing: bool = False
    compile: bool = False
    on_bad_step: Literal["stop", "skip", "rollback"] = "stop"
    spike: Annotated[float, Interval(gt=1)] | None = None
    evaluate_every: Natural = 200
    evaluate_rows: Natural = 128
    checkpoint_every: Natural = 500
    log_every: Count = 10
    checkpoint_passes: Natural = 0
    keep_checkpoints: Count = 2
    keep_every: Natural = 0
    keep_best: bool = True
    save_in_background: bool = True
    on_full_disk: Literal["stop", "go_on"] = "stop"
    tensorboard: bool = False
    deterministic: bool = False
    parallel: Literal["ddp", "fsdp"] = "ddp"
    timeout: Annotated[float, Interval(gt=0, le=1e6)] = 600.0

    def __post_init__(self) -> None:
        Config.__post_init__(self)
        given = [value for value in (self.steps, self.tokens, self.minutes) if value is not None]
        require(len(given) == 1, where="training", given=given, allowed="exactly one of steps, tokens and minutes")

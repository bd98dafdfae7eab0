"""Several processes, on one machine or many, that train as one: torch.distributed, met through few calls.

The environment says who is who, as torchrun and `trifold pretrain --processes` set it. Each process computes its own
passes of a step; their gradients are summed, and every process takes the same step.
"""

import functools
import json
import os
import socket
import statistics
import warnings
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import TypeVar

import torch
import torch.distributed as dist
from torch import Tensor
from torch.distributed.distributed_c10d import PrefixStore, Store
from torch.distributed.rendezvous import rendezvous

from trifold.errors import ConfigError, DistributedError, PreemptedError, TrifoldError
from trifold.locale import message
from trifold.training.config import Training
from trifold.training.group import Alone
from trifold.training.precision import choose_device
from trifold.training.step import Sums
from trifold.training.watch import Watch

__all__ = ["Together", "joined", "loopback", "require_split", "world_size"]

INTERFACES = {"GLOO_SOCKET_IFNAME", "NCCL_SOCKET_IFNAME"}
"""Variables that say over which network processes speak."""
T = TypeVar("T")
BUCKET = 2**23
"""Gradients that are summed at once, at most (32 MiB of float32)."""
WINDOW, SLOW = 10, 2.0
"""Steps over which processes are compared, and how much slower than the others' median one has to be."""


def world_size() -> int:
    """How many processes the environment speaks of; 1 where it says nothing.

    Example:
        >>> world_size() >= 1
        True
    """
    return int(os.environ.get("WORLD_SIZE", "1"))


def loopback() -> str:
    """The network interface that is not seen from other machines.

    Example:
        >>> loopback().startswith("lo")
        True
    """
    return next((name for _, name in socket.if_nameindex() if name.startswith("lo")), "lo")


def require_split(training: Training, size: int) -> None:
    """Make sure that a step's passes can be shared.

    Args:
        training: says how many passes there are.
        size: the number of processes.

    Raises:
        ConfigError: they cannot; says what to set.

    Example:
        >>> require_split(Training(steps=1, accumulation=8), 4)
    """
    passes, own = training.accumulation, training.accumulation // size
    if size == 1:
        return
    if passes % size:
        raise ConfigError("training.uneven_passes", passes=passes, size=size, fitting=(own + 1) * size)
    if training.checkpoint_passes:
        raise ConfigError("training.no_passes_together", size=size)
    if training.parallel == "fsdp" and (training.deterministic or training.compile):
        raise ConfigError("training.not_in_parts", option="deterministic" if training.deterministic else "compile")
    if training.deterministic and (size & (size - 1) or own & (own - 1)):
        raise ConfigError("training.no_tree", passes=passes, size=size)


@contextmanager
def joined(training: Training, out: Path = Path()) -> Iterator[Alone]:
    """Be one of the processes that the environment speaks of, until the run is done.

    Args:
        training: how to work together.
        out: the run's folder, for what is written down when processes wait in vain.

    Raises:
        ConfigError: the passes of a step cannot be shared.
        DistributedError: the others cannot be reached, or one of them failed.

    Example:
        >>> with joined(Training(steps=1)) as group:
        ...     group.size
        1
    """
    size = world_size()
    try:
        require_split(training, size)
    except ConfigError as error:  # which all processes meet
        error.told = os.environ.get("RANK", "0") != "0"
        raise
    with _own_thread(training):
        if size == 1:
            yield Alone()
            return
        named = INTERFACES & os.environ.keys()
        group = _join(training, size, out / "stacks")
        try:
            yield group
        except Exception as error:
            group.tell(error)
            raise
        finally:
            group.watch.close()
            for name in INTERFACES - named:
                os.environ.pop(name, None)
        dist.destroy_process_group()


@contextmanager
def _own_thread(training: Training) -> Iterator[None]:
    """One thread a process where the bits are to be the same for any number of processes."""
    before = torch.get_num_threads()
    if training.deterministic:
        torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _join(training: Training, size: int, stacks: Path) -> "Together":
    rank, timeout = int(os.environ["RANK"]), timedelta(seconds=training.timeout)
    if int(os.environ.get("LOCAL_WORLD_SIZE", "0")) == size:
        for name in INTERFACES:
            os.environ.setdefault(name, loopback())
    backend = "gloo"
    if choose_device(training.device).type == "cuda":
        torch.cuda.set_device(int(os.environ.get("LOCAL_RANK", "0")))
        backend = "cpu:gloo,cuda:nccl"
    try:
        store = _of_this_attempt(next(rendezvous("env://", timeout=timeout))[0], "torch")
        watch = Watch(rank, size, _connect, training.timeout, stacks)
        dist.init_process_group(backend, store=store, rank=rank, world_size=size, timeout=timeout)
    except (RuntimeError, ValueError) as error:
        problem = str(error).splitlines()[0][:300]
        raise DistributedError("training.not_joined", rank=rank, size=size, problem=problem) from None
    return Together(watch, training)


def _connect() -> Store:
    """A connection of one's own to the store where the processes found each other."""
    place = os.environ["MASTER_ADDR"]
    port, wait = int(os.environ["MASTER_PORT"]), timedelta(seconds=5)
    store = dist.TCPStore(place, port, is_master=False, timeout=wait)  # pyright: ignore[reportPrivateImportUsage]
    return _of_this_attempt(store, "trifold")


def _of_this_attempt(store: Store, name: str) -> Store:
    """Where torchrun starts the processes again, it keeps the store, and in it what those before them left."""
    return PrefixStore(f"{name}/{os.environ.get('TORCHELASTIC_RESTART_COUNT', '0')}", store)


class Together(Alone):
    """One of several processes.

    Args:
        watch: knows which of the others still live.
        training: whether gradients are added in an order that does not depend on the number of processes, and whether each
            process holds all weights.
    """

    def __init__(self, watch: Watch, training: Training) -> None:
        self.rank, self.size, self.watch = watch.rank, watch.size, watch
        self.in_step = training.parallel == "fsdp"
        self.add_up = self._in_tree if training.deterministic else dist.all_reduce
        self._slow: dict[int, deque[float]] = {rank: deque(maxlen=WINDOW) for rank in range(self.size)}
        self._turns = self._facts = 0

    @contextmanager
    def working(self) -> Iterator[None]:
        """While the passes of a step are computed, and its gradients summed."""
        self.watch.doing, self.watch.at_risk = "training.doing_passes", True
        try:
            yield
        except RuntimeError as error:
            if isinstance(error, dist.DistError) or "gloo" in str(error):  # weights were on their way
                raise self.watch.explain(error) from None
            raise
        self.watch.doing, self.watch.at_risk = "training.doing_rest", False

    @contextmanager
    def meeting(self, doing: str) -> Iterator[None]:
        """While the others are waited for, to do what the message `doing` says."""
        watch = self.watch
        before = watch.doing, watch.at_risk
        watch.doing, watch.at_risk, watch.calls = doing, True, watch.calls + 1
        try:
            yield
        except RuntimeError as error:
            raise watch.explain(error) from None
        watch.doing, watch.at_risk = before

    def _gather(self, values: Sequence[float], doing: str) -> list[list[float]]:
        own = torch.tensor(values, dtype=torch.float64)
        gathered = [torch.empty_like(own) for _ in range(self.size)]
        with self.meeting(doing):
            dist.all_gather(gathered, own)
        return [numbers.tolist() for numbers in gathered]

    def exchange(self, losses: list[Sums], seconds: float) -> list[Sums]:
        """The losses of all passes of a step, in their order; `seconds` is what this process's own took."""
        names = sorted(losses[0].metrics)
        found = self._gather([*_numbers(losses, names), seconds], "training.doing_losses")
        self._look_for_stragglers([one[-1] for one in found])
        return [loss for one in found for loss in _sums(one[:-1], names)]

    def _look_for_stragglers(self, seconds: list[float]) -> None:
        for rank, taken in enumerate(seconds):
            self._slow[rank].append(taken)
        means = [statistics.fmean(self._slow[rank]) for rank in range(self.size)]
        slowest = max(range(self.size), key=means.__getitem__)
        usual = statistics.median(mean for rank, mean in enumerate(means) if rank != slowest)
        if len(self._slow[0]) == WINDOW and means[slowest] > SLOW * usual:
            if self.is_first:
                facts = {"rank": slowest, "seconds": means[slowest], "usual": usual}
                warnings.warn(message("training.straggler", **facts), stacklevel=2)
            for recent in self._slow.values():
                recent.clear()

    def collect(self, mine: list[Sums], total: int) -> list[Sums]:
        """What all processes measured on `total` held-out batches, in the order of the batches."""
        most, names = -(-total // self.size), self._metrics(mine)
        padded = [*mine, *[Sums()] * (most - len(mine))]
        found = [_sums(one, names) for one in self._gather(_numbers(padded, names), "training.doing_evaluation")]
        return [found[number % self.size][number // self.size] for number in range(total)]

    def _metrics(self, mine: list[Sums]) -> list[str]:
        """The names of the metrics; the first process knows them, since the first batch is its own."""
        names = sorted({name for one in mine for name in one.metrics}) if self.is_first else []
        text = json.dumps(names).encode()
        size = int(self._gather([len(text)], "training.doing_evaluation")[0][0])
        codes = self._gather([*text, *[0] * size][:size], "training.doing_evaluation")[0]
        return json.loads(bytes(map(int, codes)))

    def add(self, sums: dict[str, Tensor], exact: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Gradients, by the names of the exact weights, summed over all processes."""
        if self.in_step:  # torch has, after every pass
            return sums
        there = torch.tensor([name in sums for name in exact], dtype=torch.uint8)
        with self.meeting("training.doing_gradients"):
            dist.all_reduce(there, dist.ReduceOp.MAX)
            names = [name for name, found in zip(exact, there.tolist(), strict=True) if found]
            whole = {name: sums[name] if name in sums else torch.zeros_like(exact[name]) for name in names}
            for bucket in _buckets(list(whole.values())):
                flat = torch.cat([value.flatten() for value in bucket])
                self.add_up(flat)
                for value, part in zip(bucket, flat.split([one.numel() for one in bucket]), strict=True):
                    value.copy_(part.view_as(value))
        return whole

    def _in_tree(self, values: Tensor) -> None:
        """Sum over all processes as one process sums over its passes: neighbours first, then pairs of neighbours."""
        theirs, distance = torch.empty_like(values), 1
        while distance < self.size:
            partner = self.rank ^ distance
            pair = [dist.P2POp(dist.isend, values, partner), dist.P2POp(dist.irecv, theirs, partner)]
            for request in dist.batch_isend_irecv(pair):
                request.wait()
            values += theirs
            distance *= 2

    def spread(self, tensors: Mapping[str, Tensor]) -> None:
        """Give all processes the first one's numbers, where each holds all of them."""
        if self.in_step:
            return
        with self.meeting("training.doing_start"):
            for value in tensors.values():
                dist.broadcast(value.detach(), 0)

    def settle(self, value: float) -> float:
        """The first process's value."""
        return self._gather([value], "training.doing_rest")[0][0]

    def largest(self, value: int) -> int:
        """The largest of the processes' values."""
        return int(max(one[0] for one in self._gather([value], "training.doing_rest")))

    def decide(self, work: Callable[[], float]) -> float:
        """The value of a piece of work that the first process does for all, however long it takes."""
        return self.settle(self.in_turn(lambda: work() if self.is_first else 0.0))

    def in_turn(self, work: Callable[[], T]) -> T:
        """Do a piece of work: the first process before the others, which find what it made."""
        self._turns += 1
        key = f"turn/{self._turns}"
        if not self.is_first:
            self.watch.take([key])
        done = work()
        if self.is_first:
            self.watch.put(key, True)
        return done

    def agree(self, facts: Mapping[str, object]) -> None:
        """Make sure that facts are the same in all processes.

        Raises:
            DistributedError: they are not; names them, and what each process has.
        """
        self._facts += 1
        verdict = f"verdict/{self._facts}"
        keys = [f"facts/{self._facts}/{rank}" for rank in range(self.size)]
        self.watch.put(keys[self.rank], _flat(facts))
        if self.is_first:
            self.watch.put(verdict, _differences(self.watch.take(keys)))
        changes = self.watch.take([verdict])[0]
        if changes:
            failed = DistributedError("training.ranks_differ", changes=changes)
            failed.told = not self.is_first
            raise failed

    def tell(self, error: Exception) -> None:
        """Let the others know what ends this process, unless they end in the same way, or know."""
        if isinstance(error, DistributedError):
            return
        if isinstance(error, PreemptedError):
            error.told = not self.is_first
            return
        problem = str(error) if isinstance(error, TrifoldError) else f"{type(error).__name__}: {error}"
        text = message("training.rank_failed", rank=self.rank, problem=problem)
        if not self.watch.alarm(text, getattr(error, "exit_code", 1)) and isinstance(error, TrifoldError):
            error.told = True


def _numbers(losses: Sequence[Sums], names: Sequence[str]) -> list[float]:
    """Each loss as a row of numbers: sum, weight and metrics."""
    return [
        value for one in losses for value in (one.loss, one.weight, *(one.metrics.get(name, 0.0) for name in names))
    ]


def _sums(numbers: Sequence[float], names: Sequence[str]) -> list[Sums]:
    """What `_numbers` was given."""
    width = 2 + len(names)
    rows = [numbers[start : start + width] for start in range(0, len(numbers), width)]
    return [Sums(row[0], row[1], dict(zip(names, row[2:], strict=True))) for row in rows]


def _buckets(tensors: Sequence[Tensor]) -> Iterator[list[Tensor]]:
    """Tensors of one dtype in a row, as many as are summed at once."""
    bucket: list[Tensor] = []
    for value in tensors:
        if bucket and (sum(one.numel() for one in bucket) + value.numel() > BUCKET or value.dtype != bucket[0].dtype):
            yield bucket
            bucket = []
        bucket.append(value)
    if bucket:
        yield bucket


def _flat(facts: object, where: str = "") -> dict[str, str]:
    """Nested facts as one level of dotted names."""
    if not isinstance(facts, Mapping):
        return {where: json.dumps(facts, ensure_ascii=False, default=str)}
    parts = [_flat(value, f"{where}.{name}".lstrip(".")) for name, value in facts.items()]
    return functools.reduce(lambda one, other: {**one, **other}, parts, {})


def _differences(facts: Sequence[Mapping[str, str]]) -> str:
    """Which facts differ, and what each process has."""
    names = sorted({name for own in facts for name in own if len({other.get(name) for other in facts}) > 1})
    return "; ".join(
        f"{name}: " + ", ".join(f"rank {rank} {own.get(name, '-')}" for rank, own in enumerate(facts)) for name in names
    )

"""Run in a fresh process, which can be forked: runs of several processes, and what becomes of them when one is hurt.

python -m tests.faults.together SCENARIO FOLDER    # for a scenario with a network of its own
"""

import ctypes
import errno
import hashlib
import json
import os
import random
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from datetime import timedelta
from pathlib import Path

import torch
import torch._dynamo  # which torch's optimizers load on first use, in every child anew
import torch.distributed as dist

from tests.faults.child import Child
from trifold.checkpoint import checkpoints
from trifold.cli.main import main as trifold
from trifold.training import Trainer, save
from trifold.training.gradients import Gradients

SETTINGS = (
    "--preset",
    "llama",
    "--size",
    "tiny",
    "--overrides",
    "num_layers=1",
    "d_model=16",
    "num_heads=2",
    "num_kv_heads=1",
    "d_ff=24",
    "dropout=0.1",
    "--document",
    "line",
    "--kind",
    "character",
    "--vocab-size",
    "128",
    "--length",
    "32",
    "--batch-size",
    "2",
    "--training.accumulation",
    "4",
    "--training.dtype",
    "float32",
    "--training.evaluate_every",
    "4",
    "--training.log_every",
    "1",
    "--training.checkpoint_every",
    "2",
    "--training.timeout",
    "20",
    "--steps",
    "8",
)
NEW_NETWORK = 0x40000000  # CLONE_NEWNET of unshare(2)
TUNED = (
    "finetune",
    "sentiment",
    "--model",
    "gpt2",
    "--size",
    "tiny",
    "--overrides",
    "num_layers=1",
    "d_model=16",
    "num_heads=2",
    "--vocab-size",
    "300",
    "--steps",
    "8",
    "--batch-size",
    "4",
    "training.accumulation=2",
    "training.dtype=float32",
    "training.evaluate_every=2",
    "training.checkpoint_every=2",
    "training.log_every=1",
    "training.timeout=20",
)
WORDS = "the cat sat on a mat and the dog ran off to see the sun".split()


class Run:
    """Some processes that train together in a folder; their words to the user stand in files."""

    def __init__(
        self,
        folder: Path,
        size: int,
        *words: str,
        out: str = "run",
        before: Callable[[int], None] = lambda _: None,
        own: Callable[[int], Sequence[str]] = lambda _: (),
        address: str = "127.0.0.1",
        command: Sequence[str] = (),
    ) -> None:
        self.folder, self.out = folder, folder / out
        listening = socket.create_server((address, 0))
        port, local = listening.getsockname()[1], size if address == "127.0.0.1" else 1
        known = {"WORLD_SIZE": size, "LOCAL_WORLD_SIZE": local, "MASTER_ADDR": address, "MASTER_PORT": port}
        self.errors = [folder / f"{out}-{size}-{time.monotonic_ns()}-{rank}.err" for rank in range(size)]

        def work(rank: int) -> None:
            listening.close()
            os.dup2(os.open(self.errors[rank], os.O_CREAT | os.O_WRONLY | os.O_TRUNC), 2)
            os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
            sys.stderr = os.fdopen(2, "w", buffering=1)
            if size > 1:
                mine = {"RANK": rank, "LOCAL_RANK": rank, "TORCHELASTIC_USE_AGENT_STORE": "True", **known}
                os.environ.update({name: str(value) for name, value in mine.items()})
            before(rank)
            asked = command or ("pretrain", "--data", str(folder / "text.txt"), *SETTINGS)
            os._exit(trifold([*asked, "--out", str(self.out), *words, *own(rank)]))

        self.children = [Child(lambda rank=rank: work(rank)) for rank in range(size)]
        self.store = dist.TCPStore(
            address,
            port,
            is_master=True,
            wait_for_workers=False,
            timeout=timedelta(seconds=60),
            master_listen_fd=listening.detach(),
        )

    def reach(self, step: int) -> None:
        """Wait until so many steps are done."""
        log = self.out / "metrics.jsonl"
        while not log.exists() or f'"step": {step},' not in log.read_text():
            time.sleep(0.01)

    def codes(self, seconds: float = 60.0) -> list[int | None]:
        """The exit codes; None of one that still runs after so long, which is then killed."""
        end, found = time.monotonic() + seconds, []
        for child in self.children:
            found.append(child.wait(max(0.0, end - time.monotonic())))
            if found[-1] is None:
                child.kill()
                child.wait()
        return found

    def said(self) -> str:
        """All that the processes wrote."""
        return "\n".join(path.read_text() for path in self.errors if path.exists())


def slowly(rank_to_slow: int | None = None, seconds: float = 0.05) -> Callable[[int], None]:
    """Let passes take longer: of one process, or of all."""

    def before(rank: int) -> None:
        if rank_to_slow in (None, rank):
            quick = Trainer._pass
            Trainer._pass = lambda *given: (time.sleep(seconds), quick(*given))[1]

    return before


def state(out: Path) -> dict[str, str]:
    """Hashes of the newest checkpoint's weights and moments and of the finished model, and the place in the data."""
    folder = checkpoints(out / "checkpoints")[-1]
    numbers = json.loads((folder / "state.json").read_text()) | {"seconds": 0}
    files = {path.name: path for path in folder.glob("*.safetensors")} | {"final": out / "model.safetensors"}
    found = {name: hashlib.sha256(path.read_bytes()).hexdigest() for name, path in files.items()}
    return found | {"folder": folder.name, "numbers": json.dumps(numbers, sort_keys=True)}


def losses(out: Path, names: Sequence[str] = ("loss", "valid_loss")) -> list[float]:
    """Of all steps, and of the held-out text; or other columns of the log."""
    lines = map(json.loads, (out / "metrics.jsonl").read_text().splitlines())
    return [value for line in lines for name, value in line.items() if name in names]


def same(folder: Path, sizes: Sequence[int] = (1, 2)) -> dict:
    """The same experiment by other numbers of processes."""
    found: dict = {"losses": {}, "states": {}}
    for size in sizes:
        plain = Run(folder, size, out=f"plain-{size}")
        assert plain.codes() == [0] * size, plain.said()
        found["losses"][size] = losses(plain.out)
        exact = Run(folder, size, "--deterministic", out=f"exact-{size}")
        assert exact.codes() == [0] * size, exact.said()
        found["states"][size] = state(exact.out)
    return found


def same_by_four(folder: Path) -> dict:
    """As `same`, and by four."""
    return same(folder, (1, 2, 4))


def resume(folder: Path, stops: Sequence[tuple[int, int]] = ((2, 2), (1, 4), (4, 6), (2, 8))) -> dict:
    """Stopped by a signal to any process, gone on with by another number of them, again and again."""
    whole = Run(folder, 1, "--deterministic", out="whole")
    assert whole.codes() == [0], whole.said()
    found: dict = {"codes": [], "expected": state(whole.out)}
    for number, (size, step) in enumerate(stops):
        last = number + 1 == len(stops)
        run = Run(folder, size, "--deterministic", *["--resume"][:number], before=slowly(seconds=0.0 if last else 0.05))
        if not last:
            run.reach(step)
            run.children[-1].kill(signal.SIGTERM)
        found["codes"].append(run.codes())
    return {**found, "state": state(run.out)}


def tuned(folder: Path) -> dict:
    """Fine-tuning by one process and by two, killed and gone on with by the other number, and in shares."""
    chance = random.Random(0)
    rows = [(" ".join(chance.choices(WORDS, k=6)) + (" good" if n % 2 else " bad"), n % 2) for n in range(96)]
    data = folder / "rows.jsonl"
    data.write_text("\n".join(json.dumps({"text": text, "label": label}) for text, label in rows), encoding="utf-8")
    asked = (*TUNED, "--train", str(data))
    found: dict = {"states": [], "judgements": [], "losses": {}}
    for size in (1, 2):
        run = Run(folder, size, "--deterministic", out=f"exact-{size}", command=asked)
        assert run.codes() == [0] * size, run.said()
        found["states"].append(state(run.out))
        found["judgements"].append(json.loads((run.out / "trifold.json").read_text())["judgement"])
    run = Run(folder, 2, "--deterministic", command=asked, before=slowly())
    run.reach(3)
    run.children[1].kill()
    found["killed"] = run.codes()
    run = Run(folder, 1, "--resume", command=("finetune",))  # as it was begun, with its fixed order
    assert run.codes() == [0], run.said()
    found["states"].append(state(run.out))
    for size, words in ((1, ()), (2, ("training.parallel=fsdp",))):
        run = Run(folder, size, *words, out=f"plain-{size}", command=asked)
        assert run.codes() == [0] * size, run.said()
        found["losses"][size] = losses(run.out)
    return found


def resume_alone(folder: Path) -> dict:
    """As `resume`, by two, by one and by two."""
    return resume(folder, ((2, 2), (1, 4), (2, 8)))


def killed(folder: Path) -> dict:
    """One process is killed; the rest say so, and the run goes on."""
    whole = Run(folder, 2, "--deterministic", out="whole")
    assert whole.codes() == [0, 0], whole.said()
    found: dict = {"expected": state(whole.out), "seconds": [], "codes": [], "said": []}
    for number, rank in enumerate((1, 0)):
        run = Run(folder, 2, "--deterministic", *["--resume"][:number], before=slowly())
        run.reach(2 + 2 * number)
        run.children[rank].kill()
        start = time.monotonic()
        found["codes"].append(run.codes())
        found["seconds"].append(time.monotonic() - start)
        found["said"].append(run.said())
    run = Run(folder, 2, "--deterministic", "--resume")
    found["codes"].append(run.codes())
    return {**found, "state": state(run.out)}


def stopped(folder: Path) -> dict:
    """One process stands still."""
    run = Run(folder, 2, "--training.timeout", "2", before=slowly())
    run.reach(2)
    run.children[1].kill(signal.SIGSTOP)
    start = time.monotonic()
    code = run.children[0].wait(30)
    seconds = time.monotonic() - start
    run.children[1].kill(signal.SIGCONT)
    other = run.children[1].wait(30)
    stacks = {path.name: path.read_text() for path in (run.out / "stacks").iterdir()}
    return {"code": code, "seconds": seconds, "other": other, "said": run.said(), "stacks": stacks}


def held(folder: Path) -> dict:
    """One process lives, but its main thread does not go on."""

    def stands_here() -> None:
        time.sleep(60)

    def before(rank: int) -> None:
        whole = Trainer._pass
        Trainer._pass = lambda loop, *given: stands_here() if (rank, loop.step) == (1, 4) else whole(loop, *given)

    run = Run(folder, 2, "--training.timeout", "2", before=before)
    codes = run.codes()
    stacks = {path.name: path.read_text() for path in (run.out / "stacks").iterdir()}
    return {"codes": codes, "said": run.said(), "stacks": stacks}


def unsaved(folder: Path) -> dict:
    """The first process cannot save."""

    def before(rank: int) -> None:
        slowly()(rank)

        def full(*_: object, **__: object) -> None:
            raise OSError(errno.ENOSPC, "no space left")

        if rank == 0:
            save.publish = full

    start = time.monotonic()
    run = Run(folder, 2, before=before)
    run.reach(2)
    codes = run.codes()
    return {"codes": codes, "seconds": time.monotonic() - start, "said": run.said()}


FAMILIES = {
    "llama": ("--training.gradient_checkpointing", "true"),
    "gpt2": (
        "--preset",
        "gpt2",
        "--overrides",
        *"num_layers=2 d_model=16 num_heads=2 d_ff=24".split(),
        "--optimizer",
        "adamw",
    ),
    "bert": ("--preset", "bert", "--overrides", *"num_layers=1 d_model=16 num_heads=2 d_ff=24".split()),
    "t5": ("--preset", "t5", "--overrides", *"num_layers=1 d_model=16 num_heads=2 head_size=8 d_ff=24".split()),
}


def shares(folder: Path, by_three: Sequence[str] = ("llama",)) -> dict:
    """Each process holds its share: losses and norms of each family alone and by two, of some by three."""
    found: dict = {}
    for family, words in FAMILIES.items():
        for size in (1, 2, 3) if family in by_three else (1, 2):
            more = "--training.accumulation", "6", "--parallel", "fsdp", "--training.checkpoint_every", "0"
            exact = "--training.dtype", "float64"  # Muon and Adam make much of the rounding of gradients near zero
            run = Run(folder, size, *words, *more, *exact, out=f"{family}-{size}")
            assert run.codes() == [0] * size, run.said()
            found.setdefault(family, []).append(losses(run.out, ("loss", "valid_loss", "gradient_norm")))
    return found


def shares_by_three(folder: Path) -> dict:
    """As `shares`, and every family by three."""
    return shares(folder, tuple(FAMILIES))


def shares_resumed(folder: Path) -> dict:
    """Shares that two processes saved are read by two, by one and by four."""
    words = ("--parallel", "fsdp")
    whole = Run(folder, 2, *words, out="whole")
    assert whole.codes() == [0, 0], whole.said()
    run = Run(folder, 2, *words, before=slowly())
    run.reach(3)
    run.children[1].kill(signal.SIGTERM)
    found: dict = {"codes": [run.codes()], "expected": state(whole.out), "losses": [losses(whole.out)]}
    for size, *more in ((2,), (1, "--parallel", "ddp"), (4,)):
        allowed = ("--allow-change", "processes", "training.parallel") if size != 2 else ()
        again = Run(folder, size, *words, "--resume", *more, *allowed, out=copied(run.out, f"by-{size}"))
        found["codes"].append(again.codes())
        found["losses"].append(losses(again.out))
        found.setdefault("state", state(again.out))
        found.setdefault("said", []).append(again.said())
    return found


def copied(out: Path, name: str) -> str:
    """A run's folder again, under another name."""
    shutil.copytree(out, out.with_name(name))
    return name


def shares_hurt(folder: Path) -> dict:
    """With shares: a process is killed, one stands still, one has too little memory."""

    def before(rank: int) -> None:
        slowly()(rank)
        if rank == 1:
            Gradients._try = lambda *_: None

    found: dict = {"codes": [], "said": [], "seconds": []}
    hurts = (("killed", signal.SIGKILL), ("stopped", signal.SIGSTOP), ("narrow", None))
    for name, hurt in hurts:
        run = Run(
            folder, 2, "--parallel", "fsdp", "--training.timeout", "3", out=name, before=slowly() if hurt else before
        )
        if hurt is not None:
            run.reach(3)
            run.children[1].kill(hurt)
        start = time.monotonic()
        codes = [run.children[0].wait(30)]
        found["seconds"].append(time.monotonic() - start)
        run.children[1].kill(signal.SIGCONT)
        found["codes"].append([*codes, run.children[1].wait(30)])
        found["said"].append(run.said())
    return found


def failing(folder: Path) -> dict:
    """One process that is not the first fails by itself in the fifth step."""

    def before(rank: int) -> None:
        whole = Trainer._pass

        def broken(trainer: Trainer, *given: object) -> float:
            if rank == 1 and trainer.step == 4:
                raise ValueError("no such thing")
            return whole(trainer, *given)

        Trainer._pass = broken

    start = time.monotonic()
    run = Run(folder, 2, "--training.checkpoint_every", "0", before=before)
    codes, seconds = run.codes(), time.monotonic() - start
    kept = [path.name for path in checkpoints(run.out / "checkpoints")]
    return {"codes": codes, "seconds": seconds, "said": run.said(), "kept": kept}


def unlike(folder: Path) -> dict:
    """The processes are not asked to do the same."""
    run = Run(folder, 2, own=lambda rank: ("--seed", str(rank)))
    codes = run.codes()
    return {"codes": codes, "said": run.said(), "left": run.out.exists()}


def straggling(folder: Path) -> dict:
    """One process is slow; and where all of them listen."""
    run = Run(folder, 2, "--steps", "16", before=slowly(1, 0.1))
    run.reach(2)
    places = [place for child in run.children for place in listening(child.pid)]
    codes = run.codes()
    steps = re.findall(r'"step": (\d+)', (run.out / "metrics.jsonl").read_text())
    return {"codes": codes, "said": run.said(), "places": places, "steps": steps}


def listening(pid: int) -> list[str]:
    """Addresses, in the kernel's hexadecimal, at which a process listens."""
    mine = {os.readlink(path) for path in Path(f"/proc/{pid}/fd").iterdir() if path.is_symlink()}  # noqa: PTH115 - text
    found = []
    for table in ("tcp", "tcp6"):
        for line in Path(f"/proc/{pid}/net/{table}").read_text().splitlines()[1:]:
            fields = line.split()
            if fields[3] == "0A" and f"socket:[{fields[9]}]" in mine:
                found.append(fields[1].partition(":")[0])
    return found


def uneven(folder: Path) -> dict:
    """Three processes cannot share four passes; nor two, each an odd number of them, in a tree."""
    three = Run(folder, 3)
    tree = Run(folder, 2, "--deterministic", "--training.accumulation", "6", out="tree")
    return {"codes": [three.codes(), tree.codes()], "said": three.said() + tree.said(), "left": three.out.exists()}


def cut(folder: Path) -> dict:
    """Two machines (network namespaces) on one cable, which is cut."""
    ready = folder / "ready"
    ip("link set lo up", "link add here type veth peer name there", "addr add 10.9.0.1/24 dev here", "link set here up")

    def before(rank: int) -> None:
        os.environ["GLOO_SOCKET_IFNAME"] = "here" if rank == 0 else "there"
        slowly()(rank)
        if rank == 1:
            assert ctypes.CDLL(None).unshare(NEW_NETWORK) == 0
            ready.touch()
            while "there" not in (name for _, name in socket.if_nameindex()):
                time.sleep(0.01)
            ip("link set lo up", "addr add 10.9.0.2/24 dev there", "link set there up")

    run = Run(folder, 2, "--training.timeout", "3", before=before, address="10.9.0.1")
    while not ready.exists():
        time.sleep(0.01)
    ip(f"link set there netns {run.children[1].pid}")
    run.reach(2)
    ip("link set here down")
    start = time.monotonic()
    codes = run.codes()
    return {"codes": codes, "seconds": time.monotonic() - start, "said": run.said()}


def ip(*commands: str) -> None:
    """Change the network of this process."""
    for command in commands:
        subprocess.run(["ip", *command.split()], check=True)  # noqa: S607 - wherever the system has it


def started_again(folder: Path) -> dict:
    """Under torchrun, which starts all processes again when one is killed."""
    long = ("--deterministic", "--steps", "60")
    whole = Run(folder, 2, *long, out="whole")
    assert whole.codes() == [0, 0], whole.said()
    out, said = folder / "run", folder / "said"
    launcher = (
        sys.executable,
        "-m",
        "torch.distributed.run",
        "--standalone",
        "--nproc-per-node",
        "2",
        "--max-restarts",
        "2",
    )
    words = ("pretrain", "--data", str(folder / "text.txt"), "--out", str(out), *SETTINGS, *long)
    with said.open("w") as file:
        running = subprocess.Popen([*launcher, "-m", "trifold", *words], stderr=file, stdout=file)
    while not (out / "metrics.jsonl").exists():
        time.sleep(0.01)
    (child, *_) = Path(f"/proc/{running.pid}/task/{running.pid}/children").read_text().split()
    os.kill(int(child), signal.SIGKILL)
    code = running.wait(120)
    return {
        "code": code,
        "gone": "are gone: rank" in said.read_text(),
        "state": state(out),
        "expected": state(whole.out),
    }


SCENARIOS = (
    tuned,
    started_again,
    cut,
    same,
    same_by_four,
    resume,
    resume_alone,
    killed,
    shares,
    shares_by_three,
    shares_resumed,
    shares_hurt,
    failing,
    stopped,
    held,
    unsaved,
    unlike,
    straggling,
    uneven,
)


def play(name: str, folder: Path) -> dict:
    """What came of a scenario."""
    torch.set_num_threads(1)
    chance = random.Random(0)
    lines = (" ".join(chance.choice(WORDS) for _ in range(9)) for _ in range(200))
    (folder / "text.txt").write_text("\n".join(lines), encoding="utf-8")
    (chosen,) = (scenario for scenario in SCENARIOS if scenario.__name__ == name)
    return chosen(folder)


if __name__ == "__main__":
    sys.stdout.write(json.dumps(play(sys.argv[1], Path(sys.argv[2]))))

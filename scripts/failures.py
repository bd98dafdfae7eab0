"""Provoke every failure that a user may meet and write what he is told into `docs/reliability.md`.

python scripts/failures.py
"""

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PAGE, MARK = ROOT / "docs" / "reliability.md", "<!-- failures -->"
TINY = ["--preset", "gpt2", "--document", "line", "--overrides", "num_layers=1", "d_model=16", "num_heads=2", "--kind",
        "character", "--vocab-size", "128", "--length", "32", "--batch-size", "4"]  # fmt: skip
TEXT = "the cat sat on the mat and the dog ran to the sun\n" * 200
RESUME = ["pretrain", "--out", "run", "--resume"]
STRICT = [*RESUME, "--strict"]


@dataclass(frozen=True)
class Failure:
    """One row: its id, what happens, the command, and what is done to the folder before."""

    row: str
    title: str
    words: list[str]
    before: Callable[[Path], object] = lambda _: None
    small_files: int | None = None


def newest(place: Path) -> Path:
    """The newest checkpoint of the run."""
    return max((place / "run" / "checkpoints").glob("step-*"))


def flip(path: Path) -> None:
    """Flip one bit in the middle."""
    raw = bytearray(path.read_bytes())
    raw[len(raw) // 2] ^= 1
    path.write_bytes(raw)


def edit(path: Path, **changes: object) -> None:
    """Change values of a JSON file."""
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def cut(path: Path) -> None:
    """Lose the second half."""
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def all_damaged(place: Path) -> None:
    """Flip a bit in every checkpoint."""
    for folder in (place / "run" / "checkpoints").glob("step-*"):
        flip(folder / "model.safetensors")


def sharded(place: Path) -> None:
    """An index that leads out of the folder."""
    (place / "run" / "model.safetensors").unlink()
    (place / "run" / "model.safetensors.index.json").write_text('{"weight_map": {"x": "../../etc/passwd"}}')


GENERATE = ["generate", "run", "--prompt", "the"]
FAILURES = [
    Failure("A4", "the disk is full while a checkpoint is written", [*RESUME, "training.steps=12"], small_files=12_000),
    Failure("A5", "the disk is too small for the checkpoints", ["pretrain", "--data", "text.txt", "--preset", "gpt2",
            "--size", "base", "--steps", "5", "--out", "new", "--overrides", "num_layers=12",
            "--training.keep_checkpoints", "100000"]),
    Failure("A7", "one bit of the newest checkpoint is flipped: the one before is used", RESUME,
            lambda place: flip(newest(place) / "training.safetensors")),
    Failure("A7", "the same with --strict", STRICT, lambda place: flip(newest(place) / "training.safetensors")),
    Failure("A8", "a file of a checkpoint is cut off", STRICT, lambda place: cut(newest(place) / "model.safetensors")),
    Failure("A9", "the manifest was touched", STRICT, lambda place: edit(newest(place) / "manifest.json", step=99)),
    Failure("A9", "a stranger's file lies in a checkpoint", STRICT, lambda place: (newest(place) / "x").touch()),
    Failure("A10", "every checkpoint is damaged", RESUME, all_damaged),
    Failure("A13", "the run goes on with another setting", [*RESUME, "training.batch_size=8"]),
    Failure("A13", "the run goes on with another number of threads", RESUME),
    Failure("A15", "another process trains in the folder", RESUME),
    Failure("A17", "a signal stops the run", RESUME),
    Failure("A20", "a step's gradient is a spike", ["pretrain", "--data", "text.txt", *TINY, "--steps", "50", "--out",
            "new", "training.spike=1.02"]),
    Failure("B1", "the text is not UTF-8", ["pretrain", "--data", "bad.txt", *TINY, "--steps", "5", "--out", "new"],
            lambda place: (place / "bad.txt").write_bytes(b"good line\nbad \xff line\n")),
    Failure("B2", "there is no text", ["pretrain", "--data", "empty.txt", *TINY, "--steps", "5", "--out", "new"],
            lambda place: (place / "empty.txt").touch()),
    Failure("B2", "the text is another than the run began with", RESUME,
            lambda place: (place / "text.txt").write_text(TEXT.replace("cat", "cow"))),
    Failure("B4", "a record is damaged", ["pretrain", "--data", "bad.jsonl", *TINY, "--steps", "5", "--out", "new"],
            lambda place: (place / "bad.jsonl").write_text('{"text": "good"}\n{"text": \n')),
    Failure("B5", "the token store is damaged", RESUME,
            lambda place: flip(place / "run" / "data" / "0" / "train" / "tokens.bin")),
    Failure("B6", "the tokenizer has more tokens than the model", GENERATE,
            lambda place: edit(place / "run" / "config.json", vocab_size=5)),
    Failure("D2", "the weights are cut off", GENERATE, lambda place: cut(place / "run" / "model.safetensors")),
    Failure("D5", "the configuration asks for a billion layers", GENERATE,
            lambda place: edit(place / "run" / "config.json", n_layer=10**9)),
    Failure("D6", "the tokenizer is damaged", GENERATE, lambda place: cut(place / "run" / "tokenizer.json")),
    Failure("D8", "an index of weights leads out of the folder", GENERATE, sharded),
]  # fmt: skip


def trifold(words: list[str], place: Path, **more: object) -> subprocess.CompletedProcess[str]:
    """Run the command line there."""
    return subprocess.run([sys.executable, "-m", "trifold", *words], cwd=place, capture_output=True, text=True, check=False,
                          env={**os.environ, "TRIFOLD_LANG": "en", **more.pop("env", {})}, **more)  # type: ignore[arg-type]  # fmt: skip


def limited(size: int) -> Callable[[], None]:
    """A process that cannot write larger files."""

    def limit() -> None:
        import resource

        resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))

    return limit


def provoke(failure: Failure, sound: Path, place: Path) -> tuple[int, str]:
    """The exit code, and the last thing that was said on standard error."""
    shutil.copytree(sound, place)
    failure.before(place)
    more: dict[str, object] = {"preexec_fn": limited(failure.small_files)} if failure.small_files else {}
    if "threads" in failure.title:
        more["env"] = {"OMP_NUM_THREADS": "1" if os.cpu_count() != 1 else "2"}
    if failure.row in ("A15", "A17"):
        words = [sys.executable, "-m", "trifold", *RESUME, "training.steps=1000000"]
        with subprocess.Popen(
            words, cwd=place, stderr=subprocess.PIPE, text=True, env={**os.environ, "TRIFOLD_LANG": "en"}
        ) as child:
            time.sleep(6)
            if failure.row == "A17":
                child.send_signal(signal.SIGTERM)
                said = child.communicate()[1]
                return child.returncode, last(said, place)
            done = trifold(failure.words, place)
            child.kill()
            child.communicate()
            return done.returncode, last(done.stderr, place)
    done = trifold(failure.words, place, **more)
    return done.returncode, last(done.stderr, place)


def last(said: str, place: Path) -> str:
    """The warnings and the error among what was said, without the folder's own name."""
    lines = said.splitlines()
    first = next((number for number, line in enumerate(lines) if line.startswith("error")), len(lines))
    told = [line for line in lines[:first] if line.startswith("warning")] + lines[first:]
    return "\n".join(told or lines[-1:]).replace(f"{place}/", "").replace(str(place), ".")


def main() -> int:
    """Provoke all of them; 1 where one was not noticed."""
    parts, missed = [], []
    with tempfile.TemporaryDirectory() as folder:
        sound = Path(folder) / "sound"
        sound.mkdir()
        (sound / "text.txt").write_text(TEXT)
        made = trifold(
            ["pretrain", "--data", "text.txt", *TINY, "--steps", "8", "--out", "run", "training.checkpoint_every=4"],
            sound,
        )
        assert made.returncode == 0, made.stderr
        for number, failure in enumerate(FAILURES):
            code, said = provoke(failure, sound, Path(folder) / f"{number}")
            command = " ".join(["trifold", *failure.words]).replace(" ".join(TINY), "...")
            parts.append(
                f"**{failure.row}: {failure.title}** (exit code {code})\n\n```console\n$ {command}\n{said}\n```\n"
            )
            missed += [failure.title] if code == 0 and "used" not in failure.title else []
            sys.stdout.write(f"{failure.row} {code} {failure.title}\n  {said}\n")
    text = PAGE.read_text(encoding="utf-8")
    before, _, rest = text.partition(MARK)
    after = rest.partition(MARK)[2]
    PAGE.write_text(before + MARK + "\n\n" + "\n".join(parts) + "\n" + MARK + after, encoding="utf-8")
    sys.stdout.write(f"not noticed: {missed}\n" if missed else "")
    return int(bool(missed))


if __name__ == "__main__":
    sys.exit(main())

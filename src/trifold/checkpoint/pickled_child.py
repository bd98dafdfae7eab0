"""Run by `pickled` in a process of its own: one pickled file of weights to one safetensors file, and nothing else.

python -I pickled_child.py SOURCE TARGET
"""

import contextlib
import os
import sys
from pathlib import Path

import torch
from safetensors.torch import save_file

__all__: list[str] = []

ROOM = 4 * 2**30
FORBIDDEN = (
    "socket.",
    "subprocess.",
    "os.exec",
    "os.fork",
    "os.posix_spawn",
    "os.system",
    "os.remove",
    "os.rename",
    "os.link",
    "os.symlink",
    "os.rmdir",
    "os.mkdir",
    "os.chmod",
    "os.chown",
    "shutil.",
    "ctypes.",
    "pty.",
    "ftplib.",
    "urllib.",
    "http.",
)
WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND


def convert(source: str, target: str) -> None:
    """Read with torch's reader of plain tensors; write those under their names."""
    content = torch.load(source, map_location="cpu", weights_only=True)
    if not isinstance(content, dict) or not all(isinstance(name, str) for name in content):
        raise TypeError("it holds no mapping of names to weights")
    weights = {
        name: value.detach().clone().contiguous() for name, value in content.items() if isinstance(value, torch.Tensor)
    }
    if not weights:
        raise TypeError("it holds no weights")
    save_file(weights, target, metadata={"format": "pt"})


def guard(source: str) -> None:
    """Give up everything that reading does not need."""
    room = ROOM + 4 * Path(source).stat().st_size
    with contextlib.suppress(ImportError):  # Windows has no limits
        import resource

        for kind, limit in ((resource.RLIMIT_AS, room), (resource.RLIMIT_CPU, 1800), (resource.RLIMIT_CORE, 0)):
            resource.setrlimit(kind, (limit, limit))

    def refuse(event: str, args: tuple[object, ...]) -> None:
        writes = event == "open" and len(args) > 2 and isinstance(args[2], int) and bool(args[2] & WRITING)
        if writes or event.startswith(FORBIDDEN):
            raise PermissionError(f"it tried {event}")

    sys.addaudithook(refuse)


if __name__ == "__main__":
    try:
        guard(sys.argv[1])
        convert(sys.argv[1], sys.argv[2])
    except BaseException as error:  # noqa: BLE001 - the parent wants one line
        sys.stderr.write(f"{type(error).__name__}: {error}".splitlines()[0][:300] + "\n")
        sys.exit(1)

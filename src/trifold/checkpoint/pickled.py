"""The only door for pickled weights (`pytorch_model.bin`): a child process rewrites them as safetensors.

A pickle is a program. torch's `weights_only` reader runs none and builds tensors only; since readers have had holes, it
works in a process without network and without rights to write but one file, with limits on memory and time. The archive
is looked at first: what torch writes is neither compressed nor encrypted, and holds no more bytes than the file.
"""

import json
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

from trifold.checkpoint.hugging_face import INDEX, PICKLED, SINGLE
from trifold.errors import ModelFileError
from trifold.plain_file import is_plain_file

__all__ = ["is_pickled", "rewrite"]

BESIDE = ("*.json", "*.txt", "*.model", "*.bpe")
MOST_ENTRIES, LARGEST = 100_000, 2**38
SECONDS = 1800


def is_pickled(folder: Path) -> bool:
    """Whether a folder has weights, but only as pickles."""
    plain = (folder / SINGLE).exists() or (folder / INDEX).exists()
    return not plain and any((folder / name).is_file() for name in PICKLED)


def rewrite(folder: Path, out: Path) -> None:
    """Write to `out` what the folder holds, its weights as safetensors.

    Args:
        folder: for which `is_pickled` is true.
        out: an empty folder.

    Raises:
        ModelFileError: an archive is not what torch writes, or what is in it is not only tensors.
    """
    for pattern in BESIDE:
        for path in folder.glob(pattern):
            if path.name not in PICKLED and is_plain_file(folder, path.name):
                shutil.copy(path, out / path.name)
    places = _places(folder)
    names = sorted(set(places.values()))
    for number, name in enumerate(names, 1):
        target = SINGLE if len(names) == 1 else f"model-{number:05d}-of-{len(names):05d}.safetensors"
        check_archive(folder / name)
        _rewrite_one(folder / name, out / target)
        places = {key: target if place == name else place for key, place in places.items()}
    if len(names) > 1:
        (out / INDEX).write_text(json.dumps({"weight_map": places}), encoding="utf-8")


def _places(folder: Path) -> dict[str, str]:
    """In which file each weight is."""
    whole, path = PICKLED[0], folder / PICKLED[1]
    places = {"": whole}
    if not (folder / whole).is_file():
        try:
            found = json.loads(path.read_text(encoding="utf-8"))["weight_map"]
            places = {str(key): str(name) for key, name in found.items()}
        except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            raise ModelFileError("checkpoint.bad_file", path=path, problem=str(error)[:200]) from None
    for name in set(places.values()):
        if not is_plain_file(folder, name):
            raise ModelFileError("checkpoint.outside", path=folder, given=name)
    return places


def check_archive(path: Path) -> None:
    """Refuse an archive that torch did not write: compressed, encrypted, with lying sizes or leading out of itself.

    Raises:
        ModelFileError: says what is wrong.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            entries = archive.infolist()
    except (OSError, ValueError, NotImplementedError, zipfile.BadZipFile, zipfile.LargeZipFile) as error:
        raise ModelFileError("checkpoint.archive", path=path, problem=str(error)[:200]) from None
    size = path.stat().st_size
    problems = {
        "entries": len(entries) > MOST_ENTRIES,
        "compressed": any(entry.compress_type != zipfile.ZIP_STORED for entry in entries),
        "flags": any(entry.flag_bits & 0x41 for entry in entries),
        "sizes": sum(entry.file_size for entry in entries) > size
        or any(entry.file_size != entry.compress_size for entry in entries),
        "names": any(entry.filename.startswith("/") or ".." in Path(entry.filename).parts for entry in entries),
        "size": size > LARGEST,
    }
    wrong = [name for name, applies in problems.items() if applies]
    if wrong:
        raise ModelFileError("checkpoint.archive", path=path, problem=", ".join(wrong))


def _rewrite_one(source: Path, target: Path) -> None:
    words = [sys.executable, "-I", str(Path(__file__).with_name("pickled_child.py")), str(source), str(target)]
    try:
        done = subprocess.run(words, capture_output=True, text=True, timeout=SECONDS, check=False)  # noqa: S603 - ours
    except subprocess.TimeoutExpired:
        raise ModelFileError("checkpoint.archive", path=source, problem=f"> {SECONDS} s") from None
    if done.returncode != 0 or not target.is_file():
        said = done.stderr.strip().splitlines()[-1:] or [f"exit code {done.returncode}"]
        target.unlink(missing_ok=True)
        raise ModelFileError("checkpoint.archive", path=source, problem=said[0][:200])

"""Run in a process of its own: model folders mutated in every way, loaded under an audit hook and limits."""

import json
import os
import random
import resource
import shutil
import struct
import sys
import time
import warnings
from collections import Counter
from pathlib import Path

import torch
from safetensors.torch import load_file

from trifold import locale
from trifold.errors import TrifoldError
from trifold.generation import Generator
from trifold.presets.pretrained import Transformer
from trifold.text import Tokenizer, train_tokenizer

KINDS = ("gpt2", "llama", "bert", "t5", "modernbert", "vaswani")
SMALL = {"num_layers": 1, "d_model": 16, "num_heads": 2, "d_ff": 24}
LINKS = {"link": "/etc/passwd", "device": "/dev/zero"}
SECONDS, ROOM = 5.0, 2**26
FORBIDDEN = ("exec", "compile", "import", "socket.connect", "socket.bind", "subprocess.Popen", "os.exec", "os.system",
             "os.posix_spawn", "ctypes.dlopen", "pickle.find_class", "marshal.loads", "os.remove",
             "os.rename", "shutil.rmtree")  # fmt: skip
WILD: tuple[object, ...] = (
    None, True, False, 0, -1, 1, 2**31, 2**40, 2**63, 10**30, -(10**9), 0.5, 1e308, float("nan"), float("inf"), "", "12",
    "../../../etc/passwd", "/etc/passwd", "\x00", "x" * 100_000, "(a+)+$", "{{ ''.__class__.__mro__ }}", "__class__",
    "torch.float128", [], {}, [[]], {"a": {"b": {}}}, [1] * 1000, {"auto_map": {"AutoModel": "evil--model.Model"}},
)  # fmt: skip


def build(root: Path) -> list[Path]:
    """One small sound folder for each kind."""
    tokenizer = train_tokenizer(["to be or not to be, that is the question"], kind="byte_bpe", vocab_size=400)
    made = []
    for kind in KINDS:
        torch.manual_seed(0)
        Transformer.from_preset(kind, size="tiny", vocab_size=tokenizer.vocab_size, **SMALL).save_pretrained(
            root / kind, tokenizer=tokenizer
        )
        made.append(root / kind)
    return made


def places(data: object, path: tuple = ()) -> list[tuple]:
    """Every place in JSON data."""
    inner = data.items() if isinstance(data, dict) else enumerate(data) if isinstance(data, list) else ()
    return [path, *(place for key, value in list(inner)[:200] for place in places(value, (*path, key)))]


def put(data: object, path: tuple, value: object) -> object:
    """The data with another value at a place."""
    if not path:
        return value
    inner = data
    for key in path[:-1]:
        inner = inner[key]
    inner[path[-1]] = value
    return data


def mutate_json(path: Path, chance: random.Random) -> str:
    """Change a JSON file as data, or as text."""
    raw = path.read_text(encoding="utf-8")
    if chance.random() < 0.25:
        return mutate_bytes(path, chance)
    data = json.loads(raw)
    kind = chance.choice(("value", "value", "value", "delete", "add", "deep", "twice"))
    place = chance.choice(places(data))
    if kind == "value":
        data = put(data, place, chance.choice(WILD))
    elif kind == "deep":
        path.write_text("[" * 20_000 + "]" * 20_000, encoding="utf-8")
        return "deep"
    elif isinstance(data, dict):
        key = chance.choice(list(data))
        if kind == "delete":
            del data[key]
        elif kind == "add":
            data[
                chance.choice(("auto_map", "_attn_implementation_internal", "__class__", "quantization_config", "zzz"))
            ] = chance.choice(WILD)
        else:
            path.write_text(raw.replace("{", "{" + json.dumps(key) + ": 7,", 1), encoding="utf-8")
            return "twice"
    path.write_text(json.dumps(data), encoding="utf-8")
    return kind


def mutate_bytes(path: Path, chance: random.Random) -> str:
    """Flip, cut, insert, repeat or zero bytes anywhere."""
    raw = bytearray(path.read_bytes())
    kind = chance.choice(("flip", "cut", "insert", "repeat", "zero", "empty"))
    at = chance.randrange(len(raw) + 1)
    if kind == "flip":
        for _ in range(chance.randint(1, 8)):
            raw[chance.randrange(len(raw))] ^= 1 << chance.randrange(8)
    elif kind == "cut":
        del raw[at:]
    elif kind == "insert":
        raw[at:at] = chance.randbytes(chance.randint(1, 40))
    elif kind == "repeat":
        raw[at:at] = raw[at : at + chance.randint(1, 400)]
    elif kind == "zero":
        raw[at : at + 64] = bytes(len(raw[at : at + 64]))
    else:
        raw.clear()
    path.write_bytes(raw)
    return f"bytes {kind}"


def mutate_safetensors(path: Path, chance: random.Random) -> str:
    """Change the header of a weights file: names, shapes, places, number formats, its length."""
    if chance.random() < 0.4:
        return mutate_bytes(path, chance)
    raw = path.read_bytes()
    size = struct.unpack("<Q", raw[:8])[0]
    header, body = json.loads(raw[8 : 8 + size]), raw[8 + size :]
    kind = chance.choice(("length", "value", "value", "name", "shape", "offsets", "dtype", "drop", "many"))
    name = chance.choice([key for key in header if key != "__metadata__"])
    if kind == "length":
        path.write_bytes(struct.pack("<Q", chance.choice((0, 1, size + 1, 2**32, 2**63, 2**64 - 1))) + raw[8:])
        return kind
    if kind == "value":
        header = put(header, chance.choice(places(header)), chance.choice(WILD))
    elif kind == "name":
        header[chance.choice(("../evil", "x", "", "__class__", name + "\x00"))] = header.pop(name)
    elif kind == "shape":
        header[name]["shape"] = chance.choice(
            ([], [0], [-1, 4], [2**40, 2**40], [1] * 100, [*header[name]["shape"][::-1], 1])
        )
    elif kind == "offsets":
        header[name]["data_offsets"] = chance.choice(([0, 2**63], [-4, 4], [4, 0], [0, 4], [len(body), len(body) + 64]))
    elif kind == "dtype":
        header[name]["dtype"] = chance.choice(("F16", "F64", "I8", "BOOL", "F8_E4M3", "X9", ""))
    elif kind == "drop":
        del header[name]
    else:
        header |= {f"extra.{number}": {"dtype": "F32", "shape": [0], "data_offsets": [0, 0]} for number in range(3000)}
    text = json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + body)
    return kind


def mutate_index(folder: Path, chance: random.Random) -> str:
    """Put an index of several files in place of the one file of weights."""
    names = list(load_file(folder / "model.safetensors"))
    file = chance.choice(("../../etc/passwd", "/etc/passwd", "model.safetensors", "missing.safetensors", ".", "", "pipe",
                          "link", "/dev/zero", "model.safetensors\x00", "Model.safetensors"))  # fmt: skip
    if file == "pipe":
        os.mkfifo(folder / "pipe")
    if file == "link":
        (folder / "link").symlink_to("/etc/passwd")
    shutil.move(folder / "model.safetensors", folder / "real.safetensors")
    index = {"weight_map": dict.fromkeys(names, file)}
    if chance.random() < 0.3:
        index = put(index, chance.choice(places(index)), chance.choice(WILD))
    (folder / "model.safetensors.index.json").write_text(json.dumps(index), encoding="utf-8")
    return f"index {file}"


def mutate(folder: Path, chance: random.Random) -> str:
    """One change of one file."""
    file = chance.choice(("config.json", "config.json", "model.safetensors", "model.safetensors", "tokenizer.json",
                          "tokenizer_config.json", "generation_config.json", "index"))  # fmt: skip
    if file == "index":
        return mutate_index(folder, chance)
    if chance.random() < 0.08:
        (folder / file).unlink()
        kind = chance.choice(("pipe", "link", "folder", "device"))
        {"pipe": os.mkfifo, "folder": os.mkdir}.get(kind, lambda path: path.symlink_to(LINKS[kind]))(folder / file)
        return f"{file} {kind}"
    change = mutate_safetensors if file == "model.safetensors" else mutate_json
    return f"{file} {change(folder / file, chance)}"


class Watch:
    """Audit events that a load must not cause."""

    def __init__(self) -> None:
        self.folder, self.seen, self.on = "", [], False
        sys.addaudithook(self.hook)

    def hook(self, event: str, args: tuple) -> None:
        """Called by the interpreter for everything that touches the world."""
        if not self.on:
            return
        if event == "open" and isinstance(args[0], str | bytes | os.PathLike):
            path = os.path.realpath(os.fsdecode(args[0]))
            if not path.startswith(self.folder):
                self.seen.append(f"open {path}")
        elif event in FORBIDDEN:
            self.seen.append(f"{event} {str(args)[:100]}")


def load(folder: Path) -> None:
    """What a user does with a folder: open it and write a little with it."""
    model = Transformer.from_pretrained(folder)
    tokenizer = Tokenizer.from_pretrained(folder)
    tokenizer.decode(tokenizer.encode("to be or not 中文 " + "a" * 200).ids)
    if model.config.decoder is not None:
        Generator(model, tokenizer)


def memory(name: str) -> int:
    """Bytes of this process, as the system counts them."""
    lines = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
    return 1024 * next(int(line.split()[1]) for line in lines if line.startswith(f"{name}:"))


def forget_peak() -> int:
    """Bytes of this process now; its largest so far is counted from here on."""
    Path("/proc/self/clear_refs").write_text("5", encoding="utf-8")
    return memory("VmRSS")


def main(count: int, seed: int, root: Path) -> dict:
    """What came of so many mutated folders."""
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    resource.setrlimit(resource.RLIMIT_AS, (16 * 2**30, 16 * 2**30))
    sound, chance, watch = build(root / "sound"), random.Random(seed), Watch()
    found: dict = {"count": count, "loaded": 0, "refused": Counter(), "wrong": [], "slowest": 0.0, "largest": 0}
    for folder in sound:
        load(folder)  # everything that is imported late is imported now
    for language in locale.languages():
        locale.catalogue(language)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for number in range(count):
        folder = root / "mutated"
        shutil.rmtree(folder, ignore_errors=True)
        shutil.copytree(chance.choice(sound), folder)
        change = mutate(folder, chance)
        size, least = sum(path.lstat().st_size for path in folder.iterdir()), forget_peak()
        watch.folder, watch.seen, watch.on, start = os.path.realpath(folder), [], True, time.monotonic()
        try:
            load(folder)
            found["loaded"] += 1
        except TrifoldError as error:
            found["refused"][error.code] += 1
        except BaseException as error:  # noqa: BLE001 - whatever else comes out is a finding
            found["wrong"].append(f"{number} {change}: {type(error).__name__}: {str(error)[:200]}")
        watch.on = False
        seconds, taken = time.monotonic() - start, memory("VmHWM") - least
        found["slowest"], found["largest"] = max(found["slowest"], seconds), max(found["largest"], taken)
        found["wrong"] += [f"{number} {change}: {event}" for event in watch.seen]
        found["wrong"] += [f"{number} {change}: {seconds:.1f} s"] if seconds > SECONDS else []
        found["wrong"] += [f"{number} {change}: {taken:,} bytes"] if taken > 2 * size + ROOM else []
    found["grown"] = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024
    return {**found, "refused": dict(found["refused"])}

"""Pickled weights: converted by a child that can do nothing else, or refused; never read anywhere else."""

import io
import json
import os
import pickle
import resource
import runpy
import struct
import subprocess
import sys
import zipfile

import pytest
import torch
from safetensors.torch import load_file

from tests.applications.test_runs import call
from tests.parity.test_export import make
from trifold.checkpoint import pickled as pickled_module
from trifold.checkpoint import pickled_child
from trifold.checkpoint.pickled import check_archive, is_pickled, rewrite
from trifold.errors import ModelFileError
from trifold.presets.pretrained import Transformer
from trifold.text import Tokenizer, train_tokenizer


def pickled_folder(tmp_path, name="gpt2"):
    """A folder as transformers wrote them before safetensors."""
    model, folder = make(name), tmp_path / "old"
    tokenizer = train_tokenizer(["to be or not to be"], kind="character", vocab_size=61, num_sentinels=2)
    model.save_pretrained(folder, tokenizer=tokenizer)
    weights = load_file(folder / "model.safetensors")
    (folder / "model.safetensors").unlink()
    torch.save(weights, folder / "pytorch_model.bin")
    return model, folder


@pytest.mark.parametrize("name", ["gpt2", "bert", "t5"])
def test_an_old_folder_is_converted_with_the_same_weights(tmp_path, capsys, name):
    model, folder = pickled_folder(tmp_path, name)
    with pytest.raises(ModelFileError, match="trifold convert"):
        Transformer.from_pretrained(folder)
    code, _, err = call(capsys, "convert", folder, tmp_path / "new")
    assert code == 0, err
    again = dict(Transformer.from_pretrained(tmp_path / "new").named_parameters())
    assert all(torch.equal(value, again[key]) for key, value in model.named_parameters())


def test_several_pickled_files_are_converted(tmp_path):
    model, folder = pickled_folder(tmp_path)
    weights = torch.load(folder / "pytorch_model.bin", weights_only=True)
    (folder / "pytorch_model.bin").unlink()
    names, places = list(weights), {}
    for number, half in enumerate((names[:5], names[5:]), 1):
        file = f"pytorch_model-{number:05d}-of-00002.bin"
        torch.save({key: weights[key] for key in half}, folder / file)
        places |= dict.fromkeys(half, file)
    (folder / "pytorch_model.bin.index.json").write_text(json.dumps({"weight_map": places}))
    (tmp_path / "new").mkdir()
    rewrite(folder, tmp_path / "new")
    again = dict(Transformer.from_pretrained(tmp_path / "new").named_parameters())
    assert all(torch.equal(value, again[key]) for key, value in model.named_parameters())


class Evil:
    """Runs something when it is unpickled."""

    def __init__(self, function, *words):
        self.function, self.words = function, words

    def __reduce__(self):
        return self.function, self.words


GADGETS = {
    "system": lambda mark: Evil(os.system, f"touch {mark}"),
    "open": lambda mark: Evil(open, str(mark), "w"),
    "eval": lambda mark: Evil(eval, f"open({str(mark)!r}, 'w')"),
    "exec": lambda mark: Evil(exec, f"open({str(mark)!r}, 'w')"),
    "import": lambda mark: Evil(__import__, "antigravity"),
    "getattr": lambda mark: Evil(getattr, "text", "upper"),
    "popen": lambda mark: Evil(os.popen, f"touch {mark}"),
    "mkdir": lambda mark: Evil(os.mkdir, str(mark)),
}


def zip_of(entries, **more):
    """A zip archive in memory."""
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w", **more) as archive:
        for name, content in entries:
            archive.writestr(name, content)
    return made.getvalue()


SHAPES = ["torch", "plain 2", "plain 5", "zip", "nested"]


def pairs():
    """Each shape with each gadget: in the quick tests the first gadget with all shapes, every third other one with one."""
    for number, gadget in enumerate(GADGETS):
        for place, shape in enumerate(SHAPES):
            quick = number == 0 or (number % 3 == 0 and number % len(SHAPES) == place)
            yield pytest.param(shape, gadget, marks=[] if quick else pytest.mark.slow)


@pytest.mark.parametrize(("shape", "gadget"), pairs())
def test_d1_a_pickle_that_is_a_program_is_never_run(tmp_path, gadget, shape):
    _, folder = pickled_folder(tmp_path)
    mark, path = tmp_path / "mark", folder / "pytorch_model.bin"
    evil = {"x": GADGETS[gadget](mark)}
    if shape == "torch":
        torch.save(evil, path)
    else:
        raw = pickle.dumps(evil, protocol=5 if shape == "plain 5" else 2)
        inner = zip_of([("archive/data.pkl", raw), ("archive/version", "3"), ("archive/byteorder", "little")])
        path.write_bytes({"zip": inner, "nested": zip_of([("archive/data.pkl", inner)])}.get(shape, raw))
    (tmp_path / "new").mkdir()
    with pytest.raises(ModelFileError):
        rewrite(folder, tmp_path / "new")
    assert not mark.exists() and not (tmp_path / "new" / "model.safetensors").exists()


@pytest.mark.parametrize(
    ("name", "reader"),
    [("model.safetensors", Transformer), ("config.json", Transformer), ("tokenizer.json", Tokenizer)],
)
def test_d1_a_pickle_under_another_name_is_no_file_of_ours(tmp_path, name, reader):
    tokenizer = train_tokenizer(["to be or not to be"], kind="character", vocab_size=61, num_sentinels=2)
    make("gpt2").save_pretrained(tmp_path / "new", tokenizer=tokenizer)
    reader.from_pretrained(tmp_path / "new")
    (tmp_path / "new" / name).write_bytes(pickle.dumps({"x": GADGETS["open"](tmp_path / "mark")}))
    with pytest.raises(ModelFileError):
        reader.from_pretrained(tmp_path / "new")
    assert not (tmp_path / "mark").exists()


def lying(raw):
    """An archive whose directory says that an entry is larger than it is."""
    at = raw.index(b"PK\x01\x02")
    return raw[: at + 24] + struct.pack("<I", 2**31) + raw[at + 28 :]


def flagged(raw, bit):
    """An archive whose directory has one more flag (CVE-2025-1945 hides entries from readers by these)."""
    at = raw.index(b"PK\x01\x02")
    return raw[: at + 8] + struct.pack("<H", struct.unpack("<H", raw[at + 8 : at + 10])[0] | bit) + raw[at + 10 :]


PLAIN = zip_of([("archive/data.pkl", b"x" * 100), ("archive/version", b"3")])
BOMBS = {
    "compressed": lambda: zip_of([("archive/data.pkl", bytes(10**7))], compression=zipfile.ZIP_DEFLATED),
    "many": lambda: zip_of([(f"archive/data/{number}", b"") for number in range(100_001)]),
    "lying": lambda: lying(PLAIN),
    "encrypted": lambda: flagged(PLAIN, 0x1),
    "strongly encrypted": lambda: flagged(PLAIN, 0x40),
    "outside": lambda: zip_of([("../../evil", b"x")]),
    "absolute": lambda: zip_of([("/evil", b"x")]),
    "cut off": lambda: PLAIN[:-30],
    "empty": lambda: b"",
}


@pytest.mark.parametrize("bomb", BOMBS)
def test_d9_archives_that_torch_did_not_write_are_refused(tmp_path, bomb):
    path = tmp_path / "pytorch_model.bin"
    path.write_bytes(BOMBS[bomb]())
    with pytest.raises(ModelFileError, match=r"pytorch_model\.bin"):
        check_archive(path)


@pytest.mark.parametrize("name", ["../evil.bin", "/etc/passwd", "missing.bin", "link.bin", "a\0b"])
def test_d8_an_index_of_pickles_does_not_lead_out_of_its_folder(tmp_path, name):
    folder = tmp_path / "old"
    folder.mkdir()
    (folder / "link.bin").symlink_to("/etc/passwd")
    (folder / "pytorch_model.bin.index.json").write_text(json.dumps({"weight_map": {"x": name}}))
    assert is_pickled(folder)
    with pytest.raises(ModelFileError):
        rewrite(folder, tmp_path)


@pytest.mark.parametrize("text", ["{", "[]", '{"weight_map": 5}', "[" * 100_000])
def test_a_damaged_index_of_pickles_is_named(tmp_path, text):
    (tmp_path / "pytorch_model.bin.index.json").write_text(text)
    with pytest.raises(ModelFileError, match=r"index\.json"):
        rewrite(tmp_path, tmp_path)


def test_a_conversion_that_takes_for_ever_is_given_up(tmp_path, monkeypatch):
    _, folder = pickled_folder(tmp_path)

    def wait(*words, timeout, **more):
        raise subprocess.TimeoutExpired(words, timeout)

    monkeypatch.setattr(pickled_module.subprocess, "run", wait)
    (tmp_path / "new").mkdir()
    with pytest.raises(ModelFileError, match=r"pytorch_model\.bin.*1800 s"):
        rewrite(folder, tmp_path / "new")


@pytest.fixture
def given_up(monkeypatch):
    """What the child gives up, written down instead of done to this process."""
    limits, hooks = {}, []
    monkeypatch.setattr(resource, "setrlimit", limits.__setitem__)
    monkeypatch.setattr(sys, "addaudithook", hooks.append)
    return limits, hooks


def run_child(monkeypatch, *words):
    monkeypatch.setattr(sys, "argv", ["pickled_child.py", *map(str, words)])
    runpy.run_path(pickled_child.__file__, run_name="__main__")


def test_the_child_writes_the_tensors_and_has_given_up_the_rest(tmp_path, monkeypatch, given_up):
    torch.save({"a": torch.arange(3), "b": "no tensor"}, tmp_path / "a.bin")
    run_child(monkeypatch, tmp_path / "a.bin", tmp_path / "a.safetensors")
    assert {name: value.tolist() for name, value in load_file(tmp_path / "a.safetensors").items()} == {"a": [0, 1, 2]}
    limits, (refuse,) = given_up
    assert limits[resource.RLIMIT_AS][0] < 2**33 and limits[resource.RLIMIT_CPU] == (1800, 1800)
    for event, words in (("open", ("a", "r", os.O_RDONLY)), ("open", ("a", "r", None)), ("import", ("os",))):
        refuse(event, words)
    for event in ("socket.connect", "subprocess.Popen", "os.system", "os.remove", "shutil.rmtree", "ctypes.dlopen"):
        with pytest.raises(PermissionError, match=event):
            refuse(event, ())
    with pytest.raises(PermissionError, match="open"):
        refuse("open", ("a", "w", os.O_WRONLY))


@pytest.mark.parametrize(
    ("held", "said"), [([torch.zeros(1)], "no mapping"), ({1: torch.zeros(1)}, "no mapping"), ({"a": 1}, "no weights")]
)
def test_the_child_says_in_one_line_what_is_wrong(tmp_path, monkeypatch, capsys, given_up, held, said):
    torch.save(held, tmp_path / "a.bin")
    with pytest.raises(SystemExit, match="1"):
        run_child(monkeypatch, tmp_path / "a.bin", tmp_path / "a.safetensors")
    err = capsys.readouterr().err
    assert said in err and err.count("\n") == 1
    assert not (tmp_path / "a.safetensors").exists()

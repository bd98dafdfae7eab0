"""A hub name loads like a folder: against a server on this machine that speaks the hub's protocol."""

import hashlib
import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

import trifold

COMMIT = "0123456789abcdef0123456789abcdef01234567"
LOAD = """
import sys, torch, trifold
from trifold.batch import Batch, Layout
model = trifold.Transformer.from_pretrained(sys.argv[1]).eval()
tokens = torch.arange(12)[None]
with torch.no_grad():
    print(float(model.head(model(Batch(target=tokens, target_layout=Layout.whole(1, 12)))).double().sum()))
"""


class Hub:
    """A server that speaks the hub's protocol for one model, and can do so badly.

    Attributes:
        folder: what stands there as `someone/tiny`.
        fault: what is wrong with the answers; empty for nothing.
    """

    def __init__(self, folder: Path) -> None:
        self.folder, self.fault = folder, ""
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Handler, self))
        self.address = f"http://127.0.0.1:{self.server.server_address[1]}"

    def facts(self, name: str) -> dict[str, object]:
        """A file as it stands in the listing: large ones have a SHA-256, small ones git's hash."""
        data = (self.folder / name).read_bytes()
        found = {"type": "file", "path": name, "size": len(data)}
        found["oid"] = hashlib.sha1(b"blob %d\0%s" % (len(data), data), usedforsecurity=False).hexdigest()
        if name.endswith(".safetensors"):
            found["lfs"] = {"oid": hashlib.sha256(data).hexdigest(), "size": len(data), "pointerSize": 1}
        return found


class Handler(BaseHTTPRequestHandler):
    def __init__(self, hub: Hub, *words) -> None:
        self.hub = hub
        super().__init__(*words)

    def do_HEAD(self) -> None:
        self.answer(body=False)

    def do_GET(self) -> None:
        self.answer(body=True)

    def answer(self, *, body: bool) -> None:
        path = self.path.split("?")[0]
        names = sorted(file.name for file in self.hub.folder.iterdir())
        files = [self.hub.facts(name) for name in names]
        name = path.rsplit("/", 1)[-1]
        if path.startswith("/api/models/someone/tiny/tree/"):
            self.send(json.dumps(files).encode(), body=body)
        elif path.startswith("/api/models/someone/tiny"):
            known = {"id": "someone/tiny", "sha": COMMIT, "siblings": [{"rfilename": name} for name in names]}
            self.send(json.dumps(known).encode(), body=body)
        elif path.startswith("/someone/tiny/resolve/") and name in names:
            self.send_file(name, body=body)
        else:
            self.send(b"", code=404, headers={"X-Error-Code": "RepoNotFound"}, body=False)

    def send_file(self, name: str, *, body: bool) -> None:
        data, facts, fault = (self.hub.folder / name).read_bytes(), self.hub.facts(name), self.hub.fault
        lfs = facts.get("lfs")
        headers = {"ETag": f'"{lfs["oid"] if lfs else facts["oid"]}"', "X-Repo-Commit": COMMIT}
        code = 200
        if fault == "moved":
            headers["X-Repo-Commit"] = COMMIT[::-1]
        elif fault == "wrong sha":
            headers["ETag"] = f'"{"0" * 64}"' if lfs else headers["ETag"]
        elif fault == "no hashes":
            headers["ETag"] = f'"{name}-1"'
        elif fault == "changed bytes":
            data = data[:-1] + bytes([data[-1] ^ 1])
        elif fault == "short read" and body:
            data = data[: len(data) // 2]
        elif fault == "redirect to a file":
            code, headers["Location"] = 302, (self.hub.folder / name).as_uri()
        self.send(data, code=code, headers=headers, body=body)

    def send(self, data: bytes, *, code: int = 200, headers: dict[str, str] | None = None, body: bool) -> None:
        self.send_response(code)
        for name, value in {"Content-Length": str(len(data)), **(headers or {})}.items():
            self.send_header(name, value)
        self.end_headers()
        if body:
            self.wfile.write(data)

    def log_message(self, *words: object) -> None:
        """Stay silent."""


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[Hub]:
    folder = tmp_path / "served"
    folder.mkdir()
    made = Hub(folder)
    threading.Thread(target=made.server.serve_forever, daemon=True).start()
    yield made
    made.server.shutdown()
    made.server.server_close()


def run(script: str, name: str, hub: Hub, home: Path, *, offline: bool = False) -> subprocess.CompletedProcess[str]:
    clean = {key: value for key, value in os.environ.items() if not key.lower().endswith("_proxy")}
    given = {**clean, "HF_ENDPOINT": hub.address, "HF_HUB_OFFLINE": str(int(offline)), "HF_HOME": str(home),
             "HF_HUB_DISABLE_XET": "1"}  # fmt: skip
    return subprocess.run([sys.executable, "-c", script, name], capture_output=True, text=True, env=given, check=False)


def test_a_model_of_the_hub_is_the_model_that_was_saved(tmp_path, hub):
    model = trifold.Transformer.from_preset("gpt2", size="tiny", vocab_size=61, max_length=32, num_layers=1).eval()
    model.save_pretrained(hub.folder)
    there = run(LOAD, "someone/tiny", hub, tmp_path / "home")
    assert there.returncode == 0, there.stderr
    here = run(LOAD, str(hub.folder), hub, tmp_path / "home")
    assert float(there.stdout) == float(here.stdout) != 0.0


def test_a_name_that_the_hub_does_not_know_is_one_clear_error(tmp_path, hub):
    done = run(LOAD, "someone/else", hub, tmp_path / "home")
    assert done.returncode != 0
    assert "ModelFileError" in done.stderr
    assert "someone/else" in done.stderr.splitlines()[-1]


FETCH = """
import sys
from trifold.hub import fetch
print(fetch(sys.argv[1], ["*.json", "*.safetensors"], "checkpoint.hub"))
"""


@pytest.mark.parametrize(
    "fault", ["moved", "changed bytes", "short read", "redirect to a file", "wrong sha", "changed in the cache"]
)
def test_d10_a_hub_that_answers_badly_is_refused_and_nothing_of_it_is_taken_for_whole(tmp_path, hub, fault):
    for name, content in (("config.json", b"{}\n"), ("model.safetensors", bytes(range(256)) * 64)):
        (hub.folder / name).write_bytes(content)
    hub.fault, home = fault, tmp_path / "home"
    if fault == "changed in the cache":
        folder = Path(run(FETCH, "someone/tiny", hub, home).stdout.strip())
        (folder / "model.safetensors").write_bytes(bytes(256 * 64))
    bad = run(FETCH, "someone/tiny", hub, home)
    assert bad.returncode != 0
    assert "ModelFileError: someone/tiny" in bad.stderr.splitlines()[-1], bad.stderr
    offline = run(FETCH, "someone/tiny", hub, home, offline=True)
    assert offline.returncode != 0, offline.stdout
    hub.fault = ""
    good = run(FETCH, "someone/tiny", hub, home)
    assert good.returncode == 0, good.stderr
    folder = Path(good.stdout.strip())
    assert {file.name: file.read_bytes() for file in folder.iterdir()} == {
        file.name: file.read_bytes() for file in hub.folder.iterdir()
    }


def test_a_mirror_that_names_no_hashes_is_taken_at_its_word(tmp_path, hub):
    (hub.folder / "config.json").write_text("{}")
    hub.fault = "no hashes"
    done = run(FETCH, "someone/tiny", hub, tmp_path / "home")
    assert (Path(done.stdout.strip()) / "config.json").read_text() == "{}", done.stderr

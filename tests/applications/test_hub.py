"""A hub name loads like a folder: against a server on this machine that speaks the hub's protocol."""

import hashlib
import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
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


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[tuple[str, Path]]:
    """An address, and the folder that stands there as `someone/tiny`."""
    folder = tmp_path / "served"
    folder.mkdir()

    class Handler(BaseHTTPRequestHandler):
        def do_HEAD(self) -> None:
            self.answer(body=False)

        def do_GET(self) -> None:
            self.answer(body=True)

        def answer(self, *, body: bool) -> None:
            path = self.path.split("?")[0]
            names = sorted(file.name for file in folder.iterdir())
            if path.startswith("/api/models/someone/tiny/revision/") or path == "/api/models/someone/tiny":
                files = [{"rfilename": name} for name in names]
                return self.send(
                    json.dumps({"id": "someone/tiny", "sha": COMMIT, "siblings": files}).encode(), body=body
                )
            if path.startswith("/api/models/someone/tiny/tree/"):
                files = [
                    {"type": "file", "path": name, "size": (folder / name).stat().st_size, "oid": "0" * 40}
                    for name in names
                ]
                return self.send(json.dumps(files).encode(), body=body)
            name = path.rsplit("/", 1)[-1]
            if path.startswith("/someone/tiny/resolve/") and name in names:
                return self.send((folder / name).read_bytes(), body=body)
            self.send_response(404)
            self.send_header("X-Error-Code", "RepoNotFound")
            self.send_header("Content-Length", "0")
            self.end_headers()
            return None

        def send(self, data: bytes, *, body: bool) -> None:
            self.send_response(200)
            self.send_header("Content-Length", str(len(data)))
            self.send_header("ETag", f'"{hashlib.sha1(data, usedforsecurity=False).hexdigest()}"')
            self.send_header("X-Repo-Commit", COMMIT)
            self.end_headers()
            if body:
                self.wfile.write(data)

        def log_message(self, *words: object) -> None:
            """Stay silent."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_address[1]}", folder
    server.shutdown()
    server.server_close()


def load(name: str, address: str, home: Path) -> subprocess.CompletedProcess[str]:
    clean = {key: value for key, value in os.environ.items() if not key.lower().endswith("_proxy")}
    given = {**clean, "HF_ENDPOINT": address, "HF_HUB_OFFLINE": "0", "HF_HOME": str(home), "HF_HUB_DISABLE_XET": "1"}
    return subprocess.run([sys.executable, "-c", LOAD, name], capture_output=True, text=True, env=given, check=False)


def test_a_model_of_the_hub_is_the_model_that_was_saved(tmp_path, hub):
    address, folder = hub
    model = trifold.Transformer.from_preset("gpt2", size="tiny", vocab_size=61, max_length=32, num_layers=1).eval()
    model.save_pretrained(folder)
    there = load("someone/tiny", address, tmp_path / "home")
    assert there.returncode == 0, there.stderr
    here = load(str(folder), address, tmp_path / "home")
    assert float(there.stdout) == float(here.stdout) != 0.0


def test_a_name_that_the_hub_does_not_know_is_one_clear_error(tmp_path, hub):
    done = load("someone/else", hub[0], tmp_path / "home")
    assert done.returncode != 0
    assert "ModelFileError" in done.stderr
    assert "someone/else" in done.stderr.splitlines()[-1]

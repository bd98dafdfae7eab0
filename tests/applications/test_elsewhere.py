"""Training and use where the system has nothing of Unix: no fcntl, resource, /proc, SIGHUP, affinity or compiler."""

import json
import subprocess
import sys
from pathlib import Path

CHILD = """
import builtins, io, json, os, pathlib, signal, shutil, sys

for name in ("fcntl", "resource", "pwd", "grp", "termios", "transformers"):  # the last asks for some of the others
    sys.modules[name] = None
for owner, names in ((signal, ("SIGHUP", "SIGUSR1", "SIGUSR2", "SIGALRM", "SIGPROF", "setitimer", "ITIMER_PROF")),
                     (os, ("sched_getaffinity", "sysconf", "getloadavg", "getuid", "pread", "pwrite", "fork", "O_NOFOLLOW",
                           "O_CLOEXEC"))):
    for name in names:
        if hasattr(owner, name):
            delattr(owner, name)
os.environ["PATH"] = ""
shutil.which = lambda *given, **named: None
plain = io.open

def opened(file, *given, **named):
    if str(file).startswith("/proc/"):
        raise FileNotFoundError(file)
    return plain(file, *given, **named)

builtins.open = io.open = opened

from trifold.cli.main import main

def call(*words):
    code = main([str(word) for word in words])
    assert code == 0, (words, code)

place = pathlib.Path(sys.argv[1])
text = place / "text.txt"
text.write_text("\\n".join(f"the cat {n} sat on the mat 猫坐在垫子上" for n in range(300)), encoding="utf-8")
small = ("--overrides", "num_layers=1", "d_model=32", "num_heads=2")
call("pretrain", "--preset", "gpt2", *small, "--data", text, "--document", "line", "--length", 32, "--batch-size", 4,
     "--vocab-size", 300, "--steps", 4, "--out", place / "run", "training.checkpoint_every=2")
call("pretrain", "--out", place / "run", "--resume")
call("generate", place / "run", "--prompt", "the cat", "--max-tokens", 4, "--seed", 1)
rows = "\\n".join(f"a {word} film {n}\\t{word}" for n in range(60) for word in ("good", "bad"))
(place / "train.tsv").write_text("text\\tlabel\\n" + rows, encoding="utf-8")
call("finetune", "classification", "--model", "bert", *small, "--vocab-size", 300, "--train", place / "train.tsv",
     "--out", place / "tuned", "--steps", 4)
call("classify", place / "tuned", "a good film")
call("doctor", place / "run")
call("env")
print(json.dumps({"threads": len(sys._current_frames())}))
"""


def test_pretraining_resume_fine_tuning_use_and_doctor_need_nothing_of_unix(tmp_path: Path) -> None:
    done = subprocess.run([sys.executable, "-c", CHILD, str(tmp_path)], capture_output=True, text=True, timeout=400,
                          check=False, encoding="utf-8")  # fmt: skip
    assert done.returncode == 0, done.stdout[-1500:] + done.stderr[-3000:]
    assert json.loads(done.stdout.splitlines()[-1])["threads"] >= 1
    assert (tmp_path / "run/model.safetensors").is_file() and (tmp_path / "tuned/report.html").is_file()

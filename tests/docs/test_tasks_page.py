"""Every command of the page on tasks, in both languages, runs as it stands there, on small files."""

import io
import json
import re
import shlex
from pathlib import Path

import pytest

from trifold.cli.main import main
from trifold.presets.pretrained import Transformer
from trifold.task_kinds import ALIASES, KINDS
from trifold.text import train_tokenizer

ROOT = Path(__file__).parents[2]
COMMAND = re.compile(r"^\$ (trifold .*)$", re.MULTILINE)
SHORT = {"finetune": ["--steps", "2", "--batch-size", "4", "--vocab-size", "400", "--size", "tiny"]}
QUICK = {"10m": "1s", "12": "2"}
"""What the pages say for the time and the trials of a search, and what is enough to see it run."""
WORDS = ["river", "film", "Anna", "Paris", "book", "good", "dull", "河流", "电影", "好看"]


def rows(count: int, **columns: object) -> list[dict]:
    """Rows whose texts name their number, `{}`; a list gives its values in turn."""
    return [{name: value[number % len(value)] if isinstance(value, list) else value.format(number, WORDS[number % 10])
             for name, value in columns.items()} for number in range(count)]  # fmt: skip


def write(path: str, found: list[dict], *, separator: str = "\t", encoding: str = "utf-8") -> None:
    if path.endswith(".jsonl"):
        text = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in found)
    else:
        lines = [list(found[0]), *([str(value) for value in row.values()] for row in found)]
        text = "".join(separator.join(line) + "\n" for line in lines)
    Path(path).write_text(text, encoding=encoding)


@pytest.fixture
def files(tmp_path, monkeypatch):
    """The files that the page speaks of, and two models to start from."""
    monkeypatch.chdir(tmp_path)
    for name in ("train", "dev", "test", "other"):
        write(f"{name}.tsv", rows(24, text=f"{name} {{1}} {{0}}", label=["good", "bad"]))
    write("gbk.csv", rows(24, text="第 {0} 部 {1} 好看", label=["bad", "good"]), separator=",", encoding="gb18030")
    write("news.jsonl", rows(24, title="news {1}", content="about {0} {1}", label=["a", "b"]))
    write("genres.tsv", rows(24, text="genre {1} {0}", label=["sport|art", "music", "art"]))
    write("similar.jsonl", rows(24, sentence1="the {1} {0}", sentence2="a {1} {0}", score=[0.0, 2.5, 5.0]))
    write("pairs.tsv", rows(24, en="the {1} {0}", de="der {1} {0}", zh="{1} {0} 号"))
    write("retrieval.jsonl", rows(24, query="which {1} {0}", positive="the {1} {0} it is", negative="no {0}"))
    write("exams.jsonl", rows(24, question="which {1} is {0} ?", A="the {1}", B="no {1}", answer=["A", "B"]))
    turns = [{"role": "user", "content": "Name a river."}, {"role": "assistant", "content": "The Rhine."}]
    write("chats.jsonl", [{"messages": [{"role": "user", "content": f"Say {n}"}, {"role": "assistant", "content": str(n)},
                                        *turns]} for n in range(24)])  # fmt: skip
    write("chats.csv", rows(12, question="What is {0}?", answer="It is {0}."), separator=",")
    Path("names.conll").write_text(
        "Anna B-PER\nmet O\nBob B-PER\n. O\n\nParis B-LOC\nis O\nfar O\n. O\n\n" * 10, "utf-8"
    )
    asked = [{"context": f"Book {n} was written by Anna in Paris.", "qas": [
        {"id": str(n), "question": f"Who wrote book {n}?", "answers": [{"text": "Anna", "answer_start": 20 + len(str(n))}]}
    ]} for n in range(24)]  # fmt: skip
    Path("questions.json").write_text(json.dumps({"data": [{"title": "books", "paragraphs": asked}]}), "utf-8")
    Path("notes").mkdir()
    Path("notes/rivers.md").write_text("The Nile is the longest river.\n\n长江是中国最长的河流。\n", "utf-8")
    Path("notes/page.html").write_text("<html><body><p>The Rhine is a river.</p></body></html>", "utf-8")
    write("facts.tsv", rows(3, subject="river {0}", relation=["length"], object="{0} km"))
    Path("lines.txt").write_text("the river\n\ntwo films\n", "utf-8")
    Path("book.txt").write_text("Anna wrote this book in Paris.", "utf-8")
    texts = [Path(name).read_text("utf-8") for name in ("train.tsv", "names.conll", "notes/rivers.md", "book.txt")]
    for name, kind in (("bert", "wordpiece"), ("gpt2", "byte_bpe")):
        tokenizer = train_tokenizer(texts, kind=kind, vocab_size=400)
        model = Transformer.from_preset(name, size="tiny", vocab_size=tokenizer.vocab_size, num_layers=2)
        Path(f"runs/{name}").mkdir(parents=True)
        model.save_pretrained(f"runs/{name}")
        tokenizer.save_pretrained(f"runs/{name}")


def commands(page: str) -> list[str]:
    """The commands of a page, without what is said about them."""
    return [shlex.join(shlex.split(line, comments=True)) for line in COMMAND.findall((ROOT / page).read_text("utf-8"))]


@pytest.mark.parametrize("page", ["docs/tasks.md", "docs/zh/tasks.md"])
def test_the_page_speaks_of_every_kind_of_task(page):
    text = (ROOT / page).read_text("utf-8")
    assert [name for name in [*KINDS, *ALIASES] if f"| `{name}`" not in text and f"`{name}` |" not in text] == []
    assert [name for name in KINDS if name != "regression" and f"$ trifold finetune {name} " not in text] == []


@pytest.mark.filterwarnings("ignore:This model was fine-tuned on texts in Latin letters")  # so the small files are
def test_every_command_of_the_page_runs_in_both_languages(files, capsys, monkeypatch):
    lines = dict.fromkeys([*commands("docs/tasks.md"), *commands("docs/zh/tasks.md")])  # what both say runs once
    ran = []
    for line in lines:
        words = [QUICK.get(word, word) for word in shlex.split(line)[1:]]
        more = list(SHORT.get(words[0], []))
        if "--model" in words and words[words.index("--model") + 1].startswith("runs/"):
            more = more[: more.index("--vocab-size")] if more else []
        elif "--size" in words:
            words[words.index("--size") + 1] = "tiny"
            more = more[:-2]
        monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(b"Name a river.\n"), encoding="utf-8"))
        code = main([*words, *more])
        said = capsys.readouterr()
        assert code == 0, f"{line}\n{said.err}"
        ran.append(words[0])
    assert len(commands("docs/tasks.md")) == len(commands("docs/zh/tasks.md")) >= 20
    assert set(ran) >= {"finetune", "classify", "translate", "generate", "chat", "ask", "evaluate", "compare", "index"}

"""The files of the demo: text to pre-train on, and training and test rows of five applications.

What a model is tested on stands in no file that it is trained on: whole modules of the standard library are held out from
pre-training, questions and descriptions alike; of the reviews, sentence pairs and areas every eighth row.
"""

import json
import re
import zlib
from collections.abc import Iterable, Iterator, Sequence
from importlib import resources
from pathlib import Path
from typing import Any

from trifold.samples.library import Function, is_held_out, read_documents, read_functions

__all__ = ["write_exercises", "write_text"]

AREAS = {
    "mail": ("email", "mailbox", "smtplib", "imaplib", "poplib", "nntplib", "mailcap", "quopri"),
    "web and network": (
        "http", "urllib", "ftplib", "telnetlib", "socket", "socketserver", "ssl", "xmlrpc", "wsgiref", "ipaddress",
        "webbrowser", "cgi", "html",
    ),
    "windows and drawing": ("tkinter", "turtle", "colorsys", "curses"),
    "doing many things at once": (
        "asyncio", "multiprocessing", "threading", "concurrent", "subprocess", "queue", "sched", "selectors",
    ),
    "files and archives": (
        "tarfile", "pathlib", "os", "gzip", "bz2", "lzma", "fileinput", "filecmp", "posixpath", "ntpath", "genericpath",
        "linecache", "stat",
    ),
    "numbers and dates": (
        "_pydecimal", "datetime", "_pydatetime", "fractions", "numbers", "random", "_strptime", "zoneinfo", "uuid",
        "secrets",
    ),
    "testing and tracing": (
        "unittest", "doctest", "pdb", "bdb", "traceback", "trace", "profile", "pstats", "timeit", "warnings", "logging",
    ),
    "the language itself": (
        "importlib", "inspect", "ast", "dis", "typing", "symtable", "tokenize", "pyclbr", "pkgutil", "runpy", "code",
        "functools", "contextlib", "enum", "types", "abc", "dataclasses",
    ),
    "data formats": (
        "xml", "csv", "configparser", "difflib", "plistlib", "tomllib", "codecs", "pprint", "pickle", "base64", "re",
    ),
}  # fmt: skip
"""What the modules of the standard library are about."""
TEST_EVERY = 8
"""One row in so many is for the test."""
QUESTIONS = {
    "purpose": ("What does {} do?", "What is {} for?", "{} 的作用是什么？", "{} 是做什么的？"),
    "returns": ("What does {} return?", "What do I get back from {}?", "{} 返回什么？"),
    "raises": ("Which error can {} raise?", "{} 可能引发什么异常？"),
    "default": ("What is the default of {argument} in {}?", "{} 的参数 {argument} 默认是什么？"),
}
"""How each kind of question is asked."""
RETURNS = re.compile(r"\b[Rr]eturns? ((?:[^.]|\.(?=\w)){8,120})\.(?:\s|$)")
RAISES = re.compile(r"\b[Rr]ais\w+ (?:an? |the )?([A-Z]\w+(?:Error|Exception|Warning))\b")


def write_text(folder: Path) -> dict[str, int]:
    """Write `train.jsonl` and `valid.jsonl`, the text to pre-train on and what is held out; give the bytes of each."""
    folder.mkdir(parents=True, exist_ok=True)
    rows: dict[str, list[dict[str, Any]]] = {"train": [], "valid": []}
    for document, held_out in read_documents():
        rows["valid" if held_out else "train"].append({"text": document.encode("utf-8", "replace").decode()})
    for name, texts in rows.items():
        _write_rows(folder / f"{name}.jsonl", texts)
    return {name: sum(len(row["text"].encode()) for row in texts) for name, texts in rows.items()}


def write_exercises(folder: Path) -> None:
    """Write training and test rows of the five applications, and `functions.jsonl`, a knowledge base."""
    functions = list(read_functions())
    documents = ({"id": each.name, "title": each.name, "text": each.text} for each in functions)
    _write_rows(folder / "functions.jsonl", documents)
    for split, held_out in (("train", False), ("test", True)):
        kept = [function for function in functions if is_held_out(function.module) == held_out]
        _write_rows(folder / f"questions.{split}.jsonl", _questions(kept))
        _write_rows(folder / f"descriptions.{split}.jsonl", _descriptions(kept))
    _write_table(folder, "areas", "label\ttext", list(_areas(functions)))
    for name in ("reviews", "pairs"):
        head, *lines = resources.files("trifold.samples").joinpath(f"{name}.tsv").read_text("utf-8").splitlines()
        _write_table(folder, name, head, lines)


def _write_rows(path: Path, rows: Iterable[dict[str, Any]]) -> None:
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")


def _write_table(folder: Path, name: str, head: str, lines: Sequence[str]) -> None:
    """Training and test rows of a table, each with its head."""
    test = lines[TEST_EVERY - 1 :: TEST_EVERY]
    train = [line for number, line in enumerate(lines) if number % TEST_EVERY != TEST_EVERY - 1]
    for split, rows in (("train", train), ("test", test)):
        (folder / f"{name}.{split}.tsv").write_text("\n".join([head, *rows, ""]), encoding="utf-8")


def _areas(functions: Iterable[Function]) -> Iterator[str]:
    """Area and first sentence of functions, each sentence once."""
    by_module = {module: area for area, modules in AREAS.items() for module in modules}
    sentences: dict[str, str] = {}
    for function in functions:
        area = by_module.get(function.module.partition(".")[0])
        if area is not None and "\t" not in function.purpose:
            sentences.setdefault(function.purpose, area)
    return (f"{area}\t{sentence}." for sentence, area in sentences.items())


def _descriptions(functions: Iterable[Function]) -> Iterator[dict[str, Any]]:
    """A signature, and what the function does."""
    for function in functions:
        call = function.signature.removeprefix(function.name.rpartition(".")[0] + ".")
        yield {"prompt": f"def {call}", "response": f"{function.purpose}."}


def _questions(functions: Iterable[Function]) -> Iterator[dict[str, Any]]:
    """Questions about functions, with the place of the answer in signature and docstring."""
    for function in functions:
        for kind, argument, (start, end) in _answers(function):
            phrases = QUESTIONS[kind]
            phrase = phrases[zlib.crc32(f"{kind} {function.name}".encode()) % len(phrases)]
            answer = {"text": function.text[start:end], "start": start}
            question = phrase.format(function.name, argument=argument)
            yield {"question": question, "context": function.text, "answers": [answer]}


def _answers(function: Function) -> Iterator[tuple[str, str, tuple[int, int]]]:
    """Kind of question, the argument that it is about, and where the answer stands."""
    body = len(function.signature) + 2
    yield "purpose", "", (body, body + len(function.purpose))
    for kind, pattern in (("returns", RETURNS), ("raises", RAISES)):
        match = pattern.search(function.text, body)
        if match is not None:
            yield kind, "", match.span(1)
    for argument, value in list(function.defaults.items())[:1]:
        start = function.signature.find(f"{argument}={value}") + len(argument) + 1
        yield "default", argument, (start, start + len(value))

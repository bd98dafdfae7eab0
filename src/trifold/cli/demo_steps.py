"""What the demo does, as data: three families that are pre-trained, and five applications that are fine-tuned."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from trifold.cli import fill_mask, generate, index, restore, use
from trifold.cli.option import Command
from trifold.locale import message

__all__ = ["APPLICATIONS", "FAMILIES", "NEXT", "Application", "Family", "Judged", "Sample", "Trained"]


@dataclass(frozen=True, slots=True)
class Sample:
    """What was given, what came out, and where it stands: the text around it, and its first character and the one after."""

    given: str
    made: str
    passage: str = ""
    start: int = 0
    end: int = 0


Read = Callable[[Mapping[str, Any], Sequence[str]], list[Sample]]
"""Samples, from what a command says of texts."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Family:
    """A family, its share of the training time, and the texts that show what it learned.

    Attributes:
        name, objective: of the family, and what it is pre-trained by.
        share: of the training time.
        use, prompts, options: the command that shows what it learned, and its words; `{mask}` is the tokenizer's mask.
        read: what is shown of that.
    """

    name: str
    objective: str
    share: float
    use: Command
    prompts: tuple[str, ...]
    options: tuple[str, ...]
    read: Read

    def words(self, out: Path, *, minutes: float, size: str) -> list[object]:
        """Of the command that pre-trains it."""
        data = out / "data"
        texts = ["--data", data / "train.jsonl", "--valid", data / "valid.jsonl", "--tokenizer", out / "tokenizer"]
        model = ["--preset", self.name, "--size", size, "--minutes", f"{self.share * minutes:.3g}"]
        return [*model, *texts, "--out", out / self.name]

    def texts(self, folder: Path) -> list[str]:
        """The prompts, with the mask of the model in a folder."""
        from trifold.text import Tokenizer

        mask = Tokenizer.from_pretrained(folder).roles.get("mask", "")
        return [prompt.replace("{mask}", mask) for prompt in self.prompts]


@dataclass(frozen=True, kw_only=True, slots=True)
class Application:
    """A task, its share of the training time, and the texts that it is shown with.

    Attributes:
        name: of the task, and of the run's folder.
        data: the name of its files, `{}` in the place of `train` and `test`.
        start: the run of a family that it starts from; None for random weights.
        share: of the training time; None for what follows from the data.
        use, texts: the command that uses it, and what it is given.
        read: what is shown of that.
        base: whether it answers from a knowledge base, which is made first.
        how: further words of the command that uses it.
    """

    name: str
    data: str
    use: Command
    texts: tuple[str, ...]
    read: Read
    start: str | None = None
    share: float | None = None
    base: bool = False
    how: tuple[str, ...] = ()

    def before(self, out: Path) -> list[tuple[Command, list[object]]]:
        """What is done first."""
        return [(index.BUILD, [out / "data/functions.jsonl", "--out", out / "kb"])] if self.base else []

    def words(self, out: Path, *, minutes: float) -> list[object]:
        """Of the command that fine-tunes it."""
        start = [] if self.start is None else ["--model", out / self.start]
        length = [] if self.share is None else ["--minutes", f"{self.share * minutes:.3g}"]
        train, test = (out / "data" / self.data.format(split) for split in ("train", "test"))
        return [self.name, *start, "--train", train, "--test", test, *length, "--out", out / self.name]

    def options(self, out: Path) -> list[object]:
        """Of the command that uses it."""
        return [*self.how, *(["--kb", out / "kb"] if self.base else [])]


@dataclass(frozen=True, slots=True)
class Trained:
    """A family that was pre-trained: its run, what the command said, and samples."""

    family: Family
    folder: Path
    result: dict[str, Any]
    samples: list[Sample]


@dataclass(frozen=True, slots=True)
class Judged:
    """An application that was fine-tuned: its run, its metrics beside baselines, and samples."""

    application: Application
    folder: Path
    judgement: dict[str, Any]
    samples: list[Sample]


def _written(said: Mapping[str, Any], texts: Sequence[str]) -> list[Sample]:
    return [Sample(text, written["text"]) for text, written in zip(texts, said["generations"], strict=True)]


def _filled(said: Mapping[str, Any], texts: Sequence[str]) -> list[Sample]:
    return [Sample(text, _likeliest(filled["masks"][0])) for text, filled in zip(texts, said["texts"], strict=True)]


def _likeliest(candidates: Sequence[Mapping[str, Any]]) -> str:
    return ", ".join(f"{one['token'].strip()} ({one['probability']:.0%})" for one in candidates)


def _restored(said: Mapping[str, Any], texts: Sequence[str]) -> list[Sample]:
    return [Sample(text, whole["text"]) for text, whole in zip(texts, said["texts"], strict=True)]


def _labelled(said: Mapping[str, Any], texts: Sequence[str]) -> list[Sample]:
    answers = zip(texts, said["answers"], strict=True)
    return [Sample(text, f"{answer['answer']} ({answer['confidence']:.0%})") for text, answer in answers]


def _translated(said: Mapping[str, Any], texts: Sequence[str]) -> list[Sample]:
    return [Sample(text, pair["target"]) for text, pair in zip(texts, said["translations"], strict=True)]


def _answered(said: Mapping[str, Any], texts: Sequence[str]) -> list[Sample]:
    return [_answer(text, reply) for text, reply in zip(texts, said["answers"], strict=True)]


def _answer(question: str, reply: Mapping[str, Any]) -> Sample:
    """An answer with the passage in which it stands."""
    if reply["text"] is None:
        return Sample(question, message("cli.do_not_know"))
    for hit in reply["looked_at"]:
        if hit["document"] == reply["document"] and hit["start"] <= reply["start"] < hit["end"]:
            start = reply["start"] - hit["start"]
            return Sample(question, reply["text"], hit["text"], start, start + reply["end"] - reply["start"])
    return Sample(question, reply["text"])


FAMILIES = (
    Family(
        name="gpt2",
        objective="causal",
        share=0.15,
        use=generate.COMMAND,
        prompts=("The `open` function returns", 'def read_lines(path):\n    """Return', "Raises ValueError if"),
        options=("--max-tokens", "40", "--temperature", "0.6", "--top-p", "0.9", "--seed", "1"),
        read=_written,
    ),
    Family(
        name="bert",
        objective="masked",
        share=0.15,
        use=fill_mask.COMMAND,
        prompts=("def __init__({mask}, name):", "if value is {mask}:", "Return {mask} if the path exists."),
        options=("--top-k", "3"),
        read=_filled,
    ),
    Family(
        name="t5",
        objective="denoising",
        share=0.32,
        use=restore.COMMAND,
        prompts=(
            "if not isinstance(<extra_id_0>, str):",
            "def __init__(<extra_id_0>, name):",
            "Raises ValueError if the <extra_id_0> is not present.",
        ),
        options=(),
        read=_restored,
    ),
)

APPLICATIONS = (
    Application(
        name="sentiment",
        data="reviews.{}.tsv",
        use=use.CLASSIFY,
        texts=("I love these shoes, they are so comfortable.", "电池两天就坏了，客服态度很差。"),
        read=_labelled,
    ),
    Application(
        name="classification",
        data="areas.{}.tsv",
        use=use.CLASSIFY,
        texts=("Open a connection to the server and read its answer.", "Wait until all threads have finished."),
        read=_labelled,
    ),
    Application(
        name="translation",
        data="pairs.{}.tsv",
        share=0.19,
        use=use.TRANSLATE,
        texts=("My sister is reading a book in the kitchen.", "We will go to school tomorrow."),
        read=_translated,
    ),
    Application(
        name="span_qa",
        data="questions.{}.jsonl",
        start="bert",
        share=0.16,
        base=True,
        use=use.ASK,
        texts=(
            "What does shutil.copyfile do?",
            "What is the default of prefix in tempfile.mkdtemp?",
            "textwrap.dedent 的作用是什么？",
        ),
        read=_answered,
    ),
    Application(
        name="generation",
        data="descriptions.{}.jsonl",
        start="gpt2",
        share=0.08,
        use=generate.COMMAND,
        texts=("def open_file(name, mode)", "def parse_date(string)", "def close()"),
        how=("--temperature", "0"),
        read=_written,
    ),
)

NEXT = (
    "trifold pretrain --data BOOK.txt --minutes 5 --out runs/book",
    "trifold finetune sentiment --train REVIEWS.csv --out runs/reviews",
    "trifold finetune translation --train PAIRS.csv --minutes 25 --out runs/translator",
    "trifold index build NOTES --out kb",
    "trifold ask --kb kb QUESTION",
)
"""What to try next on text of one's own."""

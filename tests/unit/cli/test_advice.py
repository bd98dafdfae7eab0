"""What a message advises is understood by every command in which the message can appear."""

import re
from collections.abc import Iterator

import pytest

from trifold import task_kinds
from trifold.cli import finetune, tuned
from trifold.cli.console import Console
from trifold.cli.experiment import build_experiment
from trifold.cli.main import COMMANDS
from trifold.cli.option import COMMON, Command, Option, label
from trifold.cli.parse import parse
from trifold.errors import TrifoldError
from trifold.locale import catalogue

NAMES = {command.name: command for command in COMMANDS}
TUNING = ("finetune", "sweep", "compare-families")
CORPORA = ("pretrain", "plan", "tokenizer train", "tokenizer report", "evaluate")
TEXTS = ("classify", "translate", "ask", "generate", "fill-mask", "restore")
USE = ("classify", "translate", "ask", "generate")
ROWS = (*TUNING, "evaluate", "compare", *USE)
WHERE = {
    "data": (*CORPORA, *ROWS, "index build", "index add"), "data.no_piece": ("pretrain",), "data.too_long": ("pretrain",),
    "data.no_column": CORPORA, "data.told_unused": CORPORA,
    "task.template_refuses": ("finetune",), "task.cannot_enlarge": ("finetune",), "task.no_chat_template": ("finetune",),
    "text.template_answers": ("finetune",), "data.other_text": ("pretrain",),
    "task": ROWS, "task.no_group": TUNING, "task.no_rows": TUNING, "task.too_few": TUNING, "task.few_judged": TUNING,
    "task.not_fine_tuned": ("finetune",), "task.several_labels": TUNING, "task.perhaps_several_labels": TUNING,
    "task.other_scheme": TUNING, "task.note_numbered_tags": TUNING, "task.texts_cut": TUNING, "task.vector_names": TUNING,
    "task.note_verbatim": ("finetune",),
    "cli.stage_linear": ("finetune",), "cli.judged_on_dev": ("finetune",),
    "task.note_separator": TUNING, "task.note_vectors": TUNING, "task.scores_and_negatives": TUNING,
    "task.two_readings": TUNING, "task.one_score": TUNING, "task.no_scores": TUNING,
    "training.cannot_halve": ("pretrain",), "training.not_in_parts": ("pretrain",),
    "training": ("pretrain", "finetune"), "checkpoint": ("pretrain", "finetune"), "evaluation": ("pretrain",),
    "objective": ("pretrain",), "retrieval.none": ("index build",), "retrieval.no_vectors": ("index build",),
    "text": (*CORPORA[:1], CORPORA[2]), "text.template": ("finetune",), "presets": ("finetune",),
    "generation": ("generate",), "config": tuple(NAMES), "doctor.no_room": ("drill",),
    "doctor": ("pretrain",), "cli": tuple(NAMES), "cli.seeds_alone": ("finetune",),
    "cli.interrupted": ("pretrain", "finetune"),
    "cli.bad_override": ("pretrain", *TUNING), "cli.half_pair": CORPORA, "cli.other_processes": ("pretrain",),
    "cli.same_answers": ("generate",), "cli.no_texts": TEXTS, "cli.text_is_file": TEXTS,
    "cli.words_joined": TEXTS, "cli.nothing_to_vary": ("sweep",), "cli.held_out_chose": ("evaluate",),
    "cli.best_trial": ("finetune",),
    "cli.never_silent": ("ask",), "cli.still_falling": ("finetune",),
    "cli.prompt_cut": ("generate",), "cli.unweighed": ("index search", "ask"),
    "cli.family_chosen": ("finetune", "sweep"), "cli.family_for_pairs": ("finetune", "sweep"),
    "cli.family_beside_words": ("finetune", "sweep"), "cli.out_chosen": ("pretrain", *TUNING),
    "cli.out_of_memory": ("pretrain",),
}  # fmt: skip
"""The commands in which messages of an area, or one of them, can appear."""
OPTION = re.compile(r"--([a-z][a-z0-9_-]*(?:\.[a-z0-9_]+)*)(?: (skip|replace|true|fsdp))?")
SETTING = re.compile(
    r"(?<![\w.-])((?:data|task|training|tokenizer|model|lora)\.[a-z_{}]+(?:\.[a-z_{}]+)*)(=[^\s,;)，。；、（）]*)?"
)
FILES = {"task.json", "tokenizer.json", "model.safetensors"}
GIVEN = {"finetune": ["KIND", "--model", "bert", "--train", "a.csv", "--out", "r"],
         "sweep": ["KIND", "--model", "bert", "--train", "a.csv", "--out", "r"],
         "compare-families": ["a.csv", "--out", "r"],
         "pretrain": ["--preset", "gpt2", "--data", __file__, "--steps", "1", "--out", "r"],
         "plan": ["--preset", "gpt2", "--data", __file__, "--steps", "1"], "tokenizer train": ["a.txt", "--out", "t"],
         "tokenizer report": ["a.txt", "--tokenizer", "t"], "evaluate": ["r", "--data", "a.csv"],
         "compare": ["r", "s", "--data", "a.csv"], "index build": ["a", "--out", "k"], "index add": ["k", "a"],
         "index search": ["k", "q"], "ask": ["r", "q"]}  # fmt: skip
SAID = {"label_as": "text",
        "label_names": '["a", "b"]', "scheme": "bio", "chat_template": "default", "group": "text", "label_separator": ";",
        "training.on_full_disk": "go_on", "training.dtype": "float32", "training.on_bad_step": "skip",
        "training.compile": "false", "training.tensorboard": "false", "training.gradient_checkpointing": "true",
        "training.spike": "3.0", "vocab-size": "400", "data.valid_fraction": "0.1", "encoding": "gbk"}  # fmt: skip
"""What to give the options and settings that do not take any value."""
BESIDE = {"task.label_separator": ["task.multi_label=true"]}
KINDS = tuple(task_kinds.KINDS)
UNDERSTOOD = ("cli.missing_option", "data.no_such_path")
"""What is said once the options have been read: there is no `a.csv`, which a translator is fitted to."""


def advice(language: str) -> Iterator[tuple[str, str]]:
    """The messages, by key, that say what to do next."""
    for area, entries in catalogue(language).items():
        for name, text in entries.items():
            if not name.startswith(("option_", "about_", "example_", "more_", "plan_", "overrides")):
                yield f"{area}.{name}", text


def words_in(text: str, command: Command) -> list[list[str]]:
    """The options and settings that a message names, as a person would type them."""
    options = {label(option): option for option in (*command.options, *COMMON)}
    found = []
    for name, value in OPTION.findall(text):
        option = options.get(f"--{name}")
        flag = option is not None and option.kind == "flag"
        found.append([f"--{name}", *([] if flag else [value or SAID.get(name, value_for(option))])])
    for path, value in SETTING.findall(OPTION.sub("", text)):
        name = path.rstrip(".").replace("{role}", "text")
        said = value.strip(".=").replace("{joined}", "a+b").replace("{one}", "a")
        said = said if "{" not in said and said else SAID.get(name.rpartition(".")[2], "")
        if name not in FILES and "{" not in name and (said or name.startswith("data.columns")):
            found.append([f"{name}={said}", *BESIDE.get(name, ())])
    return found


def value_for(option: Option | None) -> str:
    if option is None or option.kind in ("integer", "number"):
        return "1"
    return option.choices[-1] if option.choices else "a=1"


def refused(command: Command, words: list[str]) -> str:
    """What the command says against these words, for every kind of task that it could be given; nothing otherwise."""
    said = ""
    for kind in KINDS if words[0].startswith("task.") else KINDS[:1]:
        said = ""
        try:
            understand(command, words, kind)
        except TrifoldError as error:
            said = "" if error.code in UNDERSTOOD else str(error)
        if not said:
            return ""
    return said


def understand(command: Command, words: list[str], kind: str) -> None:
    given = [kind if word == "KIND" else word for word in GIVEN.get(command.name, [])]
    request = parse(command, [*given, *words], Console())
    if not request.overrides:
        return
    if command.name in ("finetune", "sweep"):
        finetune.build(request)
    elif command.name in ("pretrain", "plan"):
        build_experiment(request)
    elif command.name != "compare-families":
        tuned.reading_of(request)


@pytest.mark.parametrize("language", ["en", "zh"])
def test_every_option_that_a_message_names_is_understood_where_the_message_appears(language):
    wrong, tried = [], 0
    for key, text in advice(language):
        for where in WHERE.get(key, WHERE.get(key.partition(".")[0], ())):
            for words in words_in(text, NAMES[where]):
                tried += 1
                problem = refused(NAMES[where], words)
                wrong += [f"{key} advises {' '.join(words)}, but {where}: {problem}"] if problem else []
    assert not wrong, "\n".join(wrong)
    assert tried > 300


@pytest.mark.parametrize("word", ["patience=3", "--patience=3", "freeze=4", "data.columns.prompt=query", "epochs=2",
                                  "lora=8", "lora.rank=8", "data.on_error=skip", "training.layer_decay=0.9",
                                  "data.columns.input=",
                                  "data.columns.prompt=1", "model.overrides.dropout=0.1", "metric=loss"])  # fmt: skip
def test_settings_are_understood_as_the_documents_write_them(word):
    for where in ("finetune", "sweep"):
        understand(NAMES[where], [word], "generation")


@pytest.mark.parametrize(
    ("kind", "told", "not_told"),
    [("translation", "from its pairs", "pretrain"), ("sentiment", "linear model", "pretrain"),
     ("regression", "linear model", "pretrain"), ("tagging", "trifold pretrain", "pairs"),
     ("sentiment task.ngrams=0", "trifold pretrain", "linear")],
)  # fmt: skip
def test_a_start_without_a_model_is_told_as_it_is_for_the_task(tmp_path, capsys, kind, told, not_told):
    data = tmp_path / "a.tsv"
    data.write_text("en\tde\n" + "a dog\tein Hund\n" * 5, encoding="utf-8")
    finetune.build(parse(NAMES["finetune"], [*kind.split(), "--train", str(data), "--out", "r"], Console()))
    said = capsys.readouterr().err.splitlines()[0]
    assert told in said and not_told not in said

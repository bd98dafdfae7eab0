"""The front end: every failure is one line and an exit code, every mistake names what would be right."""

import errno
import io
import json
import subprocess
import sys

import pytest

from trifold.cli import main as front
from trifold.cli.console import Console, Progress
from trifold.cli.help import columns
from trifold.cli.option import Command, Option
from trifold.errors import DataError, PreemptedError
from trifold.locale import catalogue, message


def call(capsys, *words: object) -> tuple[int, str, str]:
    code = front.main([str(word) for word in words])
    said = capsys.readouterr()
    return code, said.out, said.err


@pytest.fixture
def failing(monkeypatch):
    """A command `work` that raises what it is given; its options are one number and some colours."""

    def take(error: BaseException | None, **more) -> None:
        def run(request):
            if error is not None:
                raise error
            return {"values": {name: getattr(request.values, name) for name in ("size", "colour", "training")},
                    "overrides": request.overrides}  # fmt: skip

        options = (
            Option(name="size", kind="integer", low=1, high=9, help="option_size"),
            Option(name="colour", choices=("red", "green"), many=True, help="option_size"),
            Option(name="training", kind="number", above=0, help="option_size"),
        )
        monkeypatch.setattr(front, "COMMANDS", (Command(name="work", options=options, run=run, **more),))

    return take


@pytest.mark.parametrize(
    ("error", "code", "said"),
    [
        (DataError("data.corpus_empty", path="a.txt"), 3, "[data.corpus_empty]"),
        (OSError(errno.ENOSPC, "no room", "a.bin"), 5, "a.bin"),
        (FileNotFoundError(errno.ENOENT, "not there", "b.bin"), 3, "b.bin"),
        (PermissionError(errno.EACCES, "no entry", "c.bin"), 3, "c.bin"),
        (OSError(errno.ECONNREFUSED, "refused"), 1, "refused"),
        (OSError("strange"), 1, "strange"),
        (MemoryError(), 2, "[cli.out_of_memory]"),
        (ZeroDivisionError("by\nnought"), 1, "ZeroDivisionError: by"),
        (KeyboardInterrupt(), 130, ""),
    ],
)
def test_a_failure_is_one_line_and_an_exit_code(capsys, failing, error, code, said):
    failing(error)
    assert call(capsys, "work")[0] == code
    found, out, err = call(capsys, "work", "--json")
    assert (found, out, err.count("\n")) == (code, "", 1)
    assert said in err and "Traceback" not in err
    if not isinstance(error, KeyboardInterrupt):
        assert "Traceback" in call(capsys, "work", "--debug")[2]


def test_what_another_process_has_told_is_not_told_again(capsys, failing):
    error = PreemptedError("training.preempted", signal="SIGTERM", step=3)
    error.told = True
    failing(error)
    assert call(capsys, "work") == (75, "", "")


def test_a_reader_that_goes_away_is_no_failure_to_tell():
    script = "import sys; from trifold.cli.main import main; sys.exit(main(['--help']))"
    with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, stderr=subprocess.PIPE) as child:
        child.stdout.close()
        assert child.stderr.read() == b""
        assert child.wait() == 141


def test_help_is_asked_for_in_many_ways(capsys):
    shown = call(capsys, "--help")
    assert shown[0] == 0 and "pretrain" in shown[1]
    assert call(capsys) == (2, shown[1], "")
    for words in (("pretrain", "--help"), ("pretrain", "--data", "x", "-h")):
        code, out, _ = call(capsys, *words)
        assert code == 0 and "--data" in out
    assert call(capsys, "--version")[1].strip() == call(capsys, "version")[1].strip() != ""


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("wrok",), "work"),
        (("work", "--siez", "3"), "--size"),
        (("work", "--size"), "--size"),
        (("work", "--size", "3.5"), "integer"),
        (("work", "--size", "12"), "<= 9"),
        (("work", "--training", "nan"), "> 0"),
        (("work", "--colour", "gren"), "green"),
        (("work", "--place.a", "1"), "place"),
        (("work", "--config", "nowhere.yaml"), "nowhere.yaml"),
        (("work", "--config", "a.ini"), ".toml"),
    ],
)
def test_a_mistake_on_the_command_line_names_what_would_be_right(capsys, failing, words, said):
    failing(None)
    code, out, err = call(capsys, *words)
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert said in err


def test_dotted_settings_need_a_section_of_the_command_and_a_value(capsys, failing):
    failing(None, sections=("training",))
    code, out, _ = call(capsys, "work", "--training.seed", 3, "training.lr=0.1", "--training.a.b=c", "--json")
    assert code == 0
    assert json.loads(out)["overrides"] == {"training.seed": "3", "training.lr": "0.1", "training.a.b": "c"}
    assert "--training.seed" in call(capsys, "work", "--training.seed")[2]
    assert "training." in call(capsys, "work", "--trainin.seed=3")[2]


@pytest.mark.parametrize(
    ("name", "text"),
    [("a.yaml", "size: 3\ncolour: [red]\ntraining:\n"), ("a.toml", 'size = 3\ncolour = ["red"]\n'),
     ("a.json", '{"size": 3, "colour": ["red"]}')],
)  # fmt: skip
def test_a_configuration_file_sets_options_and_the_command_line_wins(tmp_path, capsys, failing, name, text):
    failing(None)
    (tmp_path / name).write_text(text)
    read = lambda *words: json.loads(call(capsys, "work", "--config", tmp_path / name, "--json", *words)[1])["values"]
    assert read() == {"size": 3, "colour": ["red"], "training": None}
    assert read("--size", "5")["size"] == 5


@pytest.mark.parametrize(
    ("text", "said"),
    [("siez: 3", "size"), ("[1]", "mapping"), ("a: [", "YAML"), ("size: x", "integer"), ("size: true", "integer")],
)
def test_a_mistake_in_a_configuration_file_is_named(tmp_path, capsys, failing, text, said):
    failing(None)
    (tmp_path / "a.yaml").write_text(text)
    code, _, err = call(capsys, "work", "--config", tmp_path / "a.yaml")
    assert code == 2 and said in err and "Traceback" not in err
    assert "a.yaml" in err or "--size" in err


class Terminal(io.StringIO):
    def isatty(self):
        return True


def test_a_terminal_sees_a_bar_with_lines_above_it_and_colours_unless_it_wants_none(monkeypatch):
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.delenv("NO_COLOR", raising=False)
    err = Terminal()
    with Progress(Console(err=err), "train") as progress:
        progress.update(0.5, "step [5]")
        progress.note("a line")
        progress.update(7.0, "beyond the end")
    drawn = err.getvalue()
    assert "train" in drawn and "a line" in drawn and "100 %" in drawn and "beyond the end" in drawn
    Console(err=err).fail("bad", "a.b")
    assert "\x1b[31m" in err.getvalue()
    monkeypatch.setenv("NO_COLOR", "1")
    plain = Terminal()
    Console(err=plain).fail("bad", "a.b")
    assert "\x1b[" not in plain.getvalue()


def test_where_nothing_can_be_drawn_notes_are_lines():
    err = io.StringIO()
    with Progress(Console(err=err), "train", every=1e6) as progress:
        progress.update(0.5, "too early to say")
        progress.note("a line")
    assert err.getvalue() == "a line\n"


def test_results_hold_only_what_json_knows():
    out = io.StringIO()
    Console(as_json=True, out=out).result({"a": float("nan"), "b": (1, None), 3: {"c": Console}})
    assert json.loads(out.getvalue()) == {"a": None, "b": [1, None], "3": {"c": str(Console)}}


def test_env_shows_the_machine_the_same_way_to_people_and_programs(capsys):
    code, out, _ = call(capsys, "env", "--json")
    facts = json.loads(out)
    assert code == 0 and {"trifold", "torch", "cores", "attention", "decoding"} <= facts.keys()
    shown = call(capsys, "env")[1]
    assert all(name in shown for name in facts)
    assert facts["trifold"] in shown


@pytest.mark.parametrize("variable", ["TRIFOLD_LANG", "LC_ALL", "LANG"])
def test_the_language_is_that_of_the_first_variable_that_is_set(capsys, failing, monkeypatch, variable):
    for name in ("TRIFOLD_LANG", "LC_ALL", "LC_MESSAGES", "LANG"):
        monkeypatch.delenv(name, raising=False)
    failing(DataError("data.corpus_empty", path="a.txt"))
    assert "错误" not in call(capsys, "work")[2]
    monkeypatch.setenv(variable, "zh_CN.UTF-8")
    assert catalogue("zh")["cli"]["error"] in call(capsys, "work")[2]


def test_the_width_of_help_follows_the_terminal(capsys, monkeypatch):
    shown = {}
    for width in ("60", "200", "wide"):
        monkeypatch.setenv("COLUMNS", width)
        shown[width] = call(capsys, "generate", "--help")[1].splitlines()
    assert len(shown["60"]) > len(shown["wide"]) >= len(shown["200"])


@pytest.mark.parametrize("language", ["en", "zh"])
def test_the_overview_has_one_line_a_command_in_a_terminal_of_eighty_columns(language, monkeypatch, capsys):
    monkeypatch.setenv("TRIFOLD_LANG", language)
    monkeypatch.setenv("COLUMNS", "80")
    _, page, _ = call(capsys, "--help")
    assert max(map(columns, page.splitlines())) <= 80
    for name, group in front.GROUPS.items():
        heading = message(f"cli.commands_{name}")
        block = page.split(f"\n{heading}:\n")[1].split("\n\n")[0].splitlines()
        assert [line[:26].strip() for line in block] == [command.name for command in group]
        assert all(line[26:].strip() for line in block)

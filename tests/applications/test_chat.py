"""Conversations from file to talk: tuned on, opened by transformers, talked with, and asked in files."""

import io
import json
import shutil
import sys

import pytest

from trifold.cli.main import main
from trifold.presets.pretrained import Transformer
from trifold.tasks import load
from trifold.tasks.conversation import Turn
from trifold.text import train_tokenizer

SMALL = ("--overrides", "num_layers=1", "d_model=32", "num_heads=2", "--vocab-size", 330)
COLOURS, THINGS = ("red", "blue", "pink", "green"), ("cup", "boat", "cat", "car", "杯子")


def call(capsys, *words):
    code = main([str(word) for word in words])
    said = capsys.readouterr()
    return code, said.out, said.err


def talk(monkeypatch, capsys, text, *words):
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(text.encode())))
    return call(capsys, "chat", *words)


def conversations():
    for colour in COLOURS:
        for thing in THINGS:
            asked, answered = f"colour of {colour} {thing}?", f"{colour}"
            yield {"messages": [{"role": "system", "content": "Be short"}, {"role": "user", "content": asked},
                                {"role": "assistant", "content": answered}, {"role": "user", "content": "And again?"},
                                {"role": "assistant", "content": answered}]}  # fmt: skip


@pytest.fixture(scope="module", params=["gpt2", "t5"])
def run(request, tmp_path_factory):
    folder = tmp_path_factory.mktemp("chat")
    train = folder / "train.jsonl"
    train.write_text("\n".join(json.dumps(one, ensure_ascii=False) for one in conversations()), encoding="utf-8")
    words = ["finetune", "generation", "--model", request.param, *SMALL, "--train", train, "--epochs", 4, "--lr", "4e-3",
             "--batch-size", 8, "--out", folder / "run", "task.max_length=128"]  # fmt: skip
    assert main([str(word) for word in words]) == 0
    return folder / "run"


def test_transformers_lays_the_run_s_conversations_out_as_they_were_trained(run):
    from transformers import AutoTokenizer

    tuned, theirs = load(run), AutoTokenizer.from_pretrained(run)
    turns = [Turn("system", "Be short"), Turn("user", "colour of red 杯子?"), Turn("assistant", "red")]
    messages = [turn.message() for turn in turns]
    (laid,) = tuned.task.format.lay([turns])
    assert theirs.apply_chat_template(messages, return_dict=True)["input_ids"] == laid.ids.tolist()
    asked = theirs.apply_chat_template(messages[:2], add_generation_prompt=True, return_dict=True)["input_ids"]
    assert tuned.task.format.prompt(turns[:2]) == asked


def test_a_line_in_is_an_answer_out_and_what_was_said_is_kept_until_it_is_reset(run, monkeypatch, capsys):
    lines = "colour of red cup?\n\nAnd again?\n/reset\ncolour of 杯子?\n/quit\nnever\n"
    code, out, err = talk(
        monkeypatch, capsys, lines, run, "--temperature", 0, "--max-tokens", 6, "--json", "--system", "Be short"
    )
    assert code == 0, err
    said = [json.loads(line) for line in out.splitlines()]
    assert [one["user"] for one in said] == ["colour of red cup?", "", "And again?", "colour of 杯子?"]
    assert said[1]["assistant"] == "" and "forgotten" in err
    code, plain, _ = talk(
        monkeypatch, capsys, lines, run, "--temperature", 0, "--max-tokens", 6, "--system", "Be short"
    )
    assert code == 0 and [line.strip() for line in plain.splitlines()] == [one["assistant"] for one in said]


def test_a_conversation_that_grows_too_long_drops_its_oldest_turns_and_says_so(run, monkeypatch, capsys):
    lines = "".join(f"colour of the {colour} cup and of the boat?\n" for colour in COLOURS * 2)
    code, out, err = talk(monkeypatch, capsys, lines, run, "--temperature", 0, "--max-tokens", 4, "--json")
    assert code == 0, err
    said = [json.loads(line) for line in out.splitlines()]
    assert len(said) == 8 and said[0]["dropped"] == 0 and sum(one["dropped"] for one in said) > 0
    assert "oldest" in err
    code, out, err = talk(monkeypatch, capsys, "what is it? " * 200 + "red cup?\n", run, "--max-tokens", 4, "--json")
    assert code == 0 and json.loads(out)["cut"] and "middle" in err


def test_a_file_of_conversations_gives_an_answer_a_line_and_a_blank_line_for_nothing(run, tmp_path, capsys):
    alpaca = {"prompt": "colour of", "input": "blue cat?", "history": [["colour of red cup?", "red"]]}
    rows = [
        {"messages": [{"role": "user", "content": "colour of red cup?"}]},
        {"messages": []},
        alpaca,
        {"prompt": " "},
    ]
    file = tmp_path / "asked.jsonl"
    file.write_text("\n".join(json.dumps(row) for row in rows), encoding="utf-8")
    code, out, err = call(capsys, "generate", run, "--input", file, "--temperature", 0, "--max-tokens", 5, "--json")
    assert code == 0, err
    said = json.loads(out)["generations"]
    assert len(said) == 4 and [bool(one["prompt"]) for one in said] == [True, False, True, False]
    assert said[1]["text"] is said[3]["text"] is None and "blue cat?" in said[2]["prompt"]


def test_blank_lines_of_a_text_file_stay_blank(run, tmp_path, capsys):
    file = tmp_path / "asked.txt"
    file.write_text("colour of red cup?\n\ncolour of blue cat?\n", encoding="utf-8")
    code, out, err = call(capsys, "generate", run, "--input", file, "--temperature", 0, "--max-tokens", 1)
    assert code == 0, err
    assert len(out.splitlines()) == 3 and out.splitlines()[1] == ""


def test_a_folder_with_a_chat_template_is_talked_with_and_one_without_is_refused(tmp_path, monkeypatch, capsys):
    tokenizer = train_tokenizer(["hello there 你好"] * 9, kind="byte_bpe", vocab_size=300)
    model = Transformer.from_preset("llama", size="tiny", vocab_size=tokenizer.vocab_size, num_layers=1)
    model.save_pretrained(tmp_path / "bare", tokenizer=tokenizer)
    code, _, err = talk(monkeypatch, capsys, "hello\n", tmp_path / "bare")
    assert code == 2 and "chat template" in err and "finetune generation" in err
    tokenizer.chat_template = "{% for m in messages %}{{ m.role }}: {{ m.content }}\n{% endfor %}{{ 'assistant:' }}"
    model.save_pretrained(tmp_path / "chat", tokenizer=tokenizer)
    code, out, err = talk(
        monkeypatch, capsys, "你好\nhello\n", tmp_path / "chat", "--max-tokens", 3, "--seed", 1, "--json"
    )
    assert code == 0 and len(out.splitlines()) == 2, err
    file = tmp_path / "asked.jsonl"
    file.write_text(json.dumps({"messages": [{"role": "user", "content": "hello"}]}), encoding="utf-8")
    code, out, err = call(capsys, "generate", tmp_path / "chat", "--input", file, "--max-tokens", 3, "--json")
    assert code == 0 and json.loads(out)["generations"][0]["prompt"] == "user: hello\nassistant:", err
    assert json.loads(out)["generations"][0]["prompt_cut"] == 0 and "oldest turns" not in err
    file.write_text(json.dumps({"messages": [{"role": "user", "content": "hello there " * 3000}]}), encoding="utf-8")
    code, out, err = call(capsys, "generate", tmp_path / "chat", "--input", file, "--max-tokens", 3, "--json")
    assert code == 0 and json.loads(out)["generations"][0]["prompt_cut"] > 1000, err
    assert "oldest turns" in err
    tokenizer.chat_template = "{{ messages[0].__class__.__mro__ }}"
    model.save_pretrained(tmp_path / "hostile", tokenizer=tokenizer)
    code, _, err = talk(monkeypatch, capsys, "hello\n", tmp_path / "hostile")
    assert code == 4 and "unsafe" in err and "Traceback" not in err


def test_the_template_of_the_model_to_start_from_is_the_one_that_is_tuned_with(tmp_path, capsys):
    tokenizer = train_tokenizer(["hello there colour of red cup"] * 9, kind="byte_bpe", vocab_size=300)
    tokenizer.chat_template = "{% for m in messages %}<|{{ m.role }}|>{{ m.content }}<|end|>{% endfor %}{% if add_generation_prompt %}<|assistant|>{% endif %}"  # noqa: E501
    model = Transformer.from_preset("gpt2", size="tiny", vocab_size=tokenizer.vocab_size, num_layers=1)
    model.save_pretrained(tmp_path / "base", tokenizer=tokenizer)
    train = tmp_path / "train.jsonl"
    train.write_text(
        "\n".join(json.dumps({"query": f"say {n}", "response": str(n)}) for n in range(40)), encoding="utf-8"
    )
    code, _, err = call(capsys, "finetune", "generation", "--model", tmp_path / "base", "--train", train, "--steps", 1,
                        "--out", tmp_path / "run")  # fmt: skip
    assert code == 0 and "special tokens of the chat template" in err, err
    tuned = load(tmp_path / "run")
    assert tuned.tokenizer.chat_template == tokenizer.chat_template
    assert tuned.model.config.vocab_size == tuned.tokenizer.vocab_size > tokenizer.vocab_size
    assert tuned.tokenizer.token_to_id("<|end|>") in tuned.task.format.ends
    prompt = tuned.task.format.prompt([Turn("user", "x")])
    assert (
        tuned.tokenizer.id_to_token(prompt[0]) == "<|user|>"
        and tuned.tokenizer.id_to_token(prompt[-1]) == "<|assistant|>"
    )


def test_what_the_folder_says_of_generation_holds_in_talking_and_in_answering(run, tmp_path, monkeypatch, capsys):
    folder = shutil.copytree(run, tmp_path / "run")
    tokenizer = load(run).tokenizer
    (letter,) = tokenizer.encode("q").ids.tolist()
    never = [one for one in range(tokenizer.vocab_size) if one != letter]
    told = json.loads((folder / "generation_config.json").read_text(encoding="utf-8"))
    more = {"do_sample": True, "temperature": 0.5, "suppress_tokens": never, "typical_p": 0.9, "max_new_tokens": 3}
    (folder / "generation_config.json").write_text(json.dumps(told | more), encoding="utf-8")
    for code, out, err in (talk(monkeypatch, capsys, "hello\n", folder), call(capsys, "generate", folder, "hello")):
        assert code == 0, err
        assert out.strip() == "qqq"
        assert "temperature=0.5" in err and "typical_p" in err
    ended = told | more | {"eos_token_id": [letter]}
    (folder / "generation_config.json").write_text(json.dumps(ended), encoding="utf-8")
    for _, out, _ in (talk(monkeypatch, capsys, "hello\n", folder), call(capsys, "generate", folder, "hello")):
        assert out.strip() == ""

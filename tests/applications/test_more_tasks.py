"""Fine-tuning beyond one label and one seed, and what a tuned or a foreign folder can be asked."""

import json

import pytest

from tests.applications.test_runs import call, write_text
from tests.applications.test_tasks import SMALL, sentences, write_table
from trifold.presets.pretrained import Transformer
from trifold.text import train_tokenizer


@pytest.fixture
def table(tmp_path):
    return write_table(tmp_path / "train.tsv", "sentence\tlabel", sentences(120, 0))


def test_several_seeds_give_their_mean_and_how_far_it_may_be_off(tmp_path, table, capsys):
    code, out, err = call(capsys, "finetune", "classification", "--model", "bert", *SMALL, "--train", table, "--out",
                          tmp_path / "runs", "--steps", 4, "--seeds", 2, "task.class_weights=balanced",
                          "task.pooling=mean", "--json")  # fmt: skip
    assert code == 0, err
    found = json.loads(out)
    values = [one["metrics"]["accuracy"]["value"] for one in found["runs"]]
    told = found["seeds"]["accuracy"]
    assert told["seeds"] == 2 and told["mean"] == pytest.approx(sum(values) / 2)
    assert told["low"] <= told["mean"] <= told["high"]
    assert [path.name for path in sorted((tmp_path / "runs").iterdir())] == ["seed-0", "seed-1"]


def test_texts_with_several_labels_are_learned_from_lists_and_from_columns(tmp_path, capsys):
    rows = [{"text": f"{a} {b} {turn}", "label": [name for name in (a, b) if name != "none"]}
            for turn in range(40) for a in ("red", "none") for b in ("round", "none")]  # fmt: skip
    train = tmp_path / "train.jsonl"
    train.write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    test = write_table(tmp_path / "test.tsv", "text\tlabel", [("red round", "red | round"), ("none none", "")] * 5)
    run = tmp_path / "run"
    code, out, err = call(capsys, "finetune", "classification", "--model", "bert", *SMALL, "--train", train, "--test", test,
                          "--out", run, "--epochs", 30, "task.multi_label=true", "--json")  # fmt: skip
    assert code == 0, err
    judged = json.loads(out)["judgement"]
    assert (
        judged["metrics"]["micro_f1"]["value"]
        == judged["baselines"]["tfidf_logistic_regression"]["micro_f1"]["value"]
        == 1
    )
    assert judged["baselines"]["majority"]["micro_f1"]["value"] < 1 and not judged["worst"]
    code, out, err = call(capsys, "classify", run, "red none", "none round", "--json")
    assert code == 0, err
    assert json.dumps(json.loads(out)).count("red") >= 1
    code, out, _ = call(capsys, "report", run, "--json")
    assert code == 0 and "report" in json.loads(out)["pages"][0]


@pytest.mark.parametrize(("pooling", "preset"), [("last", "bert"), ("first", "gpt2")])
def test_a_place_that_a_family_cannot_answer_from_is_refused(tmp_path, table, capsys, pooling, preset):
    code, _, err = call(capsys, "finetune", "classification", "--model", preset, *SMALL, "--train", table, "--out",
                        tmp_path / "run", "--steps", 1, f"task.pooling={pooling}")  # fmt: skip
    assert code == 2 and "task.pooling" in err


@pytest.mark.parametrize("preset", ["bert", "gpt2"])
def test_a_tuned_run_sees_in_use_what_it_saw_in_training(tmp_path, table, capsys, preset):
    run = tmp_path / "run"
    assert call(capsys, "finetune", "classification", "--model", preset, *SMALL, "--train", table, "--out", run, "--steps",
                2)[0] == 0  # fmt: skip
    code, out, err = call(capsys, "doctor", run, "--only", "template", "--json")
    assert code == 0, err
    (check,) = json.loads(out)["checks"]
    assert (check["name"], check["passed"]) == ("template", True)


@pytest.mark.parametrize("preset", ["gpt2", "bert", "t5"])
def test_a_folder_that_is_no_run_is_evaluated_as_its_family_was_published(tmp_path, capsys, preset):
    text = write_text(tmp_path / "text.txt", 40)
    tokenizer = train_tokenizer([text.read_text(encoding="utf-8")], kind="character", vocab_size=160)
    model = Transformer.from_preset(preset, size="tiny", vocab_size=tokenizer.vocab_size, num_layers=1)
    model.save_pretrained(tmp_path / "model", tokenizer=tokenizer)
    code, out, err = call(capsys, "evaluate", tmp_path / "model", "--data", text, "--document", "line", "--json")
    assert code == 0, err
    assert json.loads(out)["bits_per_byte"] > 1


def test_a_model_without_a_tokenizer_is_converted_with_a_warning_and_nothing_is_written_over(tmp_path, capsys):
    Transformer.from_preset("gpt2", size="tiny", vocab_size=61, num_layers=1).save_pretrained(tmp_path / "model")
    code, _, err = call(capsys, "convert", tmp_path / "model", tmp_path / "copy")
    assert code == 0 and "warning" in err and "tokenizer" in err
    code, _, err = call(capsys, "convert", tmp_path / "model", tmp_path / "copy")
    assert code == 2 and "copy" in err

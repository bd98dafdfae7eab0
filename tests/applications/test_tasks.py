"""The tasks through the command line: fine-tuned on words that can be learned, used, judged, compared and refused."""

import contextlib
import io
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from trifold.cli.main import main
from trifold.tasks import load
from trifold.text import Tokenizer

GOOD, BAD = "good fine great lovely 好 棒".split(), "bad poor awful dull 差 坏".split()
FILL = "the film was and it is a story 这 部 电影".split()


def call(capsys, *words: object) -> tuple[int, str, str]:
    code = main([str(word) for word in words])
    said = capsys.readouterr()
    return code, said.out, said.err


def sentences(count: int, seed: int) -> list[tuple[str, str]]:
    dice = np.random.default_rng(seed)
    rows = []
    for _ in range(count):
        label = int(dice.integers(2))
        words = [*dice.choice(FILL, dice.integers(2, 9)), dice.choice((BAD, GOOD)[label])]
        dice.shuffle(words)
        rows.append((" ".join(words), ("negative", "positive")[label]))
    return rows


def write_table(path: Path, header: str, rows: list[tuple[str, ...]]) -> Path:
    path.write_text("\n".join([header, *("\t".join(row) for row in rows)]) + "\n", encoding="utf-8")
    return path


@pytest.fixture
def reviews(tmp_path: Path) -> tuple[Path, Path]:
    return (
        write_table(tmp_path / "train.tsv", "sentence\tlabel", sentences(300, 0)),
        write_table(tmp_path / "test.tsv", "sentence\tlabel", sentences(80, 1)),
    )


SMALL = ("--overrides", "num_layers=2", "d_model=32", "num_heads=2", "--vocab-size", 420, "--lr", 3e-3)
QUICK = ("--overrides", "num_layers=1", "d_model=32", "num_heads=2", "--vocab-size", 420)
"""For what one layer learns in fewer steps, with a learning rate of its own."""


@pytest.mark.parametrize("preset", ["bert", "gpt2", "vaswani"])
def test_each_family_learns_sentiment_and_says_how_sure_it_is(tmp_path, reviews, capsys, preset):
    train, test = reviews
    run = tmp_path / "run"
    code, out, err = call(capsys, "finetune", "sentiment", "--model", preset, *QUICK, "--lr", 6e-3, "--train", train,
                          "--test", test, "--out", run, "--epochs", 7, "--batch-size", 16, "--json")  # fmt: skip
    assert code == 0, err
    judged = json.loads(out)["judgement"]
    one = judged["metrics"]["accuracy"]
    assert one["value"] >= 0.9 and one["low"] <= one["value"] <= one["high"] and one["n"] == 80
    assert judged["baselines"]["majority"]["accuracy"]["value"] < 0.7
    assert {"tfidf_logistic_regression"} <= judged["baselines"].keys() and judged["split"] == "test"
    assert judged["verdict"]["baseline"] == "tfidf_logistic_regression" and judged["verdict"]["told"] in (
        "even",
        "better",
    )
    page = (run / "report.html").read_text(encoding="utf-8")
    assert page.count("<svg") == 4 and "TF-IDF, logistic regression" in page and "http" not in page
    assert "| most frequent label |" in (run / "report.md").read_text(encoding="utf-8")
    for precision in ("float32", "bfloat16", "int8"):
        words = ("classify", run, "a good story", "这 部 电影 差", "--precision", precision, "--json")
        code, out, err = call(capsys, *words)
        assert code == 0 and [one["answer"] for one in json.loads(out)["answers"]] == ["positive", "negative"], err
    code, out, _ = call(capsys, "evaluate", run, "--data", test, "--json")
    assert code == 0 and json.loads(out)["metrics"]["accuracy"]["value"] == one["value"]


def test_lora_trains_few_weights_merges_them_and_can_be_compared(tmp_path, reviews, capsys):
    train, test = reviews
    words = [
        "finetune",
        "classification",
        "--model",
        "bert",
        *SMALL,
        "--train",
        train,
        "--test",
        test,
        "--batch-size",
        16,
    ]
    code, out, _ = call(capsys, *words, "--out", tmp_path / "whole", "--epochs", 6, "task.ngrams=0")
    assert code == 0 and "best of the baselines" in out and str(tmp_path / "whole" / "report.html") in out
    code, out, err = call(capsys, "finetune", "classification", "--model", tmp_path / "whole", "--train", train,
                          "--test", test, "--out", tmp_path / "lora", "--lora", 4, "--epochs", 2, "--json")  # fmt: skip
    assert code == 0, err
    assert json.loads(out)["trained_parameters"] < 10_000
    one, other = (load(tmp_path / name).model for name in ("whole", "lora"))
    same = dict(one.named_parameters())
    assert dict(other.named_parameters()).keys() == same.keys(), "adapters are merged"
    moved = {name for name, value in other.named_parameters() if not torch.equal(value, same[name])}
    assert any("q_proj.weight" in name for name in moved)
    assert not any("embedding" in name or "norm" in name for name in moved)
    code, out, _ = call(capsys, "compare", tmp_path / "whole", tmp_path / "lora", "--data", test, "--json")
    assert code == 0 and 0 <= json.loads(out)["mcnemar"]["p"] <= 1


def test_a1_fine_tuning_that_stops_and_goes_on_is_the_run_that_never_stopped(tmp_path, reviews, capsys):
    from trifold.tasks.experiment import FineTuning
    from trifold.tasks.finetune import finetune
    from trifold.training import read_experiment

    words = [
        "finetune",
        "sentiment",
        "--model",
        "gpt2",
        *SMALL,
        "--train",
        reviews[0],
        "--batch-size",
        16,
        "--steps",
        24,
    ]
    settings = ("training.checkpoint_every=8", "training.evaluate_every=6")
    assert call(capsys, *words, "--out", tmp_path / "whole", *settings)[0] == 0
    experiment = read_experiment(tmp_path / "whole", FineTuning)

    class Stop(Exception):
        pass

    def stop(event):
        if event.step is not None and event.step.step == 13:
            raise Stop

    with pytest.raises(Stop):
        finetune(experiment, tmp_path / "parts", listen=stop)
    finetune(experiment, tmp_path / "parts", resume=True)
    one, two = (load(tmp_path / name).model.state_dict() for name in ("whole", "parts"))
    assert one.keys() == two.keys() and all(torch.equal(one[name], two[name]) for name in one)


def test_tagging_learns_entities(tmp_path, capsys):
    dice = np.random.default_rng(0)
    rows = []
    for _ in range(300):
        words, tags = [], []
        for _ in range(dice.integers(2, 6)):
            kind = dice.integers(3)
            words += [["lives", "in"], ["Anna", "Meyer"], ["Berlin"]][kind]
            tags += [["O", "O"], ["B-PER", "I-PER"], ["B-LOC"]][kind]
        rows.append(json.dumps({"tokens": words, "tags": tags}))
    (tmp_path / "train.jsonl").write_text("\n".join(rows), encoding="utf-8")
    code, out, err = call(capsys, "finetune", "tagging", "--model", "bert", *SMALL, "--train", tmp_path / "train.jsonl",
                          "--out", tmp_path / "run", "--epochs", 6, "--batch-size", 16, "--json")  # fmt: skip
    assert code == 0, err
    assert json.loads(out)["judgement"]["metrics"]["entity_f1"]["value"] > 0.95
    assert Tokenizer.from_pretrained(tmp_path / "run").kind == "wordpiece" and "pipeline joins" not in err
    code, out, _ = call(capsys, "classify", tmp_path / "run", "Anna Meyer lives in Berlin", "--json")
    assert json.loads(out)["answers"][0]["answer"] == ["B-PER", "I-PER", "O", "O", "B-LOC"]
    code, _, err = call(capsys, "finetune", "tagging", "--model", "bert", *SMALL, "--train", tmp_path / "train.jsonl",
                        "--out", tmp_path / "bytes", "--steps", 1, "--tokenizer.kind", "byte_bpe")  # fmt: skip
    assert code == 0 and "pipeline joins" in err, err


@pytest.mark.parametrize(
    ("preset", "size", "epochs"), [("bert", SMALL, 40), ("t5", (*QUICK, "--lr", 1e-2), 10)],
    ids=["bert", "t5"],
)  # fmt: skip
def test_span_qa_finds_the_place_and_beats_the_window(tmp_path, capsys, preset, size, epochs):
    dice = np.random.default_rng(0)
    rows = []
    kinds = {"who": ["anna", "otto", "ida", "max"], "where": ["rome", "paris", "oslo", "kiel"]}
    for number in range(400):
        who, where = (str(dice.choice(names)) for names in kinds.values())
        context = f"then {who} sang in {where}." if dice.integers(2) else f"in {where} long ago {who} sang."
        asked, answer = (("who", who), ("where", where))[int(dice.integers(2))]
        gold = [{"text": answer, "start": context.index(answer)}]
        rows.append(json.dumps({"id": str(number), "question": f"{asked}?", "context": context, "answers": gold}))
    (tmp_path / "train.jsonl").write_text("\n".join(rows), encoding="utf-8")
    code, out, err = call(capsys, "finetune", "span_qa", "--model", preset, *size, "--train", tmp_path / "train.jsonl",
                          "--out", tmp_path / "run", "--epochs", epochs, "--batch-size", 16, "--json",
                          "--task.max_length", 96)  # fmt: skip
    assert code == 0, err
    judged = json.loads(out)["judgement"]
    assert judged["metrics"]["exact_match"]["value"] > 0.8
    assert judged["metrics"]["f1"]["value"] > judged["baselines"]["sliding_window"]["f1"]["value"]
    code, out, _ = call(capsys, "ask", tmp_path / "run", "where?", "--context", "then ida sang in kiel.", "--json")
    found = json.loads(out)
    assert code == 0 and found["answer"] == "kiel" and found["start"] == 17
    code, out, _ = call(capsys, "ask", tmp_path / "run", "where?", "--context", "then ida sang in kiel.", "--threshold",
                        1e9, "--json")  # fmt: skip
    assert code == 0 and json.loads(out)["answer"] is None


@pytest.mark.parametrize(
    ("preset", "size", "bar", "epochs"),
    [("vaswani", (*QUICK, "--lr", 6e-3), 80, 10), ("gpt2", (*QUICK, "--lr", 1e-2), 4, 8)],
    ids=["vaswani", "gpt2"],
)  # fmt: skip
def test_translation_learns_a_word_for_word_language(tmp_path, capsys, preset, size, bar, epochs):
    dice = np.random.default_rng(0)
    words = {"one": "eins", "two": "zwei", "three": "drei", "dog": "Hund", "cat": "Katze", "sees": "sieht"}
    rows = []
    for _ in range(600):
        chosen = dice.choice(list(words), dice.integers(2, 6))
        rows.append((" ".join(chosen), " ".join(words[one] for one in chosen)))
    table = write_table(tmp_path / "pairs.tsv", "en\tde", rows)
    code, out, err = call(capsys, "finetune", "translation", "--model", preset, *size, "--train", table,
                          "--source-field", "en", "--target-field", "de", "--out", tmp_path / "run", "--epochs", epochs,
                          "--batch-size", 16, "--seed", 1, "--json")  # fmt: skip
    assert code == 0, err
    judged = json.loads(out)["judgement"]
    assert judged["metrics"]["bleu"]["value"] > bar > judged["baselines"]["copy"]["bleu"]["value"]
    assert "tok:13a" in judged["signatures"]["bleu"]
    if preset == "vaswani":  # what Marian's converters take for granted
        tokenizer, weights = Tokenizer.from_pretrained(tmp_path / "run"), load_file(tmp_path / "run/model.safetensors")
        assert tokenizer.special.pad == tokenizer.vocab_size - 1
        table = weights["model.shared.weight"]
        assert len(table) == tokenizer.vocab_size and not table[-1].any() and table.any(1).sum() == len(table) - 1
        assert "padding is token" not in err
    for precision in ("float32", "bfloat16", "int8"):
        code, out, _ = call(capsys, "translate", tmp_path / "run", "one dog sees two cat", "--precision", precision)
        assert code == 0 and (out.strip() == "eins Hund sieht zwei Katze" or preset == "gpt2")


def test_instructions_are_learned_with_the_loss_on_the_answer(tmp_path, capsys):
    rows = [{"instruction": f"say {word}", "input": "", "output": word * 2} for word in "abcdefghij" * 12]
    (tmp_path / "train.jsonl").write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    code, out, err = call(capsys, "finetune", "generation", "--model", "gpt2", *SMALL, "--train",
                          tmp_path / "train.jsonl", "--dev", tmp_path / "train.jsonl", "--out", tmp_path / "run",
                          "--epochs", 26, "--batch-size", 8, "--json")  # fmt: skip
    assert code == 0, err
    judged = json.loads(out)["judgement"]
    tuned, before = (side["bits_per_byte"]["value"] for side in (judged["metrics"], judged["baselines"]["untuned"]))
    assert tuned < 0.3 < before
    code, out, err = call(capsys, "generate", tmp_path / "run", "--prompt", "say c", "--temperature", 0, "--json")
    assert code == 0, err
    assert json.loads(out)["generations"][0]["text"] == "cc"
    (tmp_path / "ask.jsonl").write_text(
        '{"instruction": "say d", "input": ""}\n{"instruction": "say e"}', encoding="utf-8"
    )
    code, out, err = call(
        capsys, "generate", tmp_path / "run", "say c", "--input", tmp_path / "ask.jsonl", "--temperature", 0
    )
    assert code == 0 and out.split() == ["cc", "dd", "ee"], err


def test_embeddings_bring_partners_together(tmp_path, capsys):
    dice = np.random.default_rng(0)
    topics = [[f"{letter}{number}" for number in range(6)] for letter in "abcdefghijkl"]
    rows = []
    for number in range(400):
        topic = topics[number % len(topics)]
        rows.append((" ".join(dice.choice(topic, 3)), " ".join(dice.choice(topic, 5)) + f" {number}"))
    table = write_table(tmp_path / "pairs.tsv", "query\tpassage", rows)
    code, out, err = call(capsys, "finetune", "embedding", "--model", "bert", *SMALL, "--train", table, "--out",
                          tmp_path / "run", "--epochs", 4, "--json")  # fmt: skip
    assert code == 0, err
    assert json.loads(out)["judgement"]["metrics"]["recall_at_20"]["value"] > 0.9
    peer = pytest.importorskip("sentence_transformers").SentenceTransformer(str(tmp_path / "run"), device="cpu")
    tuned, texts = load(tmp_path / "run"), ["a0 a1 a2", "b3", "c1 c2 17"]
    np.testing.assert_allclose(peer.encode(texts), tuned.task.embed(tuned.model, texts), atol=1e-5)


REFUSED = {
    "empty file": ("", "classification", 3, "no example"),
    "missing column": ("words\tlabel\na\t1\n", "classification", 3, "data.columns.text"),
    "one class": ("text\tlabel\na\t1\nb\t1\nc\t1\n", "classification", 3, "same label"),
    "too many columns": ("text\tlabel\na\t1\t2\n", "classification", 3, "line 2"),
    "words and tags differ": ("tokens\ttags\na b\tO O\na b\tB-X\n", "tagging", 3, "2 words but 1 tags"),
    "no source": ("one\tother\na\tb\n", "translation", 3, "data.columns.source"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_learned_is_refused_in_one_line(tmp_path, capsys, case):
    content, task, wanted, part = REFUSED[case]
    (tmp_path / "train.tsv").write_text(content, encoding="utf-8")
    code, _, err = call(capsys, "finetune", task, "--model", "bert", *SMALL, "--train", tmp_path / "train.tsv", "--out",
                        tmp_path / "run", "--dev", tmp_path / "train.tsv", "--steps", 1)  # fmt: skip
    assert code == wanted, err
    assert part in err and "Traceback" not in err
    assert not (tmp_path / "run").exists(), "the folder is free for the next try"


def test_labels_unseen_in_training_a_huge_text_and_other_models_are_dealt_with(tmp_path, reviews, capsys):
    run = tmp_path / "run"
    words = ["finetune", "sentiment", "--model", "bert", *SMALL, "--train", reviews[0], "--out", run, "--steps", 2]
    assert call(capsys, *words)[0] == 0
    other = write_table(tmp_path / "other.tsv", "sentence\tlabel", [("a film", "mixed")])
    code, _, err = call(capsys, "evaluate", run, "--data", other)
    assert code == 3 and "'mixed'" in err and "negative, positive" in err
    (tmp_path / "huge.txt").write_text("好 film " * 125_000, encoding="utf-8")
    code, out, err = call(capsys, "classify", run, "--input", tmp_path / "huge.txt", "--json")
    assert code == 0 and len(json.loads(out)["answers"]) == 1, err
    assert call(capsys, "translate", run, "a film")[0] == 2
    assert call(capsys, "classify", tmp_path, "a film")[0] == 4
    assert call(capsys, "ask", run, "who?", "--context", "a film")[0] == 2


def test_families_are_compared_under_one_budget(tmp_path, reviews, capsys):
    train, test = reviews
    code, out, err = call(capsys, "compare-families", train, "--test", test, "--budget", "1s", *SMALL, "--batch-size", 16,
                          "--out", tmp_path / "families", "--json")  # fmt: skip
    assert code == 0, err
    found = json.loads(out)
    assert found["families"].keys() == {"encoder", "decoder", "encoder-decoder"} and found["best"] in found["families"]
    assert len(found["against"]) == 2 and all(0 < one["p"] <= 1 for one in found["against"].values())
    code, _, err = call(capsys, "compare-families", train, "--budget", "soon", "--out", tmp_path / "other")
    assert code == 2 and "10m" in err


def test_a_sweep_finds_settings_without_looking_at_the_test_file(tmp_path, reviews, capsys):
    pytest.importorskip("optuna")
    (tmp_path / "damaged.tsv").write_bytes(b"\xff\n\xff\t\t\n")
    code, out, err = call(capsys, "sweep", "sentiment", "--model", "bert", *QUICK, "--train",
                          reviews[0], "--test", tmp_path / "damaged.tsv", "--trials", 3, "--out", tmp_path / "sweep",
                          "task.ngrams=0", "--json")  # fmt: skip
    assert code == 0, err
    found = json.loads(out)
    assert len(found["trials"]) == 3 and found["best"]["lr"] in [one["values"]["lr"] for one in found["trials"]]
    best = max(one["metric"] for one in found["trials"] if one["metric"] is not None)
    assert best > 0.8


def questions(count: int, seed: int) -> list[dict]:
    """Every third question is about a word that its context lacks."""
    dice, rows = np.random.default_rng(seed), []
    for number in range(count):
        who, where = str(dice.choice(["anna", "otto", "ida"])), str(dice.choice(["rome", "oslo", "kiel"]))
        context = f"then {who} sang in {where}." if number % 3 else f"then {who} sang."
        gold = [{"text": where, "start": context.index(where)}] if number % 3 else []
        rows.append({"question": "where?", "context": context, "answers": gold})
    return rows


@pytest.fixture(scope="module")
def reader(tmp_path_factory) -> Path:
    """A run that learned to answer `questions`; its judgement lies in it."""
    folder = tmp_path_factory.mktemp("reader")
    for seed, (name, count) in enumerate({"train": 400, "dev": 90, "test": 90}.items()):
        (folder / f"{name}.jsonl").write_text("\n".join(map(json.dumps, questions(count, seed))), encoding="utf-8")
    words = ("finetune", "span_qa", "--model", "bert", *SMALL, "--train", folder / "train.jsonl", "--dev",
             folder / "dev.jsonl", "--test", folder / "test.jsonl", "--out", folder / "run", "--epochs", 8, "--batch-size",
             16, "task.max_length=96", "task.match=true")  # fmt: skip
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()) as said:
        code = main(list(map(str, words)))
    assert code == 0, said.getvalue()
    return folder / "run"


def test_a_reader_learns_when_to_say_that_it_does_not_know(reader, capsys):
    judged = json.loads((reader / "trifold.json").read_text(encoding="utf-8"))["judgement"]
    assert judged["metrics"]["f1"]["value"] > 0.9 and judged["risk_coverage"]["curve"][0][1] <= 0.1
    assert load(reader).task.config.threshold is not None
    code, out, _ = call(capsys, "ask", reader, "where?", "--context", "then otto sang.", "--json")
    assert code == 0 and json.loads(out)["answer"] is None
    code, out, _ = call(capsys, "ask", reader, "where?", "--context", "then otto sang.")
    assert out.strip() == "I don't know."


def test_an_answer_that_is_not_in_its_context_is_refused_or_left_out(tmp_path, capsys):
    rows = [
        *questions(30, 0),
        {"question": "where?", "context": "then ida sang.", "answers": [{"text": "kiel", "start": 3}]},
    ]
    (tmp_path / "train.jsonl").write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    words = ["finetune", "span_qa", "--model", "bert", *SMALL, "--train", tmp_path / "train.jsonl", "--steps", 1]
    code, _, err = call(capsys, *words, "--out", tmp_path / "run")
    assert code == 3 and ":31" in err and "'kiel'" in err
    code, _, err = call(capsys, *words, "--out", tmp_path / "other", "data.on_error=skip")
    assert code == 0 and "1 left out" in err


def test_a_reader_is_silent_where_a_base_lacks_the_answer_and_the_report_says_how_often(tmp_path, capsys):
    cities = "oslo kiel rome bonn york lyon graz linz bern nice cork brno".split()
    for name, first, count in (("train", 0, 240), ("dev", 240, 48)):
        rows = [(f"p{number}q", cities[number % len(cities)]) for number in range(first, first + count)]
        before = "then {} did sing in ".format
        made = [{"question": f"where did {who} sing?", "context": f"{before(who)}{where}.",
                 "answers": [{"text": where, "start": len(before(who))}]} for who, where in rows]  # fmt: skip
        (tmp_path / f"{name}.jsonl").write_text("\n".join(map(json.dumps, made)), encoding="utf-8")
    reader = tmp_path / "run"
    code, _, err = call(capsys, "finetune", "span_qa", "--model", "bert", *SMALL, "--train", tmp_path / "train.jsonl",
                        "--dev", tmp_path / "dev.jsonl", "--out", reader, "--epochs", 3, "--batch-size", 16,
                        "task.max_length=96", "task.match=true")  # fmt: skip
    assert code == 0, err
    told = json.loads((reader / "trifold.json").read_text(encoding="utf-8"))["judgement"]["knowledge_base"]
    saved = json.loads((reader / "task.json").read_text(encoding="utf-8"))["task"]
    assert saved["threshold"] is None and saved["base_threshold"] == pytest.approx(told["threshold"], abs=1e-5)
    assert told["n"] == 2 * told["held"] == 48 and told["f1"] >= max(0.5, told["f1_never_silent"])
    assert "I don't know, over a knowledge base" in (reader / "report.md").read_text(encoding="utf-8")
    old = tmp_path / "old"
    shutil.copytree(reader, old)
    (old / "task.json").write_text(json.dumps({"task": saved | {"base_threshold": None}}), encoding="utf-8")
    (tmp_path / "songs.txt").write_text("then anna sang in oslo.", encoding="utf-8")
    assert call(capsys, "index", "build", tmp_path / "songs.txt", "--out", tmp_path / "kb")[0] == 0
    code, out, err = call(capsys, "ask", old, "where did zoe sing in oslo?", "--kb", tmp_path / "kb", "--json")
    assert code == 0 and json.loads(out)["text"] and "was not taught" in err, "an old run never refuses, and says so"


def test_without_a_reader_the_best_passages_are_shown_with_the_best_sentence_marked(tmp_path, capsys):
    text = "The Nile flows through Egypt. It is the longest river of Africa."
    (tmp_path / "rivers.txt").write_text(text, encoding="utf-8")
    (tmp_path / "长江.txt").write_text("它流经上海。长江是中国最长的河流。", encoding="utf-8")
    kb = tmp_path / "kb"
    assert call(capsys, "index", "build", tmp_path / "rivers.txt", tmp_path / "长江.txt", "--out", kb)[0] == 0
    code, out, _ = call(capsys, "ask", "Which is the longest river?", "--kb", kb)
    assert code == 0 and ">>It is the longest river of Africa.<<" in out and "rivers.txt:30-64" in out
    code, out, _ = call(capsys, "ask", "中国最长的河流是哪条？", "--kb", kb, "--json")
    told = json.loads(out)
    assert code == 0 and told["text"] is None and told["passages"][0]["document"] == "长江.txt"
    assert told["passages"][0]["sentence"] == {"text": "长江是中国最长的河流。", "start": 6, "end": 17}
    code, out, _ = call(capsys, "ask", "xylophone?", "--kb", kb)
    assert code == 0 and out.strip() == "I don't know."
    (tmp_path / "asked.txt").write_text("longest river?\n\nxylophone?\n", encoding="utf-8")
    code, out, _ = call(capsys, "ask", "--kb", kb, "--input", tmp_path / "asked.txt")
    assert out.splitlines() == ["It is the longest river of Africa.\trivers.txt:30-64", "", "I don't know."]
    assert call(capsys, "ask", "--context", text)[0] == 2, "a text needs a reader"


def test_a_knowledge_base_answers_with_the_place_in_the_document(reader, tmp_path, capsys):
    notes = tmp_path / "notes"
    notes.mkdir()
    text = "# Songs\n\nnothing of note happened.\n\nthen anna sang in oslo.\n"
    (notes / "songs.md").write_text(text, encoding="utf-8")
    code, _, err = call(capsys, "index", "build", notes, "--out", tmp_path / "kb")
    assert code == 0, err
    code, out, err = call(capsys, "ask", reader, "where did anna sing?", "--kb", tmp_path / "kb", "--json")
    found = json.loads(out)
    assert code == 0 and found["document"] == "songs.md"
    assert found["text"] and text[found["start"] : found["end"]] == found["text"]
    code, out, _ = call(capsys, "ask", reader, "?!", "--kb", tmp_path / "kb", "--json")
    assert code == 0 and json.loads(out)["text"] is None
    (tmp_path / "asked.txt").write_text("?!\nwhere did anna sing?\n", encoding="utf-8")
    code, out, _ = call(capsys, "ask", reader, "--input", tmp_path / "asked.txt", "--kb", tmp_path / "kb", "--json")
    silent, told = json.loads(out)["answers"]
    assert code == 0 and silent["text"] is None and told == found
    assert found["score"] >= found["threshold"] and [one["document"] for one in found["looked_at"]] == ["songs.md"]
    code, out, _ = call(
        capsys, "ask", reader, "where did zoe fly?", "--kb", tmp_path / "kb", "--threshold", 1e9, "--json"
    )
    refused = json.loads(out)
    assert code == 0 and refused["text"] is None and refused["threshold"] == 1e9 and refused["looked_at"] == []
    (tmp_path / "other.jsonl").write_text('{"foo": "who?"}', encoding="utf-8")
    code, _, err = call(capsys, "ask", reader, "--input", tmp_path / "other.jsonl", "--kb", tmp_path / "kb")
    assert code == 3 and "foo" in err and "question" in err
    context = "then anna sang in oslo."
    asked = [{"question": "where did anna sing?", "context": context, "answers": [{"text": "oslo", "start": 18}]},
             {"question": "who is otto?", "context": "otto is unknown here.", "answers": []}]  # fmt: skip
    (tmp_path / "test.jsonl").write_text("\n".join(map(json.dumps, asked)), encoding="utf-8")
    code, out, err = call(capsys, "evaluate", reader, "--data", tmp_path / "test.jsonl", "--kb",
                          tmp_path / "kb", "--json")  # fmt: skip
    assert code == 0, err
    metrics = json.loads(out)["metrics"]
    assert metrics["recall_at_1"]["value"] == metrics["reciprocal_rank"]["value"] == 0.5
    assert metrics["exact_match"]["value"] >= 0.5 and metrics["f1"]["n"] == 2, "nothing found is no answer"
    code, out, _ = call(capsys, "index", "search", tmp_path / "kb", "oslo", "--json")
    assert code == 0 and "oslo" in json.loads(out)["hits"][0]["text"]


def test_a_finished_run_that_is_resumed_keeps_its_best_weights(tmp_path, reviews, capsys):
    words = ["finetune", "sentiment", "--model", "bert", *SMALL, "--train", reviews[0], "--batch-size", 16, "--steps", 30,
             "--out", tmp_path / "run", "training.evaluate_every=3", "training.checkpoint_every=10"]  # fmt: skip
    assert call(capsys, *words)[0] == 0
    before = load(tmp_path / "run").model.state_dict()
    code, _, err = call(capsys, *words, "--resume")
    assert code == 0, err
    after = load(tmp_path / "run").model.state_dict()
    assert all(torch.equal(before[name], after[name]) for name in before)


def test_a_bert_of_transformers_is_fine_tuned_with_its_own_vocabulary(tmp_path, reviews, capsys):
    import transformers

    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *dict.fromkeys([*GOOD, *BAD, *FILL])]
    shape = transformers.BertConfig(vocab_size=len(words), hidden_size=32, num_hidden_layers=2, num_attention_heads=2,
                                    intermediate_size=64)  # fmt: skip
    transformers.BertForMaskedLM(shape).save_pretrained(tmp_path / "bert")
    (tmp_path / "bert" / "vocab.txt").write_text("\n".join(words) + "\n", encoding="utf-8")
    code, out, err = call(capsys, "finetune", "sentiment", "--model", tmp_path / "bert", "--train", reviews[0], "--test",
                          reviews[1], "--out", tmp_path / "run", "--lr", 3e-3, "--epochs", 6, "--json")  # fmt: skip
    assert code == 0, err
    assert json.loads(out)["judgement"]["metrics"]["accuracy"]["value"] > 0.9
    assert transformers.AutoModel.from_pretrained(tmp_path / "run").config.num_hidden_layers == 2

"""`trifold.load`: one face for every model, with the answers that the parts behind it give."""

import json
import shutil
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise

import numpy as np
import pytest
from jaxtyping import config

import trifold
from trifold.cli.main import main
from trifold.errors import DataError, TrifoldError, UsageError
from trifold.tasks import (
    Classification,
    Embedding,
    FineTuning,
    Generation,
    LabelledData,
    Record,
    SpanQA,
    Translation,
    finetune,
    load,
)
from trifold.tasks.experiment import TRAINING
from trifold.text import train_tokenizer
from trifold.training import ModelChoice, TokenizerChoice

SMALL = {"num_layers": 1, "d_model": 32, "num_heads": 2}
WORDS = ["good", "bad", "film", "story", "the", "was", "a", "dull", "fine", "river"]
GREEDY = trifold.Sampling(temperature=0.0, max_tokens=6)
TASKS = {
    "classification": ("bert", Classification(max_length=32), "text\tlabel"),
    "translation": ("vaswani", Translation(beams=2, max_length=32, max_tokens=6), "source\ttarget"),
    "generation": ("gpt2", Generation(max_length=64), "prompt\tresponse"),
    "span_qa": ("bert", SpanQA(max_length=48, max_question=16), "question\tcontext\tanswer"),
    "embedding": ("bert", Embedding(max_length=32, query_prompt="ask: "), "query\tpositive"),
}


def row(kind, one, two):
    if kind == "span_qa":
        return f"where?\t{one}\t{one.split()[0]}"
    return f"{one}\t{'yn'[len(one) % 2] if kind == 'classification' else two}"


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """The folder of a run of two steps, made when it is first asked for."""
    place, made = tmp_path_factory.mktemp("loaded"), {}

    def folder(kind):
        if kind not in made:
            family, config, header = TASKS[kind]
            dice = np.random.default_rng(0)
            texts = [" ".join(dice.choice(WORDS, dice.integers(2, 6))) for _ in range(80)]
            rows = [row(kind, one, two) for one, two in pairwise(texts)]
            (place / f"{kind}.tsv").write_text("\n".join([header, *rows]) + "\n", encoding="utf-8")
            finetune(FineTuning(model=ModelChoice(preset=family, overrides=SMALL), task=config,
                                data=LabelledData(train=str(place / f"{kind}.tsv")),
                                tokenizer=TokenizerChoice(vocab_size=380),
                                training=trifold.Training(steps=2, batch_size=8, schedule=TRAINING.schedule),
                                epochs=None), place / kind)  # fmt: skip
            made[kind] = place / kind
        return made[kind]

    return folder


@pytest.fixture(scope="module", params=["gpt2", "t5"])
def writer(request, tmp_path_factory):
    """A model of random weights that was never tuned."""
    folder = tmp_path_factory.mktemp(request.param)
    tokenizer = train_tokenizer([" ".join(WORDS)] * 9, kind="byte_bpe", vocab_size=380, num_sentinels=4)
    model = trifold.Transformer.from_preset(request.param, size="tiny", vocab_size=tokenizer.vocab_size, **SMALL)
    model.save_pretrained(folder, tokenizer=tokenizer)
    return folder


def test_a_classifier_reads_texts_pairs_rows_and_records_and_says_what_its_task_says(run):
    loaded, tuned = trifold.load(run("classification")), load(run("classification"))
    texts = ["good film", "a dull story was", "river"]
    wanted = [one.confidence for one in tuned.task.predict(tuned.model, [Record(text) for text in texts])]
    given = (
        texts,
        [{"text": text} for text in texts],
        [Record(text) for text in texts],
        [(text,) for text in texts],
    )
    for inputs in given:
        assert [one.confidence for one in loaded.predict(inputs)] == pytest.approx(wanted, abs=1e-6)
    assert [one.confidence for one in loaded.predict(texts, batch_size=1)] == pytest.approx(wanted, abs=1e-6)
    assert [one.answer for one in loaded.classify(texts)] == [one.answer for one in loaded.predict(texts)]
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda n: loaded.predict([texts[n % 3]])[0].confidence, range(40)))
    assert found == pytest.approx([wanted[n % 3] for n in range(40)], abs=1e-6)
    assert (loaded.kind, str(loaded.device), str(loaded.dtype)) == ("classification", "cpu", "torch.float32")


def test_it_is_judged_by_labels_that_are_given_with_the_inputs(run):
    loaded = trifold.load(run("classification"))
    texts = ["good film", "a dull story was", "river"] * 4
    said = [one.answer for one in loaded.predict(texts)]
    assert loaded.evaluate(texts, said)["metrics"]["accuracy"]["value"] == 1.0
    other = {"y": "n", "n": "y"}
    assert loaded.evaluate(texts, [said[0], *(other[one] for one in said[1:])])["metrics"]["accuracy"][
        "value"
    ] == pytest.approx(1 / 12, abs=1e-5)
    with pytest.raises(DataError, match="perhaps"):
        loaded.evaluate(texts[:1], ["perhaps"])
    with pytest.raises(UsageError, match="3 inputs have 1"):
        loaded.evaluate(texts[:3], ["y"])


def test_what_a_model_is_not_for_is_refused_by_name(run, writer):
    loaded = trifold.load(run("classification"))
    for use in (
        lambda: loaded.translate(["x"]),
        lambda: loaded.embed(["x"]),
        lambda: loaded.ask("x", context="y"),
        lambda: loaded.name,
    ):
        with pytest.raises(UsageError, match="classification"):
            use()
    with pytest.raises(UsageError, match="inputs is a list"):
        loaded.predict("good film")
    with pytest.raises(DataError, match="columns are: number"):
        loaded.predict([{"number": "x"}])
    with pytest.raises(UsageError, match="not a fine-tuned model"):
        trifold.load(writer).predict(["good"])


def test_rows_are_read_from_the_columns_of_training_and_the_others_are_named(run, tmp_path):
    shutil.copytree(run("classification"), tmp_path / "run")
    known = json.loads((tmp_path / "run/trifold.json").read_text(encoding="utf-8"))
    known["experiment"]["data"]["columns"] = {"text": "body"}
    (tmp_path / "run/trifold.json").write_text(json.dumps(known), encoding="utf-8")
    loaded = trifold.load(tmp_path / "run")
    (wanted,) = loaded.predict(["good film"])
    with pytest.warns(UserWarning, match="does not read: text, number"):
        (said,) = loaded.predict([{"text": "a title", "body": "good film", "number": 3}])
    assert said.confidence == pytest.approx(wanted.confidence, abs=1e-6)
    with pytest.warns(UserWarning, match="does not read: label"):  # a column of some rows counts everywhere
        loaded.predict([{"body": "good film"}, {"body": "river", "label": "y"}])
    (gold, other) = loaded.records([{"body": "good film"}, "river"], ["y", "n"])
    assert (gold.inputs, gold.gold, other.inputs, other.gold) == (("good film",), "y", ("river",), "n")
    with pytest.raises(DataError, match="input:2"):
        loaded.predict([{"body": "good film"}, {"body": None}])
    with pytest.raises(DataError, match="input:3"):  # counted among all inputs
        loaded.predict([Record("good film"), {"body": "river"}, {"body": None}])


def test_translations_are_those_of_the_task(run):
    loaded, tuned = trifold.load(run("translation")), load(run("translation"))
    texts = ["good film", "the river was fine"]
    assert loaded.translate(texts) == [
        one.answer for one in tuned.task.predict(tuned.model, [Record(text) for text in texts])
    ]
    assert all(np.isfinite(loaded.score("good film", "a dull river")))


def test_answers_come_from_a_text_or_a_knowledge_base_that_a_loaded_model_embeds(run, tmp_path):
    reader, embedder = trifold.load(run("span_qa")), trifold.load(run("embedding"))
    context = "the river was fine"
    found = reader.ask("where?", context=context)
    assert found.text == context[found.start : found.end] if found.text else found.start == -1
    (tmp_path / "a.txt").write_text(context, encoding="utf-8")
    base, report = trifold.KnowledgeBase.build([tmp_path / "a.txt"], tmp_path / "kb", embedder=embedder)
    assert report.added == 1 and base.search("river", embedder=embedder)[0].vector_rank == 1
    there = reader.ask("where was the river?", kb=base, embedder=embedder, threshold=-1e9)
    assert there.document.endswith("a.txt") and there.text in context
    assert np.linalg.norm(embedder.embed(["good film"]), axis=1) == pytest.approx(1.0, abs=1e-5)
    assert not np.allclose(embedder.embed(["good film"]), embedder.embed(["good film"], query=True))
    assert reader.ask("where?", context=context, threshold=-1e9).text in context
    assert reader.ask("where?", context=context, threshold=1e9).text == ""
    with pytest.raises(UsageError, match="not both"):
        reader.ask("where?")


def test_texts_come_whole_or_piece_by_piece_with_the_same_seed_the_same(writer):
    loaded = trifold.load(writer)
    plain = trifold.Generator.from_pretrained(writer)
    (text,) = loaded.generate("good film", sampling=GREEDY)
    assert text.ids == plain.generate(["good film"], GREEDY)[0].ids
    assert "".join(loaded.stream("good film", sampling=GREEDY)) == text.text
    tokens = list(loaded.stream("good film", sampling=GREEDY, logprobs=True))
    assert tuple(one.id for one in tokens) == text.ids and "".join(one.text for one in tokens) == text.text
    assert [one.logprob for one in tokens] == pytest.approx(text.logprobs, abs=1e-5)
    pieces = []
    (heard,) = loaded.generate("good film", sampling=GREEDY, on_token=pieces.append)
    assert "".join(pieces) == heard.text and heard.ids == text.ids
    several = loaded.generate(["good", "bad film"], max_tokens=5, n=3, seed=7)
    assert len(several) == 6 and several[4].ids == loaded.generate("bad film", max_tokens=5, seed=8)[0].ids
    assert loaded.generate("good", max_tokens=5, seed=7)[0].ids == several[0].ids
    with pytest.raises(UsageError, match="all be the same"):
        loaded.generate("good", n=2, sampling=GREEDY)
    with pytest.raises(UsageError, match="one text at a time"):
        loaded.generate(["good", "bad"], on_token=pieces.append)


def test_a_score_is_the_log_probability_that_generation_gives(writer):
    loaded = trifold.load(writer)
    (text,) = loaded.generate("good film", sampling=GREEDY)
    ids = loaded.tokenizer.encode_ids([text.text], plain=True)[0].tolist()
    if ids == list(text.ids):  # what is written reads back as it was
        assert loaded.score("good film", text.text) == pytest.approx(text.logprobs, abs=1e-4)
    assert len(loaded.score("good", " film")) == len(loaded.tokenizer.encode_ids([" film"], plain=True)[0])
    whole, parts = loaded.score("the", " river was"), loaded.score("the", " river")
    assert whole[: len(parts)] == pytest.approx(parts, abs=1e-4) and all(one < 0 for one in whole)


def test_a_model_tuned_on_instructions_reads_prompts_through_its_template(run):
    loaded, tuned = trifold.load(run("generation")), load(run("generation"))
    (said,) = tuned.task.write(tuned.model, [loaded.records(["good film"])[0]], GREEDY)
    (text,) = loaded.generate("good film", sampling=GREEDY)
    assert text.text == said.answer and list(text.ids) == said.details["ids"]
    assert "".join(loaded.stream("good film", sampling=GREEDY)) == text.text
    long = "good film " * 60  # beyond its 64 places
    (cut,) = loaded.generate(long, sampling=GREEDY)
    (told,) = tuned.task.write(tuned.model, [loaded.records([long])[0]], GREEDY)
    assert cut.prompt_cut == told.details["prompt_cut"] > 0 and cut.text == told.answer
    with pytest.warns(UserWarning, match="tokens"):
        assert "".join(loaded.stream(long, sampling=GREEDY)) == cut.text
    with pytest.raises(UsageError, match="model reads 64"):
        loaded.score(long, " river")


def test_counts_and_texts_that_make_no_sense_are_refused(run):
    loaded = trifold.load(run("classification"))
    for wrong in (0, -1):
        with pytest.raises(UsageError, match="batch_size"):
            loaded.predict(["good film"], batch_size=wrong)
        with pytest.raises(UsageError, match="1 or more"):
            loaded.generate("good", n=wrong)
    with pytest.raises(UsageError, match="has 3 texts"):
        loaded.predict([("a", "b", "c")])


@pytest.mark.parametrize(
    ("inputs", "said"),
    [(["good", None], "Input 2"), ([b"good"], "Input 1"), (["\ud800 film"], "Text 1"), ({"text": "good"}, "inputs")],
)
def test_an_input_that_is_none_is_refused_by_its_place(run, inputs, said, monkeypatch):
    loaded = trifold.load(run("classification"))
    monkeypatch.setattr(config, "left", 0, raising=False)  # callers have no checker of types
    with pytest.raises(TrifoldError, match=said):
        loaded.predict(inputs)


def test_an_iterator_serves_for_a_list_and_a_task_goes_by_either_name(run):
    loaded = trifold.load(run("classification"))
    assert loaded.predict(iter(["good"]))[0].answer == loaded.predict(["good"])[0].answer
    assert trifold.evaluate(loaded, ["good"], ["y"], task="sentiment")["n"] == 1


def test_a_prompt_or_a_way_to_sample_that_is_none_is_refused(writer):
    with pytest.raises(DataError, match="Text 1"):
        trifold.load(writer).generate("\ud800", max_tokens=1)
    with pytest.raises(DataError, match="not blank"):
        trifold.evaluate(writer, [" "])


def test_masks_are_filled(tmp_path):
    tokenizer = train_tokenizer([" ".join(WORDS)] * 9, kind="wordpiece", vocab_size=200, num_sentinels=0)
    trifold.Transformer.from_preset("bert", size="tiny", vocab_size=tokenizer.vocab_size, **SMALL).save_pretrained(
        tmp_path, tokenizer=tokenizer
    )
    (found,) = trifold.load(tmp_path).fill_mask("good [MASK]", top_k=3)
    assert len(found) == 3


def test_weights_are_packed_for_the_device_that_they_go_to(run):
    there = load(run("classification"), precision="bfloat16", device="meta").model
    kinds = {type(part).__name__ for part in there.modules()}
    assert "PackedLinear" not in kinds and {value.device.type for value in there.parameters()} == {"meta"}


def judged_rows(kind):
    """Some texts and their labels, as the model was trained with them."""
    texts = [
        "good film",
        "bad dull story",
        "the river was fine",
        "a dull film",
        "fine",
        "bad river",
        "good",
        "the story",
    ]
    return texts, ["yn"[len(text) % 2] for text in texts]


def test_a_program_judges_what_it_holds_as_the_command_judges_files(run, tmp_path, capsys):
    texts, labels = judged_rows("classification")
    rows = [{"text": text, "label": label} for text, label in zip(texts, labels, strict=True)]
    file = tmp_path / "judged.jsonl"
    file.write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    folder = str(run("classification"))
    assert main(["evaluate", folder, "--data", str(file), "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    wanted = {key: value for key, value in said.items() if key in ("metrics", "confusion", "calibration", "n", "task")}
    model = load(folder)
    records = [Record((text,), label) for text, label in zip(texts, labels, strict=True)]
    for found in (trifold.evaluate(folder, texts, labels), trifold.evaluate(model, rows, task="classification"),
                  model.evaluate(records)):  # fmt: skip
        assert {key: found[key] for key in wanted} == wanted
        assert found["baselines"] == {} and "contamination" not in found
    beside = trifold.evaluate(model, rows, train=texts, train_labels=labels)
    assert "majority" in beside["baselines"] and beside["contamination"]["exact"] == len(rows)
    assert trifold.evaluate(model, rows, train=rows) == beside


def test_what_cannot_be_judged_is_refused_in_plain_words(run, tmp_path):
    model = load(run("classification"))
    for call, words in ((lambda: model.evaluate(["good film"]), "without a label"),
                        (lambda: model.evaluate(["good film"], ["y", "n"]), "1 inputs have 2 labels"),
                        (lambda: trifold.evaluate(model, ["good film"], ["y"], task="tagging"), "tagging")):  # fmt: skip
        with pytest.raises(UsageError, match=words):
            call()
    with pytest.raises(DataError):
        model.evaluate([])


def test_a_pretrained_model_is_judged_by_how_well_it_knows_texts(tmp_path, capsys):
    texts = ["to be or not to be", "that is the question"]
    tokenizer = train_tokenizer(texts * 9, kind="byte_bpe", vocab_size=300)
    model = trifold.Transformer.from_preset("gpt2", size="tiny", vocab_size=tokenizer.vocab_size, **SMALL)
    model.save_pretrained(tmp_path / "model", tokenizer=tokenizer)
    (tmp_path / "text.jsonl").write_text("\n".join(json.dumps({"text": text}) for text in texts), encoding="utf-8")
    assert main(["evaluate", str(tmp_path / "model"), "--data", str(tmp_path / "text.jsonl"), "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    found = trifold.evaluate(tmp_path / "model", texts)
    assert found == {key: said[key] for key in found}
    with pytest.raises(UsageError, match="only pre-trained"):
        trifold.evaluate(tmp_path / "model", texts, ["y", "n"])


def test_a_question_is_asked_of_texts_that_a_program_holds(run):
    base = trifold.KnowledgeBase.from_texts([{"text": "the river was fine", "source": "notes"}])
    answer = load(run("span_qa")).ask("where was the river?", kb=base, threshold=-1e9)
    assert answer.document == "notes" and answer.text in "the river was fine"

"""Folders of sentence-transformers give the vectors that their own library gives, or are refused by name."""

import json
from pathlib import Path

import numpy as np
import pytest
import transformers

from tests.parity.families import BERT_LIKE
from trifold.cli.main import main
from trifold.errors import ModelFileError
from trifold.tasks import Embedding, load
from trifold.text import Framing, train_tokenizer

TEXTS = ["the cup is red", "今天天气很好 and so on", "a", "the boat " * 40]
POOLINGS = {"mean": "pooling_mode_mean_tokens", "cls": "pooling_mode_cls_token", "lasttoken": "pooling_mode_lasttoken"}


@pytest.fixture(scope="module")
def modules():
    return pytest.importorskip("sentence_transformers").sentence_transformer.modules


@pytest.fixture(scope="module")
def body(tmp_path_factory) -> Path:
    """A small BERT without a head, whose tokenizer.json pads and cuts, as those on the hub often do."""
    folder = tmp_path_factory.mktemp("body")
    tokenizer = train_tokenizer([*TEXTS, "the cup is red and the boat is blue"] * 9, kind="wordpiece", vocab_size=250)
    special = tokenizer.special
    assert special.cls is not None and special.sep is not None
    tokenizer = tokenizer.framed(Framing((special.cls,), (special.sep,), (special.sep,)))
    tokenizer.backend.enable_padding(length=12, pad_id=0, pad_token="[PAD]")
    tokenizer.backend.enable_truncation(9)
    names = ["input_ids", "token_type_ids", "attention_mask"]
    tokenizer.save_pretrained(folder, settings={"model_input_names": names})
    transformers.BertModel(transformers.BertConfig(**{**BERT_LIKE, "vocab_size": 250})).save_pretrained(folder)
    return folder


def save(modules, body, folder, *, pooling="mean", more=(), **options):
    """A folder as the library writes it, and what it makes of it."""
    import sentence_transformers

    parts = [modules.Transformer(str(body), max_seq_length=24), modules.Pooling(32, pooling_mode=pooling), *more]
    made = sentence_transformers.SentenceTransformer(modules=parts, device="cpu", **options)
    made.save(str(folder))
    return sentence_transformers.SentenceTransformer(str(folder), device="cpu")


def unit(vectors):
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


@pytest.mark.parametrize("pooling", POOLINGS)
def test_vectors_of_queries_and_passages_are_those_of_the_library(modules, body, tmp_path, pooling):
    prompts = {"query": "the ", "document": "boat "}
    more = [modules.Normalize()] if pooling == "cls" else []
    theirs, tuned = (
        save(modules, body, tmp_path, pooling=pooling, more=more, prompts=prompts),
        load(tmp_path),
    )
    asked, told = (tuned.task.embed(tuned.model, TEXTS, query=query) for query in (True, False))
    np.testing.assert_allclose(asked, unit(theirs.encode_query(TEXTS)), atol=1e-5)
    np.testing.assert_allclose(told, unit(theirs.encode_document(TEXTS)), atol=1e-5)


@pytest.mark.parametrize("pooling", POOLINGS)
def test_folders_from_before_version_6_name_the_pooling_by_yes_and_no(modules, body, tmp_path, pooling):
    theirs = save(modules, body, tmp_path, pooling=pooling)
    old = {"word_embedding_dimension": 32, **{name: mode == pooling for mode, name in POOLINGS.items()}}
    (tmp_path / "1_Pooling" / "config.json").write_text(json.dumps(old), encoding="utf-8")
    (tmp_path / "sentence_bert_config.json").write_text(
        '{"max_seq_length": 6, "do_lower_case": false}', encoding="utf-8"
    )
    tuned, theirs.max_seq_length = load(tmp_path), 6
    np.testing.assert_allclose(tuned.task.embed(tuned.model, TEXTS), unit(theirs.encode(TEXTS)), atol=1e-5)


REFUSED = {
    "a layer of its own": ({}, {"modules.json": lambda data: [*data, {"idx": 2, "path": "2_Dense", "type": "x.Dense"}]},
                           "Dense"),
    "two ways to pool": ({"pooling": ("mean", "max")}, {}, "['mean', 'max']"),
    "lower case": ({}, {"sentence_bert_config.json": lambda data: {**data, "do_lower_case": True}}, "do_lower_case"),
    "a setting of a later version": ({}, {"sentence_bert_config.json": lambda data: {**data, "query_length": 32}},
                                     "query_length = 32"),
    "another method": ({}, {"sentence_bert_config.json": lambda data: {
        **data, "modality_config": {"text": {"method": "get_text_features"}}}}, "modality_config.text"),
    "products": ({"similarity_fn_name": "dot"}, {}, "similarity_fn_name = dot"),
    "another place": ({}, {"modules.json": lambda data: [data[0], {**data[1], "path": "../1_Pooling"}]}, "path = "),
    "no list": ({}, {"modules.json": lambda _: {}}, "list was expected"),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_what_is_not_computed_is_refused_by_name(modules, body, tmp_path, case):
    options, changes, named = REFUSED[case]
    save(modules, body, tmp_path, **options)
    for name, change in changes.items():
        data = json.loads((tmp_path / name).read_text(encoding="utf-8"))
        (tmp_path / name).write_text(json.dumps(change(data)), encoding="utf-8")
    with pytest.raises(ModelFileError) as found:
        load(tmp_path)
    assert named in str(found.value)


def test_a_folder_embeds_an_index_and_is_trained_on_as_it_is(modules, body, tmp_path, capsys):
    import sentence_transformers

    save(modules, body, tmp_path / "theirs", pooling="cls", prompts={"query": "the ", "passage": "boat "})
    (tmp_path / "kb.jsonl").write_text('{"text": "the cup is red"}\n{"text": "a boat"}\n', encoding="utf-8")
    words = ["index", "build", tmp_path / "kb.jsonl", "--out", tmp_path / "kb", "--embedder", tmp_path / "theirs"]
    assert main([str(word) for word in words]) == 0
    rows = [{"query": f"cup {number}", "positive": f"red {number % 7}"} for number in range(40)]
    (tmp_path / "train.jsonl").write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    words = ["finetune", "embedding", "--model", tmp_path / "theirs", "--train", tmp_path / "train.jsonl", "--steps", 3,
             "--out", tmp_path / "run"]  # fmt: skip
    assert main([str(word) for word in words]) == 0, capsys.readouterr().err
    tuned = load(tmp_path / "run")
    peer = sentence_transformers.SentenceTransformer(str(tmp_path / "run"), device="cpu")
    assert (tuned.task.config.pooling, tuned.task.config.query_prompt) == ("first", "the ")
    assert tuned.task.config.max_length == Embedding().max_length
    search = ["index", "search", tmp_path / "kb", "cup", "--embedder"]
    assert main([str(word) for word in (*search, tmp_path / "theirs")]) == 0
    told = tmp_path / "theirs" / "config_sentence_transformers.json"
    told.write_text(told.read_text(encoding="utf-8").replace("the ", "a "), encoding="utf-8")
    assert main([str(word) for word in (*search, tmp_path / "theirs")]) == 3, "other prompts make other vectors"
    np.testing.assert_allclose(tuned.task.embed(tuned.model, TEXTS, query=True), peer.encode_query(TEXTS), atol=1e-5)
    np.testing.assert_allclose(tuned.task.embed(tuned.model, TEXTS), peer.encode_document(TEXTS), atol=1e-5)

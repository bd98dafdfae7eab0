"""Folders of transformers' classes for tasks open with their heads, and are written back as they were."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from torch import Tensor, nn

from tests.parity.families import ALBERT_LIKE, BART_LIKE, BERT_LIKE, DISTILBERT_LIKE, LLAMA_LIKE, T5_LIKE, VOCAB
from trifold.errors import ConfigError, ModelFileError
from trifold.presets import PRESETS
from trifold.presets.classes import classes_of
from trifold.presets.pretrained import Transformer

GPT2_LIKE: dict[str, Any] = {"vocab_size": VOCAB, "n_embd": 32, "n_layer": 3, "n_head": 4, "n_positions": 64,
                             "pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2}  # fmt: skip
MODERNBERT_LIKE: dict[str, Any] = {
    "vocab_size": VOCAB, "hidden_size": 32, "intermediate_size": 24, "num_hidden_layers": 4, "num_attention_heads": 4,
    "max_position_embeddings": 64, "local_attention": 6, "pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2,
    "cls_token_id": 1, "sep_token_id": 2, "classifier_pooling": "mean", "classifier_activation": "silu",
    "classifier_dropout": 0.2,
}  # fmt: skip
SHAPES: dict[str, tuple[str, dict[str, Any]]] = {
    "bert": ("Bert", BERT_LIKE), "roberta": ("Roberta", {**BERT_LIKE, "type_vocab_size": 1, "pad_token_id": 1}),
    "electra": ("Electra", {**BERT_LIKE, "embedding_size": 20, "summary_last_dropout": 0.3}),
    "albert": ("Albert", {**ALBERT_LIKE, "classifier_dropout_prob": 0.2}),
    "distilbert": ("DistilBert", {**DISTILBERT_LIKE, "seq_classif_dropout": 0.3, "qa_dropout": 0.4}),
    "xlm-roberta": ("XLMRoberta", {**BERT_LIKE, "type_vocab_size": 1}),
    "modernbert": ("ModernBert", MODERNBERT_LIKE), "gpt2": ("GPT2", GPT2_LIKE), "llama": ("Llama", LLAMA_LIKE),
    "mistral": ("Mistral", {**LLAMA_LIKE, "sliding_window": 5}), "qwen2": ("Qwen2", LLAMA_LIKE),
    "qwen3": ("Qwen3", {**LLAMA_LIKE, "head_dim": 8}), "gemma3_text": ("Gemma3Text", {**LLAMA_LIKE, "head_dim": 8}),
    "t5": ("T5", T5_LIKE),
    "mt5": ("MT5", T5_LIKE), "umt5": ("UMT5", T5_LIKE),
    "bart": ("Bart", BART_LIKE), "mbart": ("MBart", BART_LIKE),
}  # fmt: skip
KINDS = {"classification": "SequenceClassification", "tagging": "TokenClassification", "span_qa": "QuestionAnswering",
         "multiple_choice": "MultipleChoice"}  # fmt: skip
UNNAMED = ("span_qa", "multiple_choice")
NAMES = {"id2label": {0: "good", 1: "bad", 2: "neither"}, "label2id": {"good": 0, "bad": 1, "neither": 2}}


def their_model(family: str, kind: str, folder: Path, **fields: Any) -> nn.Module:
    """A small random model of transformers' class for a task, saved in a folder."""
    torch.manual_seed(0)
    name, shape = SHAPES[family]
    labels = {} if kind in (*UNNAMED, "Model") else NAMES
    kind_of = getattr(transformers, f"{name}Model" if kind == "Model" else f"{name}For{KINDS[kind]}")
    model = kind_of(getattr(transformers, f"{name}Config")(**{**shape, **labels, **fields}))
    with torch.no_grad():
        for weight in model.parameters():
            weight.add_(torch.randn_like(weight), alpha=0.2)
    model.save_pretrained(folder)
    return model.eval()


def weights_of(model: nn.Module) -> dict[str, Tensor]:
    return {name: value for name, value in model.state_dict().items() if "rotary" not in name}


@pytest.mark.parametrize(("family", "kind"), [(name, kind) for name in SHAPES for kind in classes_of(name).tasks])
def test_a_folder_of_a_task_class_is_written_back_to_the_bit(tmp_path: Path, family: str, kind: str) -> None:
    theirs = their_model(family, kind, tmp_path / "theirs")
    ours = Transformer.from_pretrained(tmp_path / "theirs")
    ours.save_pretrained(tmp_path / "ours")
    again, report = type(theirs).from_pretrained(tmp_path / "ours", output_loading_info=True)
    assert {name: found for name, found in report.items() if found} == {}
    before, after = weights_of(theirs), weights_of(again)
    assert before.keys() == after.keys() and all(torch.equal(value, after[name]) for name, value in before.items())
    if kind not in UNNAMED:
        assert again.config.id2label == theirs.config.id2label and ours.outputs.labels == ("good", "bad", "neither")
    names = (
        "classifier_activation",
        "classifier_dropout",
        "dropout",
        *([] if kind == "span_qa" else ["classifier_dropout_prob"]),
        *{
            "classification": ["classifier_pooling", "seq_classif_dropout"],
            "span_qa": ["qa_dropout"],
            "multiple_choice": [
                "classifier_pooling",
                "seq_classif_dropout",
                "summary_last_dropout",
                "hidden_dropout_prob",
            ],
        }.get(kind, []),
    )
    given = {name: getattr(theirs.config, name, None) for name in names}
    assert {name: getattr(again.config, name) for name, value in given.items() if value is not None} == {
        name: value for name, value in given.items() if value is not None
    }


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("family", [name for name in SHAPES if PRESETS[name].objective == "masked"])
def test_an_encoder_of_a_task_class_has_the_logits_of_transformers(tmp_path: Path, family: str, kind: str) -> None:
    theirs = their_model(family, kind, tmp_path)
    ours = Transformer.from_pretrained(tmp_path)
    tokens = torch.randint(3, VOCAB, (2, 9), generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        given = tokens[:, None] if kind == "multiple_choice" else tokens  # one candidate for each question
        out = theirs(input_ids=given, attention_mask=torch.ones_like(given))
        hidden = ours.encode(tokens)
        read = {"first": hidden[:, 0], "mean": hidden.mean(1), "each": hidden}[ours.heads["task"].shape.pooling]
        logits = ours.heads["task"](read)
    wanted = torch.stack([out.start_logits, out.end_logits], dim=-1) if kind == "span_qa" else out.logits
    assert torch.allclose(logits, wanted, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("family", SHAPES)
def test_a_bare_body_opens_without_a_head_and_says_so(tmp_path: Path, family: str) -> None:
    theirs = their_model(family, "Model", tmp_path / "theirs")
    ours = Transformer.from_pretrained(tmp_path / "theirs")
    ours.save_pretrained(tmp_path / "ours")
    again = type(theirs).from_pretrained(tmp_path / "ours")
    assert all(torch.equal(value, again.state_dict()[name]) for name, value in weights_of(theirs).items())
    if family in ("gpt2", "t5", "umt5", "bart", "mbart"):  # the output is the embedding: nothing is missing
        return
    with pytest.raises(ModelFileError, match="no language-model head"):
        ours.head(torch.zeros(1, 32))
    assert ours.draw_head() and ours.head(torch.zeros(1, 32)).shape == (1, VOCAB)


@pytest.mark.parametrize(("field", "value"), [("id2label", {"0": "a", "2": "b"}), ("id2label", ["a"]),
                                              ("problem_type", "ranking")])  # fmt: skip
def test_labels_that_cannot_be_read_are_refused_by_name(tmp_path: Path, field: str, value: object) -> None:
    their_model("bert", "classification", tmp_path)
    data = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps({**data, field: value}))
    with pytest.raises(ConfigError, match=field):
        Transformer.from_pretrained(tmp_path)


def test_labels_and_weights_that_differ_in_number_are_refused(tmp_path: Path) -> None:
    their_model("roberta", "classification", tmp_path)
    data = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps({**data, "id2label": {"0": "a", "1": "b"}}))
    with pytest.raises(ModelFileError, match="classifier"):
        Transformer.from_pretrained(tmp_path)


def test_every_class_of_the_table_is_one_of_transformers() -> None:
    families = [found for one in PRESETS.values() if (found := classes_of(one.model_type)) is not None]
    assert len(families) > 6
    named = [one.architecture for family in families for one in family.tasks.values()]
    named += [name for family in families for name in (family.body, family.encoder) if name]
    assert [name for name in named if getattr(transformers, name, None) is None] == []

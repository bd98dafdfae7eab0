"""Models that choose are folders of transformers' classes for multiple choice, and those of others open here."""

from pathlib import Path
from typing import Any

import pytest
import torch
import transformers

import trifold
from tests.parity.test_task_classes import SHAPES, their_model
from trifold.errors import ConfigError
from trifold.presets.classes import classes_of
from trifold.presets.pretrained import Transformer
from trifold.presets.task_head import TaskHead
from trifold.tasks import LoadedModel, MultipleChoice
from trifold.tasks.build import put_on, save_task
from trifold.tasks.equip import equip, portability
from trifold.text import train_tokenizer

FAMILIES = [name for name in SHAPES if (found := classes_of(name)) and "multiple_choice" in found.tasks]
QUESTION, CHOICES = "which animal barks ?", ["a dog", "a cat that sat on the mat", "狗"]
TEXTS = [QUESTION, *CHOICES] * 9
TOKENIZER = train_tokenizer(TEXTS, kind="wordpiece", vocab_size=60)


def their_scores(folder: Path) -> torch.Tensor:
    """What transformers' class says of the candidates, read in one padded batch; no weight of the folder is missing."""
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    model, report = transformers.AutoModelForMultipleChoice.from_pretrained(folder, output_loading_info=True)
    assert {name: found for name, found in report.items() if found} == {}
    given = tokenizer([QUESTION] * len(CHOICES), CHOICES, padding=True, return_tensors="pt")
    with torch.no_grad():
        return model.eval()(**{name: value[None] for name, value in given.items()}).logits[0]


def our_scores(tuned: LoadedModel) -> torch.Tensor:
    return torch.tensor(tuned.predict([(QUESTION, *CHOICES)])[0].logits)


def made(family: str) -> tuple[Transformer, Any]:
    """A small model of large random weights, and a task for it."""
    torch.manual_seed(1)
    shape = {"d_model": 32, "num_layers": 2, "num_heads": 2, "d_ff": 48, "vocab_size": TOKENIZER.vocab_size}
    model = Transformer.from_preset(family, size="tiny", **shape)
    return model, MultipleChoice(first_number=0, max_length=64).build(TOKENIZER, model.config)


def saved(model: Transformer, task: Any, folder: Path) -> Path:
    with torch.no_grad():
        for weight in model.parameters():
            weight.add_(torch.randn_like(weight), alpha=0.2)
    model.save_pretrained(folder, tokenizer=TOKENIZER)
    save_task(task, folder)
    return folder


def test_the_families_with_such_a_class_are_known() -> None:
    assert set(FAMILIES) == {"bert", "roberta", "electra", "albert", "distilbert", "xlm-roberta", "modernbert"}
    theirs = {name for name, (start, _) in SHAPES.items() if hasattr(transformers, f"{start}ForMultipleChoice")}
    assert theirs == set(FAMILIES)


@pytest.mark.parametrize("family", FAMILIES)
def test_a_folder_of_the_class_opens_as_a_model_that_chooses(tmp_path: Path, family: str) -> None:
    sizes = {"pad_token_id": TOKENIZER.special.pad, "vocab_size": TOKENIZER.vocab_size}
    their_model(family, "multiple_choice", tmp_path, **sizes)
    framing, typed = TOKENIZER.framing_for(encoder=True, decoder=False), family in ("bert", "electra", "albert")
    names = ["input_ids", *(["token_type_ids"] if typed else []), "attention_mask"]
    TOKENIZER.framed(framing, typed=typed).save_pretrained(tmp_path, settings={"model_input_names": names})
    tuned = trifold.load(tmp_path)
    assert tuned.require().config.kind == "multiple_choice"
    wanted = their_scores(tmp_path)
    assert torch.allclose(our_scores(tuned), wanted, rtol=1e-5, atol=1e-5) and wanted.std() > 0.01
    assert put_on(Transformer.from_pretrained(tmp_path), tuned.require(), str(tmp_path)) == ()  # its head is kept


@pytest.mark.parametrize(
    ("family", "field", "part"),
    [
        ("bert", "classifier_dropout", "dropout"),
        ("roberta", "hidden_dropout_prob", "dropout"),
        ("xlm-roberta", "hidden_dropout_prob", "dropout"),
        ("electra", "summary_last_dropout", "sequence_summary.last_dropout"),
        ("albert", "classifier_dropout_prob", "dropout"),
        ("distilbert", "seq_classif_dropout", "dropout"),
        ("modernbert", "classifier_dropout", "drop"),
    ],
)
def test_the_dropout_of_the_head_is_that_of_the_class(tmp_path: Path, family: str, field: str, part: str) -> None:
    theirs: Any = their_model(family, "multiple_choice", tmp_path / "theirs", **{field: 0.45})
    ours = Transformer.from_pretrained(tmp_path / "theirs")
    head = ours.heads["task"]
    assert isinstance(head, TaskHead)
    ours.save_pretrained(tmp_path / "ours")
    again = type(theirs).from_pretrained(tmp_path / "ours")
    found = [theirs.get_submodule(part).p, head.shape.dropout, again.get_submodule(part).p]
    assert found == [0.45] * 3


@pytest.mark.parametrize("family", FAMILIES)
def test_a_run_is_a_folder_of_the_class(tmp_path: Path, family: str) -> None:
    model, task = made(family)
    assert portability(model, task.head) == ()
    equip(model, task)
    saved(model, task, tmp_path)
    assert not (tmp_path / "extra.safetensors").exists()
    mine, theirs = our_scores(trifold.load(tmp_path)), their_scores(tmp_path)
    assert torch.allclose(mine, theirs, rtol=1e-5, atol=1e-5) and theirs.std() > 0.001


@pytest.mark.parametrize("family", ["gpt2", "t5"])
def test_a_family_without_the_class_keeps_its_head_apart(tmp_path: Path, family: str) -> None:
    model, task = made(family)
    assert portability(model, task.head) == (f"multiple_choice with {family}",)
    equip(model, task)
    saved(model, task, tmp_path)
    assert (tmp_path / "extra.safetensors").exists() and len(our_scores(trifold.load(tmp_path))) == len(CHOICES)


def test_a_run_whose_head_stands_apart_still_opens(tmp_path: Path) -> None:
    model, task = made("bert")
    equip(model, task, apart=True)
    saved(model, task, tmp_path)
    assert (tmp_path / "extra.safetensors").exists()
    direct = LoadedModel(model.eval(), TOKENIZER, task, tmp_path)
    assert torch.equal(our_scores(trifold.load(tmp_path)), our_scores(direct))
    assert put_on(Transformer.from_pretrained(tmp_path), task, str(tmp_path)) == ("class",)


@pytest.mark.parametrize(
    ("field", "value"), [("summary_type", "mean"), ("summary_use_proj", False), ("summary_activation", "tanh")]
)
def test_another_summary_of_electra_is_refused_by_name(tmp_path: Path, field: str, value: object) -> None:
    their_model("electra", "multiple_choice", tmp_path, **{field: value})
    with pytest.raises(ConfigError, match=field):
        Transformer.from_pretrained(tmp_path)

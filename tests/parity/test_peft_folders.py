"""Adapters of the peft library open as the model that they make of their base; others are refused by name."""

import json
import shutil
import warnings
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from tests.parity.families import BERT_LIKE, LLAMA_LIKE, T5_LIKE, VOCAB
from trifold.errors import ModelFileError
from trifold.presets.pretrained import Transformer
from trifold.tasks.build import is_fine_tuned

peft = pytest.importorskip("peft")

GPT2_LIKE: dict[str, Any] = {"vocab_size": VOCAB, "n_embd": 32, "n_layer": 3, "n_head": 4, "n_positions": 64,
                             "pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2}  # fmt: skip
BASES: dict[str, tuple[str, str, dict[str, Any], list[str]]] = {
    "bert": ("Bert", "ForMaskedLM", BERT_LIKE, ["query", "value", "attention.output.dense"]),
    "gpt2": ("GPT2", "LMHeadModel", GPT2_LIKE, ["c_attn", "c_proj"]),
    "llama": ("Llama", "ForCausalLM", LLAMA_LIKE, ["q_proj", "v_proj", "down_proj"]),
    "t5": ("T5", "ForConditionalGeneration", T5_LIKE, ["q", "v", "wi", "wo"]),
    "qwen3": ("Qwen3", "ForCausalLM", {**LLAMA_LIKE, "head_dim": 8}, ["q_proj", "v_proj", "down_proj"]),
    "gemma3_text": ("Gemma3", "ForCausalLM", {**LLAMA_LIKE, "head_dim": 8}, ["q_proj", "v_proj", "down_proj"]),
}
CONFIGS = {"gemma3_text": "Gemma3Text"}
TASKS = {"SEQ_CLS": "SequenceClassification", "TOKEN_CLS": "TokenClassification", "QUESTION_ANS": "QuestionAnswering"}
IDS = torch.cat([torch.arange(3, 25).reshape(2, 11), torch.ones(2, 1, dtype=torch.long)], dim=1)


def noise(model: nn.Module) -> None:
    with torch.no_grad():
        for weight in model.parameters():
            weight.add_(torch.randn_like(weight), alpha=0.2)


def their_base(family: str, folder: Path) -> Path:
    torch.manual_seed(0)
    name, kind, shape, _ = BASES[family]
    config = getattr(transformers, f"{CONFIGS.get(family, name)}Config")
    model = getattr(transformers, name + kind)(config(**shape))
    noise(model)
    model.save_pretrained(folder)
    return folder


def their_adapter(base: nn.Module, family: str, task: str | None, folder: Path, **fields: Any) -> nn.Module:
    """An adapter of random weights, saved in a folder."""
    targets = {"target_modules": BASES[family][3], "r": 4, "lora_alpha": 6, "task_type": task}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of fan_in_fan_out
        model = peft.get_peft_model(base, peft.LoraConfig(**{**targets, **fields}))
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if weight.requires_grad:
                torch.manual_seed(len(name))
                weight.copy_(0.1 * torch.randn_like(weight))
        model.save_pretrained(folder)
    return model.eval()


def ours(folder: Path, kind: type[nn.Module], out: Path) -> nn.Module:
    """The model that an adapter's folder opens as, in transformers' class."""
    Transformer.from_pretrained(folder).save_pretrained(out)
    again, report = kind.from_pretrained(out, output_loading_info=True)
    assert {name: found for name, found in report.items() if found} == {}
    return again.eval()


def assert_same(ours: nn.Module, theirs: nn.Module, base: nn.Module, ids: dict[str, Tensor]) -> None:
    with torch.no_grad():
        one, other, plain = (model(**ids)[0] for model in (ours, theirs, base))
    assert (one - other).abs().max() < 1e-4 < (other - plain).abs().max()


def inputs_of(family: str, task: str | None = None) -> dict[str, Tensor]:
    both = family == "t5" and task not in ("SEQ_CLS", "TOKEN_CLS", "QUESTION_ANS")
    return {"input_ids": IDS} | ({"decoder_input_ids": IDS} if both else {})


def open_base(family: str, folder: Path) -> nn.Module:
    name, kind = BASES[family][:2]
    return getattr(transformers, name + kind).from_pretrained(folder).eval()


PATTERNS = {"use_rslora": True, "rank_pattern": {r"\\b[a-z.]*0\\..*": 2}, "alpha_pattern": {"1\\..*": 9, "v": 3}}


@pytest.mark.parametrize("fields", [
    PATTERNS, *(pytest.param(case, marks=pytest.mark.slow) for case in [
        {}, {"bias": "all"}, {"bias": "lora_only", "lora_dropout": 0.2}]),
])  # fmt: skip
@pytest.mark.parametrize("family", BASES)
def test_an_adapter_says_what_peft_says(tmp_path: Path, family: str, fields: dict[str, Any]) -> None:
    base = open_base(family, their_base(family, tmp_path / "base"))
    theirs = their_adapter(base, family, None, tmp_path / "adapter", **fields)
    model = ours(tmp_path / "adapter", type(base), tmp_path / "ours")
    assert_same(model, theirs, open_base(family, tmp_path / "base"), inputs_of(family))


@pytest.mark.parametrize("task", ["SEQ_CLS", *(pytest.param(task, marks=pytest.mark.slow) for task in list(TASKS)[1:])])
@pytest.mark.parametrize("family", ["bert", "gpt2", "llama", "t5"])
def test_an_adapter_of_a_task_brings_its_head(tmp_path: Path, family: str, task: str) -> None:
    if (family, task) == ("llama", "QUESTION_ANS"):
        pytest.skip("transformers' class for it reads no base of the class with a language-model head")
    their_base(family, tmp_path / "base")
    kind = getattr(transformers, f"{BASES[family][0]}For{TASKS[task]}")
    labels = {} if task == "QUESTION_ANS" else {"num_labels": 3}
    more = ["pooler"] if family == "bert" and task == "SEQ_CLS" else []
    output = "score" if family == "llama" or (family, task) == ("gpt2", "SEQ_CLS") else "classifier"
    output = "classification_head" if (family, task) == ("t5", "SEQ_CLS") else output
    head = [*more, "qa_outputs" if task == "QUESTION_ANS" else output]
    torch.manual_seed(1)
    base = kind.from_pretrained(tmp_path / "base", **labels)
    theirs = their_adapter(base, family, task, tmp_path / "adapter", modules_to_save=head)
    assert is_fine_tuned(tmp_path / "adapter")
    model = ours(tmp_path / "adapter", kind, tmp_path / "ours")
    plain = kind.from_pretrained(tmp_path / "base", **labels).eval()
    assert_same(model, theirs, plain, inputs_of(family, task))


def test_a_base_is_found_beside_its_adapter(tmp_path: Path) -> None:
    base = open_base("gpt2", their_base("gpt2", tmp_path / "old"))
    their_adapter(base, "gpt2", "CAUSAL_LM", tmp_path / "old" / "adapter")
    shutil.move(tmp_path / "old" / "adapter", tmp_path / "adapter")
    change(tmp_path / "adapter", base_model_name_or_path=str(tmp_path / "gone"))
    with pytest.raises(ModelFileError, match="base_model_name_or_path"):
        Transformer.from_pretrained(tmp_path / "adapter")
    (tmp_path / "old").rename(tmp_path / "gone2")
    change(tmp_path / "adapter", base_model_name_or_path="/elsewhere/gone2")
    assert Transformer.from_pretrained(tmp_path / "adapter").decoder is not None


def change(folder: Path, **fields: Any) -> None:
    path = folder / "adapter_config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **fields}))


@pytest.fixture(scope="module")
def adapter(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("adapters")
    base = open_base("llama", their_base("llama", folder / "base"))
    their_adapter(base, "llama", "CAUSAL_LM", folder / "adapter")
    return folder / "adapter"


@pytest.mark.parametrize(("field", "value"), [
    ("peft_type", "IA3"), ("use_dora", True), ("lora_bias", True), ("target_parameters", ["a"]), ("r", "4"),
    ("layer_replication", [[0, 2]]), ("trainable_token_indices", [3]), ("init_lora_weights", "pissa"), ("bias", "some"),
    ("a_field_of_tomorrow", {"on": True}), ("alpha_pattern", ["x"]), ("lora_alpha", None),
])  # fmt: skip
def test_a_kind_of_adapter_that_is_not_read_is_refused_by_its_field(
    adapter: Path, tmp_path: Path, field: str, value: object
) -> None:
    shutil.copytree(adapter, tmp_path / "copy")
    change(tmp_path / "copy", **{field: value}, base_model_name_or_path=str(adapter.parent / "base"))
    with pytest.raises(ModelFileError, match=field):
        Transformer.from_pretrained(tmp_path / "copy")


@pytest.mark.parametrize(("spoil", "named"), [
    (lambda tensors, one: tensors.pop(one), "q_proj.lora_A"),
    (lambda tensors, one: tensors.update({one.replace("q_proj", "other"): tensors.pop(one)}), "other"),
    (lambda tensors, one: tensors.update({one: tensors[one][:2]}), "q_proj"),
    (lambda tensors, one: tensors.update({"base_model.model.extra.weight": tensors[one]}), "extra.weight"),
    (lambda tensors, one: tensors.update({one.replace("lora_A", "lora_magnitude_vector"): tensors[one]}), "magnitude"),
    (lambda tensors, one: [tensors.pop(name) for name in list(tensors) if "layers.1.self_attn.q" in name], "layers.1"),
])  # fmt: skip
def test_tensors_that_do_not_fit_are_listed(adapter: Path, tmp_path: Path, spoil: Any, named: str) -> None:
    shutil.copytree(adapter, tmp_path / "copy")
    change(tmp_path / "copy", base_model_name_or_path=str(adapter.parent / "base"))
    file = tmp_path / "copy" / "adapter_model.safetensors"
    tensors = load_file(file)
    spoil(tensors, next(name for name in sorted(tensors) if "q_proj.lora_A" in name))
    save_file({name: value.clone().contiguous() for name, value in tensors.items()}, file)
    with pytest.raises(ModelFileError, match=named):
        Transformer.from_pretrained(tmp_path / "copy")

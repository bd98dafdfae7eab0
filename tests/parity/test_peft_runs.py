"""A run that keeps its adapter: the peft library makes of its start what the run's merged model is."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from torch import Tensor

from tests.shapes import small_options
from trifold.errors import ConfigError
from trifold.presets.pretrained import Transformer
from trifold.tasks import (
    Classification,
    FineTuning,
    Generation,
    LabelledData,
    LowRank,
    MultipleChoice,
    Regression,
    SpanQA,
    Tagging,
    Translation,
    finetune,
)
from trifold.tasks.experiment import TRAINING
from trifold.tasks.task import TaskConfig
from trifold.text import train_tokenizer
from trifold.training import ModelChoice

peft = pytest.importorskip("peft")
pytestmark = pytest.mark.filterwarnings("ignore:.*is_gradient_checkpointing:FutureWarning")  # peft's own

WORDS = "the cat sat on a mat and saw the dog run to the red house at noon".split()
SHAPES: dict[str, dict[str, Any]] = {
    "bert": {"d_model": 32, "num_layers": 2, "num_heads": 2, "d_ff": 48, "max_length": 64},
    "gpt2": {"d_model": 32, "num_layers": 2, "num_heads": 2, "d_ff": 48, "max_length": 64},
    "llama": {"d_model": 32, "num_layers": 2, "num_heads": 4, "num_kv_heads": 2, "d_ff": 48, "max_length": 64},
    **{name: {**small_options(name), "d_model": 32, "max_length": 64} for name in ("qwen3", "gemma3_text")},
    "t5": {"d_model": 32, "num_layers": 2, "num_heads": 2, "d_ff": 48},
}
ROWS: dict[str, list[dict[str, Any]]] = {
    "classification": [{"text": " ".join(WORDS[n : n + 5]), "label": "ab"[n % 2]} for n in range(10)],
    "regression": [{"text": " ".join(WORDS[n : n + 5]), "label": n / 2} for n in range(10)],
    "tagging": [{"tokens": WORDS[n : n + 5], "tags": ["O", "B-X", "O", "O", "O"]} for n in range(10)],
    "span_qa": [{"id": str(n), "question": "who", "context": " ".join(WORDS), "answers":
                 {"text": ["cat"], "answer_start": [4]}} for n in range(10)],
    "multiple_choice": [{"question": WORDS[n], "choices": WORDS[n : n + 3], "label": n % 3} for n in range(10)],
    "generation": [{"prompt": " ".join(WORDS[n : n + 3]), "response": WORDS[n]} for n in range(10)],
    "translation": [{"source": " ".join(WORDS[n : n + 3]), "target": WORDS[n]} for n in range(10)],
}  # fmt: skip
TASKS: dict[str, TaskConfig] = {
    "classification": Classification(), "regression": Regression(), "tagging": Tagging(), "span_qa": SpanQA(),
    "multiple_choice": MultipleChoice(),
    "generation": Generation(chat_template="none"), "translation": Translation(),
}  # fmt: skip


def start(family: str, folder: Path) -> Path:
    tokenizer = train_tokenizer(
        [" ".join(WORDS)] * 9, kind="wordpiece" if family == "bert" else "byte_bpe", vocab_size=300
    )
    torch.manual_seed(0)
    model = Transformer.from_preset(family, size="tiny", **{**SHAPES[family], "vocab_size": tokenizer.vocab_size})
    with torch.no_grad():
        for weight in model.parameters():
            weight.add_(torch.randn_like(weight), alpha=0.1)
    model.save_pretrained(folder, tokenizer=tokenizer)
    return folder


def experiment(folder: Path, task: str, base: Path, **fields: Any) -> FineTuning:
    file = folder / f"{task}.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in ROWS[task]))
    lora = LowRank(**{"rank": 2, "alpha": 6.0, "keep": "adapter", **fields.pop("lora", {})})
    training = replace(TRAINING, steps=4, batch_size=4, optimizer=replace(TRAINING.optimizer, lr=0.05))
    return FineTuning(model=ModelChoice(start=str(base)), data=LabelledData(train=str(file), dev=str(file)),
                      task=fields.pop("settings", TASKS[task]), lora=lora, training=training, epochs=None)  # fmt: skip


def say(model: Any, ids: dict[str, Tensor]) -> Tensor:
    with torch.no_grad():
        found = model.eval()(**ids)
    return torch.stack([found.start_logits, found.end_logits]) if "start_logits" in found else found.logits


@pytest.mark.parametrize(("family", "task", "lora"), [
    ("bert", "classification", {}), ("gpt2", "generation", {}), ("llama", "classification", {}), ("t5", "translation", {}),
    ("gemma3_text", "generation", {}),
    *(pytest.param(*case, marks=pytest.mark.slow) for case in [
        ("bert", "tagging", {"targets": ("q_proj", "o_proj")}), ("llama", "generation", {"targets": ("v_proj",)}),
        ("gpt2", "classification", {"targets": ("q_proj", "v_proj")}), ("gpt2", "regression", {}),
        ("t5", "classification", {}), ("t5", "tagging", {}), ("t5", "span_qa", {}), ("qwen3", "generation", {}),
        ("bert", "multiple_choice", {}),
    ]),
])  # fmt: skip
def test_peft_makes_of_the_start_what_the_run_is(tmp_path: Path, family: str, task: str, lora: dict[str, Any]) -> None:
    base = start(family, tmp_path / "base")
    finetune(experiment(tmp_path, task, base, lora=lora), tmp_path / "run")
    shape = json.loads((tmp_path / "run" / "config.json").read_text())
    kind = getattr(transformers, shape["architectures"][0])
    merged = kind.from_pretrained(tmp_path / "run")
    labels = {name: shape[name] for name in ("id2label", "label2id", "problem_type", "pad_token_id") if name in shape}
    plain = kind.from_pretrained(base, **labels)
    ids = {"input_ids": torch.tensor([[9, 7, 8, 11, 1]])}
    ids |= {"decoder_input_ids": ids["input_ids"]} if task == "translation" else {}
    if task == "multiple_choice":
        ids["input_ids"] = ids["input_ids"][None]  # of one question
    if family == "t5" and task == "classification":
        ids["input_ids"][0, -1] = shape["eos_token_id"]
    before = say(plain, ids)
    adapted = peft.PeftModel.from_pretrained(plain, tmp_path / "run" / "adapter")
    after = say(merged, ids)
    assert (say(adapted, ids) - after).abs().max() < 1e-4 < (before - after).abs().max()
    again = Transformer.from_pretrained(tmp_path / "run" / "adapter")
    mine = dict(Transformer.from_pretrained(tmp_path / "run").named_parameters())
    assert all((value - mine[name]).abs().max() < 1e-5 for name, value in again.named_parameters())
    assert again.outputs is None or list(again.outputs.labels) == list(
        shape.get("id2label", {"": "score"} if task == "multiple_choice" else {"": "start", "-": "end"}).values()
    )


def test_what_no_adapter_can_say_is_refused_at_the_start(tmp_path: Path) -> None:
    base = start("gpt2", tmp_path / "base")
    with pytest.raises(ConfigError, match="lora.keep"):
        FineTuning(model=ModelChoice(preset="gpt2"), data=LabelledData(train="a"), lora=LowRank(rank=2, keep="adapter"))
    hard = experiment(tmp_path, "classification", base, settings=Classification(ngrams=1))
    with pytest.raises(ConfigError, match="heads"):
        finetune(hard, tmp_path / "ngrams")
    talk = experiment(tmp_path, "generation", base, settings=Generation(chat_template="chatml"))
    with pytest.raises(ConfigError, match="chat_template"):
        finetune(talk, tmp_path / "talk")
    assert not (tmp_path / "talk" / "adapter").exists()

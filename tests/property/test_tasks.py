"""Tasks keep the promises of pre-training: packed is alone in loss and gradients, predictions do not depend on company."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from trifold.batch import Batch
from trifold.errors import ConfigError
from trifold.presets.pretrained import Transformer
from trifold.tasks import (
    Classification,
    Embedding,
    Generation,
    Record,
    Regression,
    SpanQA,
    Tagging,
    Translation,
    build_task,
)
from trifold.tasks.classification import ClassificationTask
from trifold.tasks.conversation import Turn
from trifold.tasks.embedding import Partners
from trifold.tasks.equip import equip
from trifold.tasks.frame import Frame, pack
from trifold.tasks.generation import Conversation
from trifold.text import Tokenizer, train_tokenizer
from trifold.text.tokenizer import SpecialTokens

TEXTS = ["a cat sat on the mat", "dogs run", "the bird sings a very long song in the old tree", "猫 坐在 垫子 上", "ok"]
TOKENIZER = train_tokenizer(TEXTS * 20, kind="byte_bpe", vocab_size=320)
QUESTIONS = [("where?", "mat"), ("who runs?", "dogs"), ("where?", "old tree"), ("谁?", "猫"), ("what?", "ok")]
CASES = {
    "classification": (Classification(labels=("x", "y", "z")), [Record((t,), "xyz"[n % 3]) for n, t in enumerate(TEXTS)]),
    "pairs": (Classification(labels=("x", "y"), pairs=True), [Record((t, "the cat"), "xy"[n % 2]) for n, t in
                                                              enumerate(TEXTS)]),
    "matched_pairs": (Classification(labels=("x", "y"), pairs=True, match=True),
                      [Record((t, "the cat"), "xy"[n % 2]) for n, t in enumerate(TEXTS)]),
    "multi_label": (Classification(labels=("x", "y"), multi_label=True, ngrams=3), [Record((t,), ("x", "y")[: n % 3])
                                                                                    for n, t in enumerate(TEXTS)]),
    "regression": (Regression(pairs=True, mean=1.0, deviation=2.0), [Record((t, "the cat"), n / 3) for n, t in
                                                                     enumerate(TEXTS)]),
    "tagging": (Tagging(labels=("A", "O")), [Record(tuple(t.split()), tuple("AO"[len(w) % 2] for w in t.split())) for t in
                                             TEXTS]),
    "span_qa": (SpanQA(max_length=40, stride=9, max_question=8), [Record((q, t), ((a, t.index(a)),)) for (q, a), t in
                                                                  zip(QUESTIONS, TEXTS, strict=True)]),
    "matched_span_qa": (SpanQA(max_length=40, stride=9, max_question=8, match=True),
                        [Record((q, t), ((a, t.index(a)),)) for (q, a), t in zip(QUESTIONS, TEXTS, strict=True)]),
    "translation": (Translation(), [Record((t,), t[::-1]) for t in TEXTS]),
    "generation": (Generation(), [Conversation((f"say {t}",), t, turns=(Turn("user", f"say {t}"), Turn("assistant", t)))
                                  for t in TEXTS]),
}  # fmt: skip
FAMILIES = ("bert", "modernbert", "gpt2", "llama", "t5", "vaswani")
WRITING = ("translation", "generation")


def make(preset: str, name: str):
    torch.manual_seed(3)
    overrides = {"num_layers": 2, "d_model": 32, "num_heads": 2, "vocab_size": TOKENIZER.vocab_size}
    overrides |= {"num_kv_heads": 1} if preset == "llama" else {}
    overrides |= {"head_size": 16} if preset == "t5" else {}
    model = Transformer.from_preset(preset, size="tiny", **overrides)
    task = build_task(CASES[name][0], TOKENIZER, model.config)
    equip(model, task)
    for value in model.parameters():
        torch.nn.init.normal_(value, std=0.2)
    return model.double().eval(), task, CASES[name][1]


def gradients(model: Transformer, task, batches: list[Batch]) -> tuple[float, dict[str, torch.Tensor]]:
    model.zero_grad()
    total = sum(task.loss(model, batch).sum for batch in batches)
    total.backward()
    return total.item(), {
        name: value.grad.clone() for name, value in model.named_parameters() if value.grad is not None
    }


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("preset", FAMILIES)
def test_g3_packed_is_alone_in_loss_and_gradients(preset, name):
    if name in WRITING and preset in ("bert", "modernbert"):
        pytest.skip("an encoder does not write")
    model, task, records = make(preset, name)
    flat = [one for part in task.examples(records) for one in part]
    together, _ = pack(flat, task.frame.pad)
    assert len(together.labels) < len(flat), "several share a row"
    loss, packed = gradients(model, task, [together])
    alone_loss, alone = gradients(model, task, [pack([one], task.frame.pad)[0] for one in flat])
    assert loss == pytest.approx(alone_loss, rel=1e-12)
    assert packed.keys() == alone.keys() and any("heads." in key for key in packed) == (name not in WRITING)
    for key, value in alone.items():
        torch.testing.assert_close(packed[key], value, rtol=0, atol=1e-11, msg=lambda text, key=key: f"{key}: {text}")
    assert task.loss(model, together).weight == int((together.labels != -100).sum())


@pytest.mark.parametrize("name", [name for name in CASES if name not in WRITING])
@pytest.mark.parametrize("preset", FAMILIES)
def test_g5_a_prediction_is_the_same_alone_and_in_company(preset, name):
    model, task, records = make(preset, name)
    unlabelled = [replace(record, gold=None) for record in records]
    together = task.predict(model, unlabelled)
    for record, one in zip(unlabelled, together, strict=True):
        (alone,) = task.predict(model, [record])
        scored = isinstance(one.answer, float)
        assert alone.answer == (pytest.approx(one.answer, rel=1e-9) if scored else one.answer)
        assert alone.confidence == (None if scored else pytest.approx(one.confidence, rel=1e-9))


class Maskless(Tokenizer):
    """A tokenizer like GPT-2's, without a mask token."""

    special = SpecialTokens(bos=1)


def test_tokens_are_hidden_in_training_only_and_never_those_with_a_role():
    tokenizer = train_tokenizer(TEXTS * 20, kind="wordpiece", vocab_size=320)
    model = Transformer.from_preset("bert", size="tiny", vocab_size=tokenizer.vocab_size, num_layers=1)
    task = build_task(Classification(labels=("x", "y"), token_dropout=0.5), tokenizer, model.config)
    equip(model, task)
    batch, _ = pack([one for part in task.examples([Record((TEXTS[2],), "x")] * 64) for one in part], task.frame.pad)
    torch.manual_seed(1)
    seen = []
    model.register_forward_pre_hook(lambda _, given: seen.append(given[0].source))
    for training in (True, False):
        task.loss(model.train(training), batch)
    assert torch.equal(seen[1], batch.source)
    changed, roles = seen[0] != batch.source, torch.isin(batch.source, torch.tensor(tokenizer.special.all_ids))
    assert not (changed & roles).any() and (seen[0][changed] == tokenizer.special.mask).all()
    assert 0.4 < changed[~roles].float().mean() < 0.6
    with pytest.raises(ConfigError, match="token_dropout"):
        ClassificationTask(task.config, object.__new__(Maskless), model.config)


@pytest.mark.parametrize("preset", FAMILIES)
def test_embeddings_of_packed_texts_are_those_of_each_alone(preset):
    torch.manual_seed(3)
    model = Transformer.from_preset(preset, size="tiny", vocab_size=TOKENIZER.vocab_size, num_layers=2).double().eval()
    task = build_task(Embedding(), TOKENIZER, model.config)
    equip(model, task)
    together = task.embed(model, TEXTS)
    alone = np.concatenate([task.embed(model, [text]) for text in TEXTS])
    np.testing.assert_allclose(together, alone, atol=1e-6)
    np.testing.assert_allclose(np.linalg.norm(together, axis=1), 1.0, atol=1e-6)
    pairs = task.examples([Record((text,), Partners((text[::-1],))) for text in TEXTS])
    batch, _ = pack([one for pair in pairs for one in pair], task.frame.pad)
    loss = task.loss(model, batch)
    assert loss.weight == 2 * len(TEXTS) and 0 < loss.sum.item() < 1e3


@pytest.mark.parametrize("sizes", [(3, 40), (40, 3), (30, 30), (50,), (1, 1)])
def test_parts_are_cut_where_they_are_longest_and_no_more_than_needed(sizes):
    model = Transformer.from_preset("bert", size="tiny", vocab_size=320, max_length=32)
    frame = Frame(TOKENIZER, model.config, 24)
    parts = frame.fit([np.arange(size) for size in sizes])
    room = 24 - 1 - len(sizes)
    assert sum(map(len, parts)) == min(sum(sizes), room)
    cut = [len(part) for part, size in zip(parts, sizes, strict=True) if len(part) < size]
    whole = [len(part) for part, size in zip(parts, sizes, strict=True) if len(part) == size]
    assert not cut or max(cut) - min(cut) <= 1
    assert not cut or not whole or max(whole) <= max(cut) + 1
    ids, places = frame.lay(parts)
    assert len(ids) <= 24 and [int(ids[place - 1]) for place in places[1:]] == [frame.end] * (len(sizes) - 1)

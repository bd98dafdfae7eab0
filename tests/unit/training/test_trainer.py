"""The trainer keeps its promises: accumulation is one big batch, resuming is going on, a bad step changes nothing."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace

import numpy as np
import pytest
import torch
from torch import Tensor

from tests.shapes import SHAPES, VOCAB
from trifold.batch import IGNORED, Batch, Layout, Loss
from trifold.errors import ConfigError, NonFiniteError
from trifold.model import Transformer
from trifold.objective.cross_entropy import sum_cross_entropy
from trifold.training import AdamW, Muon, Schedule, Trainer, Training, evaluate_loss


class NextToken:
    """Just enough of an objective: the loss of the batch's own labels."""

    kind = "causal"

    def loss(self, model: Transformer, batch: Batch) -> Loss:
        total, count = sum_cross_entropy(model.head, model(batch), batch.labels)
        return Loss(total, count)


@dataclass
class Rows:
    """An endless stream of batches that depend on their number only; labels are of unequal number."""

    batch_size: int = 4
    place: int = 0
    poison: int = -1
    seen: list[int] = field(default_factory=list)

    def make(self, number: int) -> Batch:
        generator = torch.Generator().manual_seed(number)
        tokens = torch.randint(0, VOCAB, (self.batch_size, 13), generator=generator)
        labels = tokens[:, 1:].clone()
        labels[torch.rand(labels.shape, generator=generator) < number % 4 / 4] = IGNORED
        return Batch(target=tokens[:, :-1], target_layout=Layout.whole(self.batch_size, 12), labels=labels)

    def __iter__(self) -> Iterator[Batch]:
        while True:
            self.seen.append(self.place)
            self.place += 1
            yield self.make(self.place - 1)

    def state_dict(self) -> dict[str, int]:
        return {"place": self.place}

    def load_state_dict(self, state: Mapping[str, int]) -> None:
        self.place = state["place"]


def make_model(seed: int = 0) -> Transformer:
    torch.manual_seed(seed)
    return Transformer(SHAPES["decoder_pre_learned"])


def make_trainer(model: Transformer | None = None, rows: Rows | None = None, **changes: object) -> Trainer:
    settings = {"steps": 6, "dtype": "float64", "optimizer": AdamW(lr=1e-2), **changes}
    return Trainer(model or make_model(), NextToken(), rows or Rows(), Training(**settings))  # type: ignore[arg-type]


def weights(trainer: Trainer) -> dict[str, Tensor]:
    return {name: value.detach().clone() for name, value in trainer.weights.exact.items()}


def assert_same(one: Mapping[str, Tensor], other: Mapping[str, Tensor], tolerance: float = 0.0) -> None:
    assert one.keys() == other.keys()
    for name, value in one.items():
        torch.testing.assert_close(value, other[name], rtol=tolerance, atol=tolerance, msg=name)


def test_a22_accumulation_of_unequal_passes_is_one_big_batch():
    class Together(Rows):
        def make(self, number: int) -> Batch:
            parts = [Rows(batch_size=4).make(3 * number + index) for index in range(3)]
            join = [torch.cat([getattr(part, name) for part in parts]) for name in ("target", "labels")]
            return Batch(target=join[0], target_layout=Layout.whole(12, 12), labels=join[1])

    apart = make_trainer(accumulation=3)
    together = make_trainer(rows=Together())
    for one, other in zip(apart.steps(), together.steps(), strict=True):
        assert one.loss == pytest.approx(other.loss, abs=1e-12)
        assert one.gradient_norm == pytest.approx(other.gradient_norm, abs=1e-11)
        assert one.tokens == other.tokens
    assert_same(weights(apart), weights(together), 1e-9)  # Adam divides by tiny numbers, which enlarges 1e-16


@pytest.mark.parametrize("kind", [list, iter, lambda batches: torch.utils.data.DataLoader(batches, batch_size=None)])
def test_training_ends_with_the_batches_where_they_end_and_says_so(kind):
    batches = [Rows().make(number) for number in range(5)]
    trainer = make_trainer(rows=kind(batches), accumulation=2)
    with pytest.warns(UserWarning, match="ended after step 3"):
        losses = [step.loss for step in trainer.steps()]
    endless = make_trainer(accumulation=2).steps()
    assert losses[:2] == [next(endless).loss for _ in range(2)] and len(losses) == 3  # the last is of one pass


@pytest.mark.parametrize("kind", [list, iter])
def test_batches_of_any_iterable_are_taken_up_where_they_were_left(kind):
    batches = [Rows().make(number) for number in range(6)]
    whole, cut = make_trainer(rows=batches), make_trainer(rows=batches)
    steps = cut.steps()
    for _ in range(3):
        next(steps)
    again = make_trainer(rows=kind(batches))
    with torch.no_grad():
        for name, value in again.weights.exact.items():
            value.copy_(cut.weights.exact[name])
    again.weights.refresh()
    again.load_state(*cut.state())
    assert [step.loss for step in again.steps()] == [step.loss for step in whole.steps()][3:]


def test_the_loss_of_a_step_is_the_mean_over_the_places_with_a_label():
    model = make_model()
    batch = Rows().make(1)
    logits = model.double().head(model(batch)).flatten(0, 1)
    expected = torch.nn.functional.cross_entropy(logits, batch.labels.flatten(), ignore_index=IGNORED).item()
    step = next(make_trainer(model, Rows(place=1)).steps())
    assert step.loss == pytest.approx(expected, abs=1e-12)
    assert step.tokens == int((batch.labels != IGNORED).sum()) < batch.labels.numel()


def test_gradients_are_clipped_to_the_limit_and_no_further():
    free, tight, wide = (make_trainer(clip=clip, optimizer=AdamW(lr=1e-2, eps=1.0)) for clip in (None, 1e-3, 1e3))
    start = weights(free)
    norms = [next(one.steps()).gradient_norm for one in (free, tight, wide)]
    assert norms[0] == norms[1] == norms[2] > 1e-2
    moved = [
        max((value - start[name]).abs().max() for name, value in weights(one).items()) for one in (free, tight, wide)
    ]
    assert moved[0] == moved[2] > 10 * moved[1]


@pytest.mark.parametrize("optimizer", [AdamW(lr=1e-2), Muon()], ids=["adamw", "muon"])
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_a11_resume_is_the_uninterrupted_run_bit_by_bit(optimizer, dtype):
    whole = make_trainer(optimizer=optimizer, dtype=dtype, accumulation=2)
    list(whole.steps())

    first = make_trainer(optimizer=optimizer, dtype=dtype, accumulation=2)
    for step in first.steps():
        if step.step == 3:
            break
    tensors, numbers = first.state()
    saved = weights(first)

    second = make_trainer(make_model(seed=99), optimizer=optimizer, dtype=dtype, accumulation=2)
    with torch.no_grad():
        for name, value in second.weights.exact.items():
            value.copy_(saved[name])
    second.weights.refresh()
    second.load_state(tensors, numbers)
    steps = list(second.steps())

    assert [step.step for step in steps] == [4, 5, 6]
    assert_same(weights(second), weights(whole))


def test_same_seed_is_the_same_run_and_another_seed_is_not():
    runs = [[step.loss for step in make_trainer(make_model(), seed=seed).steps()] for seed in (1, 1)]
    assert runs[0] == runs[1]


def test_a20_a_non_finite_step_stops_and_leaves_the_weights_of_the_step_before():
    class Poisoned(NextToken):
        calls = 0

        def loss(self, model: Transformer, batch: Batch) -> Loss:
            Poisoned.calls += 1
            loss = super().loss(model, batch)
            return Loss(loss.sum * float("nan"), loss.weight) if Poisoned.calls == 3 else loss

    trainer = make_trainer()
    trainer.objective = Poisoned()
    steps = trainer.steps()
    next(steps), next(steps)
    before = weights(trainer)
    with pytest.raises(NonFiniteError, match="3"):
        next(steps)
    assert_same(weights(trainer), before)


@pytest.mark.parametrize("optimizer", [AdamW(lr=1e-2), Muon(lr=2e-2, adamw=AdamW(lr=1e-2))], ids=["adamw", "muon"])
def test_loss_falls_on_a_pattern_that_can_be_learned(optimizer):
    class Counting(Rows):
        def make(self, number: int) -> Batch:
            tokens = (torch.arange(13) + torch.arange(4)[:, None] + number) % VOCAB
            return Batch(target=tokens[:, :-1], target_layout=Layout.whole(4, 12), labels=tokens[:, 1:])

    trainer = make_trainer(rows=Counting(), steps=200, optimizer=optimizer, dtype="float32")
    losses = [step.loss for step in trainer.steps()]
    assert losses[0] > 2.5 and losses[-1] < 0.5


def test_bfloat16_keeps_small_updates_in_the_exact_weights():
    trainer = make_trainer(dtype="bfloat16", optimizer=AdamW(lr=1e-6), schedule=Schedule(kind="constant", warmup=0.0))
    before = weights(trainer)
    list(trainer.steps())
    moved = [name for name, value in weights(trainer).items() if not torch.equal(value, before[name])]
    assert len(moved) == len(before)
    with trainer.weights.computing():
        assert all(parameter.dtype == torch.bfloat16 for parameter in trainer.model.parameters())
        with trainer.weights.exact_model() as model:
            assert all(parameter.dtype == torch.float32 for parameter in model.parameters())
        assert all(parameter.dtype == torch.bfloat16 for parameter in trainer.model.parameters())


@pytest.mark.parametrize("dtype", ["bfloat16", "float32"])
def test_the_model_in_hand_has_the_exact_weights_and_what_is_changed_between_steps_counts(dtype):
    model = make_model()
    block = model.decoder.blocks[0]
    part, frozen = block.feed_forward.branch, block.attention.branch.q_proj.weight
    frozen.requires_grad_(False)
    kept = frozen.detach().clone()
    trainer = make_trainer(model, dtype=dtype, schedule=Schedule(kind="constant", warmup=0.0))
    for step in trainer.steps():
        for name, value in model.named_parameters():
            assert value.dtype == torch.float32 and torch.equal(value, trainer.weights.exact[name])
        if step.step == 3:
            before = [one.detach().clone() for one in (part.up_proj.weight, model.embedding.tokens.weight)]
            with torch.no_grad():
                part.up_proj.weight.mul_(2.0)
            model.embedding.tokens.weight.data += 1.0
        if step.step == 4:  # one step of 0.01 a weight later
            assert (part.up_proj.weight - 2.0 * before[0]).abs().max() < 0.02
            assert (model.embedding.tokens.weight - 1.0 - before[1]).abs().max() < 0.02
    assert torch.equal(frozen, kept)


def test_an_edit_is_what_the_next_pass_computes_with():
    plain, edited = make_trainer(dtype="bfloat16", steps=2), make_trainer(dtype="bfloat16", steps=2)
    steps = edited.steps()
    next(steps)
    with torch.no_grad():
        edited.model.embedding.tokens.weight.zero_()
    assert next(steps).loss == pytest.approx(np.log(VOCAB), abs=1e-3) != list(plain.steps())[1].loss


class Mean(NextToken):
    """A loss that is a mean, of labels that the batch does not have."""

    def loss(self, model: Transformer, batch: Batch) -> Loss:
        whole = super().loss(model, batch)
        return Loss(whole.sum / max(whole.weight, 1) * batch.num_rows, batch.num_rows, {"rows": batch.num_rows})


def test_the_weight_that_a_loss_gives_is_what_its_sum_is_divided_by():
    class Scaled(NextToken):
        def loss(self, model: Transformer, batch: Batch) -> Loss:
            loss = super().loss(model, batch)
            return Loss(loss.sum * 7.0, loss.weight * 7.0, {"twice": 2 * loss.weight})

    plain, scaled = make_trainer(accumulation=2), make_trainer(accumulation=2)
    scaled.objective = Scaled()
    for one, other in zip(plain.steps(), scaled.steps(), strict=True):
        assert (one.loss, one.gradient_norm) == pytest.approx((other.loss, other.gradient_norm), rel=1e-12)
        assert other.tokens == 7 * one.tokens and other.metrics == {"twice": pytest.approx(2 / 7)}
    assert_same(weights(plain), weights(scaled), 1e-12)


def test_means_of_passes_weigh_as_they_say_and_labels_are_not_needed():
    batches = [Rows().make(number) for number in (0, 4)]  # all places labelled
    together = Batch(target=torch.cat([one.target for one in batches]), target_layout=Layout.whole(8, 12),
                     labels=torch.cat([one.labels for one in batches]))  # fmt: skip
    whole, parts = (Trainer(make_model(), Mean(), given, Training(steps=1, dtype="float64", accumulation=passes))
                    for given, passes in (([together], 1), (batches, 2)))  # fmt: skip
    one, other = next(whole.steps()), next(parts.steps())
    assert (one.loss, one.gradient_norm) == pytest.approx((other.loss, other.gradient_norm), rel=1e-12)
    assert one.tokens == other.tokens == 8 and one.metrics == {"rows": 1.0}

    class Unlabelled(NextToken):
        def loss(self, model: Transformer, batch: Batch) -> Loss:
            return Loss(model(batch).square().sum(), 0.5)

    bare = Batch(target=batches[0].target, target_layout=batches[0].target_layout)
    trainer = Trainer(make_model(), Unlabelled(), [bare] * 3, Training(tokens=1, dtype="float32"))
    assert [step.tokens for step in trainer.steps()] == [0.5, 1]


def test_batches_without_a_label_move_nothing_and_divide_by_nothing():
    empty = [replace(Rows().make(0), labels=torch.full((4, 12), IGNORED))] * 2
    trainer = Trainer(make_model(), NextToken(), empty, Training(tokens=100, dtype="float32"))
    with pytest.warns(UserWarning, match="batches ended"):
        steps = list(trainer.steps())
    assert [(step.loss, step.tokens, step.progress) for step in steps] == [(0.0, 0, 0.0)] * 2


@pytest.mark.parametrize("dtype", ["bfloat16", "float64"])
def test_an_optimizer_of_one_s_own_moves_the_exact_weights(dtype):
    model, other = make_model(), make_model()
    rate = {"schedule": Schedule(kind="constant", warmup=0.0), "dtype": dtype, "clip": None}
    own = torch.optim.SGD(model.decoder.blocks[0].parameters(), lr=0.5)
    before = {name: value.detach().clone() for name, value in model.named_parameters()}
    step = next(Trainer(model, NextToken(), Rows(), Training(steps=3, **rate), optimizer=own).steps())
    moved = {name for name, value in model.named_parameters() if not torch.equal(value, before[name].to(value.dtype))}
    assert moved == {name for name in before if ".blocks.0." in name} and step.learning_rate == 0.5
    with pytest.raises(ConfigError, match=r"not the model's.*model\.parameters"):
        Trainer(other, NextToken(), Rows(), Training(steps=3, **rate), optimizer=own)
    mixed = torch.optim.SGD([{"params": other.decoder.parameters()}, {"params": model.decoder.parameters()}], lr=0.5)
    kept = [id(value) for group in mixed.param_groups for value in group["params"]]
    with pytest.raises(ConfigError, match="not the model's"):
        Trainer(other, NextToken(), Rows(), Training(steps=3, **rate), optimizer=mixed)
    assert [id(value) for group in mixed.param_groups for value in group["params"]] == kept
    with pytest.raises(ConfigError, match="layer_decay"):
        Trainer(make_model(), NextToken(), Rows(), Training(steps=3, layer_decay=0.9, **rate), optimizer=mixed)


def test_g9_gradient_checkpointing_changes_no_bit():
    plain, saving = (make_trainer(gradient_checkpointing=flag) for flag in (False, True))
    assert [s.loss for s in plain.steps()] == [s.loss for s in saving.steps()]
    assert_same(weights(plain), weights(saving))


def test_evaluation_weighs_tokens_not_batches():
    model, rows = make_model().double(), Rows()
    batches = [rows.make(number) for number in range(4)]
    result = evaluate_loss(model, NextToken(), batches)
    alone = [evaluate_loss(model, NextToken(), [batch]) for batch in batches]
    assert result.tokens == sum(one.tokens for one in alone)
    assert result.loss == pytest.approx(sum(one.loss * one.tokens for one in alone) / result.tokens, abs=1e-12)
    assert result.bits_per_byte is None


def test_torch_compile_that_fails_is_reported_and_left_out(monkeypatch):
    def broken(self: torch.nn.Module, *_: object, **__: object) -> None:
        self._compiled_call_impl = lambda *a, **k: (_ for _ in ()).throw(RuntimeError("no compiler here"))

    plain, asked = make_trainer(), make_trainer(compile=True)
    list(plain.steps())
    monkeypatch.setattr(torch.nn.Module, "compile", broken)
    with pytest.warns(UserWarning, match="no compiler here"):
        list(asked.steps())
    assert_same(weights(plain), weights(asked))

"""Training on the device: the steps of the CPU, accumulation, going on after a break, memory that runs out."""

from dataclasses import dataclass

import pytest
import torch

from tests.shapes import SHAPES
from tests.unit.training.test_trainer import NextToken, Rows, assert_same, make_model, weights
from trifold.batch import Batch, Loss
from trifold.errors import CapacityError
from trifold.model import Transformer
from trifold.text import Tokenizer, train_tokenizer
from trifold.training import AdamW, Muon, Trainer, Training, evaluate_loss
from trifold.training.save import Saver, load_checkpoint

OPTIMIZERS = {"adamw": AdamW(lr=1e-2), "muon": Muon(lr=2e-2, adamw=AdamW(lr=1e-2))}
BOUNDS = {"float64": 1e-7, "float32": 2e-3, "bfloat16": 0.1}
"""How far weights may be from those of the CPU after some steps; Adam divides by tiny numbers."""


def make(model: Transformer | None = None, **changes: object) -> Trainer:
    settings = {"steps": 6, "dtype": "float64", "optimizer": OPTIMIZERS["adamw"], **changes}
    return Trainer(model or make_model(), NextToken(), Rows(), Training(**settings))  # type: ignore[arg-type]


def dropping(seed: int = 0) -> Transformer:
    """A model with dropout everywhere, on the device when a trainer has it."""
    model = make_model(seed)
    for module in model.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.2
    return model


@pytest.mark.parametrize("dtype", BOUNDS)
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_steps_are_those_of_the_cpu(optimizer, dtype, device):
    here, there = (make(device=name, dtype=dtype, optimizer=OPTIMIZERS[optimizer], accumulation=2)
                   for name in ("cpu", "auto"))  # fmt: skip
    assert there.device.type == device.type and next(there.model.parameters()).device == device
    # Muon turns matrices in bfloat16 wherever the device multiplies it, whatever the weights are
    bound = BOUNDS["bfloat16" if optimizer == "muon" and dtype == "float32" else dtype]
    for one, other in zip(here.steps(), there.steps(), strict=True):
        assert one.loss == pytest.approx(other.loss, abs=bound)
        assert one.gradient_norm == pytest.approx(other.gradient_norm, rel=bound)
    moved = {name: value.cpu() for name, value in weights(there).items()}
    if dtype != "bfloat16":
        assert_same(moved, weights(here), bound)
    assert all(value.dtype == moved[name].dtype for name, value in weights(here).items())
    batches = [Rows().make(number) for number in range(50, 53)]
    judged = [evaluate_loss(one.model, NextToken(), batches).loss for one in (here, there)]
    assert judged[0] == pytest.approx(judged[1], abs=bound)


def test_accumulation_is_one_big_batch(device):
    class Together(Rows):
        def make(self, number: int) -> Batch:
            parts = [Rows().make(3 * number + index) for index in range(3)]
            join = [torch.cat([getattr(part, name) for part in parts]) for name in ("target", "labels")]
            return Batch(target=join[0], target_layout=parts[0].target_layout, labels=join[1])

    apart, together = make(accumulation=3), make()
    together.batches = Together()
    for one, other in zip(apart.steps(), together.steps(), strict=True):
        assert one.loss == pytest.approx(other.loss, abs=1e-10)
        assert one.gradient_norm == pytest.approx(other.gradient_norm, abs=1e-9)
    assert_same(weights(apart), weights(together), 1e-7)


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    return train_tokenizer(["abcdefghijklmnopqrst "], kind="character", vocab_size=29, num_sentinels=3)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_going_on_from_a_checkpoint_is_the_uninterrupted_run_bit_by_bit(optimizer, dtype, device, tmp_path, tokenizer):
    def fresh(seed: int = 0) -> Trainer:
        return make(_pretrained(seed), dtype=dtype, optimizer=OPTIMIZERS[optimizer], accumulation=2)

    whole, cut, later = fresh(), fresh(), fresh(seed=7)
    list(whole.steps())
    for step in cut.steps():
        if step.step == 3:
            break
    saver = Saver(tmp_path, cut, tokenizer)
    saver.save()
    saver.finish()
    assert load_checkpoint(tmp_path, later) is not None
    assert [step.step for step in later.steps()] == [4, 5, 6]
    assert_same(weights(later), weights(whole))


def _pretrained(seed: int) -> Transformer:
    from trifold.presets.pretrained import Transformer as Pretrained

    torch.manual_seed(seed)
    return Pretrained.from_preset(
        "gpt2", size="tiny", vocab_size=29, num_layers=2, d_model=32, num_heads=2, dropout=0.1
    )


def test_dropout_depends_on_the_place_in_the_run_alone(device):
    one, other = make(dropping(), dtype="float32"), make(dropping(), dtype="float32")
    steps = one.steps()
    losses = []
    for step in steps:
        torch.rand(5, device=device)  # somebody else draws too
        losses.append(step.loss)
    assert losses == [step.loss for step in other.steps()]
    assert losses != [step.loss for step in make(dropping(), dtype="float32", seed=1).steps()]


def test_recomputed_activations_change_nothing(device):
    if device.type != "cuda":
        pytest.skip("torch recomputes nothing for devices that are written in Python")
    plain, again = (make(dropping(), gradient_checkpointing=wanted) for wanted in (False, True))
    assert [step.loss for step in plain.steps()] == [step.loss for step in again.steps()]


@dataclass
class Small:
    """A device whose memory does not suffice for more than so many rows."""

    rows: int
    kind: str = "causal"

    def loss(self, model: Transformer, batch: Batch) -> Loss:
        loss = NextToken().loss(model, batch)
        if batch.num_rows > self.rows:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has a total capacity")
        return loss


def test_a_batch_that_does_not_fit_is_computed_in_parts(device):
    plain, small = make(), make()
    small.objective = Small(rows=2)
    with pytest.warns(UserWarning, match="[Mm]emory"):
        found = [step.loss for step in small.steps()]
    assert found == pytest.approx([step.loss for step in plain.steps()], abs=1e-10)
    none = make()
    none.objective = Small(rows=0)
    with pytest.raises(CapacityError), pytest.warns(UserWarning, match="[Mm]emory"):
        next(none.steps())


def test_memory_of_the_device_that_runs_out_is_told_as_such(device):
    if device.type != "cuda":
        pytest.skip("a second device has the memory of the machine")

    class Greedy(NextToken):
        def loss(self, model: Transformer, batch: Batch) -> Loss:
            torch.empty(2**50, device=device)
            return super().loss(model, batch)

    trainer = make()
    trainer.objective = Greedy()
    with pytest.raises(CapacityError), pytest.warns(UserWarning, match="[Mm]emory"):
        next(trainer.steps())


def test_the_optimizer_keeps_its_state_on_the_device(device):
    trainer = make(_shape("encoder_post_learned"), dtype="float32")
    trainer.objective = Places()
    next(trainer.steps())
    kept = [value for one in trainer.optimizers for state in one.state.values() for value in state.values()]
    assert kept and {value.device for value in kept} == {device}


def _shape(name: str) -> Transformer:
    torch.manual_seed(0)
    return Transformer(SHAPES[name])


class Places(NextToken):
    """The loss of an encoder's own tokens."""

    def loss(self, model: Transformer, batch: Batch) -> Loss:
        assert batch.target is not None
        return super().loss(model, Batch(batch.target, source_layout=batch.target_layout, labels=batch.labels))


@pytest.mark.filterwarnings("ignore")  # of the compiler, about itself
def test_compiled_stacks_train_alike(device):
    if device.type != "cuda":
        pytest.skip("torch compiles for devices that it knows")
    plain, compiled = (make(dtype="bfloat16", compile=wanted) for wanted in (False, True))
    found = [step.loss for step in compiled.steps()]
    assert found == pytest.approx([step.loss for step in plain.steps()], abs=0.05)

"""Which weights of a run are kept."""

import pytest
import torch
from safetensors.torch import save_file

from trifold.batch import Batch, Layout
from trifold.checkpoint import checkpoints
from trifold.errors import ModelFileError
from trifold.presets.pretrained import Transformer
from trifold.text import train_tokenizer
from trifold.training import Trainer, Training
from trifold.training.best import Best, Choice
from trifold.training.group import Alone
from trifold.training.held_out import Evaluation
from trifold.training.save import Saver

TOKENIZER = train_tokenizer(["a b c"] * 9, kind="character", vocab_size=128)


class NoLoss:
    """Nothing is trained here."""

    def loss(self, model, batch):
        raise AssertionError


def open_best(folder, start: int = 0, *, higher: bool = True, patience: int = 0, dtype: str = "float32") -> Best:
    """What a run keeps, at a step."""
    model = Transformer.from_preset("gpt2", size="tiny", vocab_size=128, num_layers=1, d_model=8, num_heads=1)
    batch = Batch(target=torch.zeros(1, 2, dtype=torch.long), target_layout=Layout.whole(1, 2))
    trainer = Trainer(model, NoLoss(), [batch], Training(steps=9, evaluate_every=1, dtype=dtype))
    trainer.step = start
    saver = Saver(folder / "checkpoints", trainer, TOKENIZER)
    return Best(folder, saver, Choice("metric", higher=higher, patience=patience))


def train_through(folder, found: list[tuple[float, float]], **settings) -> Best:
    """A run whose weights are the number of the step, with an evaluation (metric, loss) at each."""
    best = open_best(folder, **settings)
    for metric, loss in found:
        best.saver.trainer.step += 1
        set_weights(best, best.saver.trainer.step)
        best.consider(Evaluation(loss, None, 1, 0, metric))
    return best


def set_weights(best: Best, number: float) -> None:
    with torch.no_grad():
        for value in best.saver.trainer.weights.exact.values():
            value.fill_(number)


def weights(best: Best) -> set[float]:
    return {number for value in best.saver.trainer.weights.exact.values() for number in value.unique().tolist()}


@pytest.mark.parametrize(
    ("found", "higher", "kept"),
    [
        ([(0.0, 3.0), (0.0, 2.0), (0.0, 1.0)], True, 3),
        ([(0.0, 3.0), (0.0, 1.0), (0.0, 2.0)], True, 2),
        ([(0.5, 1.0), (0.4, 0.1), (0.5, 2.0)], True, 1),
        ([(0.5, 1.0), (0.6, 9.0)], True, 2),
        ([(2.0, 2.0), (2.0, 1.0), (1.0, 9.0)], False, 3),
    ],
)
def test_the_metric_chooses_and_among_equals_the_lower_loss(tmp_path, found, higher, kept):
    best = train_through(tmp_path, found, higher=higher)
    best.restore()
    assert weights(best) == {kept}


def test_a_run_that_goes_on_knows_the_metric_and_the_loss(tmp_path):
    train_through(tmp_path, [(0.0, 3.0), (0.0, 1.0)], higher=True)
    best = train_through(tmp_path, [(0.0, 2.0), (0.0, 0.5)], higher=True, start=2)
    assert (best.metric, best.loss) == (0.0, 0.5)
    assert best.path is not None and best.path.name == "step-00000004"


def test_patience_counts_evaluations_that_are_no_better_in_metric_nor_loss(tmp_path):
    best = train_through(tmp_path, [(0.0, 3.0), (0.0, 2.0)], higher=True, patience=1)
    assert not best.consider(Evaluation(1.0, None, 1, 0, 0.0)).enough
    assert best.consider(Evaluation(1.0, None, 1, 0, 0.0)).enough


def save(best: Best) -> None:
    best.saver.save()
    best.saver.finish()


def kept(folder) -> list[int]:
    return [int(path.name.removeprefix("step-")) for path in checkpoints(folder / "best")]


def test_what_a_try_that_came_further_has_kept_is_measured_again(tmp_path):
    best = train_through(tmp_path, [(0.5, 1.0)])
    save(best)
    best.saver.trainer.step = 2
    best.consider(Evaluation(1.0, None, 1, 0, 0.9))
    assert kept(tmp_path) == [1, 2]
    assert open_best(tmp_path, 1).metric == 0.5 and kept(tmp_path) == [1]


def test_only_the_last_of_those_before_the_oldest_checkpoint_stays(tmp_path):
    best = train_through(tmp_path, [(0.1, 1.0), (0.2, 1.0), (0.3, 1.0)])
    assert kept(tmp_path) == [3]
    for step in (4, 5, 6):
        save(best)
        best.saver.trainer.step = step
        best.consider(Evaluation(1.0, None, 1, 0, 0.1 * step))
    oldest = checkpoints(tmp_path / "checkpoints")[0]
    assert oldest.name == "step-00000004" and kept(tmp_path) == [4, 5, 6]


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_kept_weights_are_a_model_folder_with_every_bit(tmp_path, dtype):
    best = train_through(tmp_path, [(0.5, 1.0)], dtype=dtype)
    set_weights(best, 1 / 3)
    best.saver.trainer.step = 2
    best.consider(Evaluation(1.0, None, 1, 0, 0.6))
    set_weights(best, 0.0)
    assert best.path is not None
    assert {float(x.detach().min()) for x in Transformer.from_pretrained(best.path).parameters()} == {
        float(torch.tensor(1 / 3))
    }
    best.restore()
    assert weights(best) == {float(torch.tensor(1 / 3))}
    trainer = best.saver.trainer
    with trainer.weights.computing():
        computed = {float(value) for part in trainer.model.parameters() for value in part.detach().unique()}
    rounded = {float(torch.tensor(1 / 3, dtype=kind)) for kind in (torch.float32, getattr(torch, dtype))}
    assert computed <= rounded, "what is computed with is not put back"


def test_a_damaged_folder_is_refused(tmp_path):
    best = train_through(tmp_path, [(0.5, 1.0)])
    assert best.path is not None
    data = bytearray((best.path / "model.safetensors").read_bytes())
    data[-1] ^= 1
    (best.path / "model.safetensors").write_bytes(data)
    with pytest.raises(ModelFileError, match="model.safetensors"):
        best.restore()


def test_the_file_of_an_earlier_version_is_read(tmp_path):
    names = open_best(tmp_path).saver.trainer.weights.exact
    kept = {name: torch.full_like(value, 7.0) for name, value in names.items()}
    save_file(kept, tmp_path / "best-00000002.safetensors", metadata={"metric": "0.75", "loss": "0.5"})
    best = open_best(tmp_path, 3)
    assert (best.metric, best.loss, best.since) == (0.75, 0.5, 1)
    best.restore()
    assert weights(best) == {7.0}
    best.consider(Evaluation(0.1, None, 1, 0, 0.8))
    assert not list(tmp_path.glob("best-*")) and best.path == tmp_path / "best" / "step-00000003"


class Later(Alone):
    """A process whose first process writes only when it is waited for."""

    is_first = False

    def __init__(self, write) -> None:
        self.write = write

    def in_turn(self, work):
        self.write()
        return work()


def test_another_process_waits_for_the_first_to_have_written_before_it_reads_the_best_weights(tmp_path):
    first, other = open_best(tmp_path), open_best(tmp_path)
    for best in (first, other):
        best.saver.trainer.step = 1
        set_weights(best, 1)
    found = Evaluation(1.0, None, 1, 0, 0.5)
    other.saver.trainer.group = Later(lambda: first.consider(found))
    other.consider(found)
    set_weights(other, 2)
    other.restore()
    assert weights(other) == {1}

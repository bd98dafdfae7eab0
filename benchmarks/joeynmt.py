"""The side of joeynmt in the benchmark `translation`: its model, batch, loss and optimizer on our pairs."""

import importlib.metadata
import itertools
import statistics
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from types import ModuleType, SimpleNamespace
from typing import Any

import torch
from torch.nn.utils.rnn import pad_sequence

from benchmarks.pairs import RATE, WARM, loader_of, parameters_of, setting, task_of
from benchmarks.step import training_flops
from benchmarks.work import Measured, Work
from trifold.presets.pretrained import Transformer
from trifold.tasks.loader import ExampleLoader
from trifold.text import Tokenizer

__all__ = ["NEEDS", "run_joeynmt"]

NEEDS = ("yaml", "packaging", "tensorboard", "sentencepiece")
"""What joeynmt imports, of what an installation may lack."""


@dataclass(frozen=True, slots=True)
class Peer:
    """What a step needs of joeynmt."""

    model: Any
    optimizer: Any
    clip: Any
    batch: Any
    cast: Any


def run_joeynmt(work: Work, *, half: bool = True) -> Measured:
    """The step of joeynmt (its `training.py`) on the same examples in the same order.

    Args:
        work: with a checkout named `joeynmt`.
        half: bfloat16 where the device has it, which joeynmt itself switches off on a CPU though it is faster there.
    """
    load_joeynmt(work.checkouts["joeynmt"])
    shared = setting(work, trained=False)
    ours = Transformer.from_pretrained(shared.folder)
    task = task_of(ours, shared.tokenizer)
    steps, loader = work.pick(full=33, smoke=5), loader_of(task, shared.train, work)
    precision = work.precision if half else "float32"
    torch.manual_seed(0)
    peer = build_peer(ours, shared.tokenizer, work.device, precision)
    start, tokens, losses = time.perf_counter(), 0, []
    for batch in itertools.islice(batches(peer, loader), steps):
        if len(losses) == WARM:
            start, tokens = time.perf_counter(), 0
        tokens += int(batch.src_mask.sum()) + batch.ntokens
        losses.append(train_step(peer, batch))
    seconds = time.perf_counter() - start
    return Measured(
        amount=tokens,
        seconds=seconds,
        quality=statistics.mean(losses[steps // 2 :]),
        note=precision,
        flops=training_flops(parameters_of(ours), tokens),
    )


def load_joeynmt(folder: str) -> None:
    """Let its modules be imported, without what only its plots, its version check and its subword files import."""
    sys.path.insert(0, folder)
    plots, cutter = ModuleType("joeynmt.plotting"), ModuleType("subword_nmt")
    vars(plots)["plot_heatmap"] = vars(cutter)["apply_bpe"] = None
    stubs = {
        "joeynmt.plotting": plots,  # attention as pictures, with matplotlib
        "importlib_metadata": importlib.metadata,  # the name of this one before Python 3.8
        "subword_nmt": cutter,
    }  # text into subwords; ours comes as ids
    for name, stub in stubs.items():
        sys.modules.setdefault(name, stub)


def build_peer(ours: Transformer, tokenizer: Tokenizer, device: str, precision: str) -> Peer:
    """Its model in the shape of ours, with the Trainer's settings of Adam and of clipping."""
    from joeynmt.batch import Batch
    from joeynmt.builders import build_gradient_clipper, build_optimizer
    from joeynmt.model import build_model

    words = vocabulary_of(tokenizer)
    model = build_model(shape_of(ours), words, words).to(device)
    model.loss_function = ("crossentropy", 0.0)
    adam = {"optimizer": "adamw", "learning_rate": RATE, "adam_betas": (0.9, 0.999)}  # without decay
    cast = partial(torch.autocast, device, dtype=torch.bfloat16, enabled=precision == "bfloat16")
    return Peer(
        model,
        build_optimizer(adam, model.parameters()),
        cast=cast,
        batch=partial(
            Batch,
            src_prompt_mask=None,
            trg_prompt_mask=None,
            device=torch.device(device),
            pad_index=words.pad_index,
            eos_index=words.eos_index,
        ),
        clip=build_gradient_clipper({"clip_grad_val": None, "clip_grad_norm": 1.0}),
    )


def vocabulary_of(tokenizer: Tokenizer) -> Any:
    """One of its own that knows our ids: it wants its special tokens first, in an order that is not ours."""
    from joeynmt.vocabulary import Vocabulary

    names = ("unk", "pad", "bos", "eos")
    symbols = {f"{kind}_token": f"<{kind}>" for kind in names} | {f"{kind}_id": names.index(kind) for kind in names}
    pieces = [str(number) for number in range(len(names), tokenizer.vocab_size)]
    words = Vocabulary(pieces, SimpleNamespace(**symbols, sep_token=None, lang_tags=[]))
    for kind in names:
        setattr(words, f"{kind}_index", getattr(tokenizer.special, kind))
    return words


def shape_of(ours: Transformer) -> dict[str, Any]:
    """Its configuration of a model like ours: norms behind each sublayer, one matrix of embeddings."""
    config: Any = ours.config
    embeddings = {"embedding_dim": config.d_model, "scale": True}
    sides = {}
    for name in ("encoder", "decoder"):
        block = (blocks := getattr(config, name).blocks)[0]
        sides[name] = {
            "type": "transformer",
            "num_layers": len(blocks),
            "hidden_size": config.d_model,
            "num_heads": block.attention.num_heads,
            "ff_size": block.feed_forward.d_ff,
            "dropout": 0.0,
            "embeddings": embeddings,
            "layer_norm": "post",
            "activation": "relu",
        }
    return {
        "tied_embeddings": True,
        "tied_softmax": True,
        "embed_initializer": "normal",
        "embed_init_weight": config.d_model**-0.5,
        **sides,
    }


def batches(peer: Peer, loader: ExampleLoader) -> Iterator[Any]:
    """The loader's examples, padded to the longest of each batch."""
    padding, rows = float(peer.model.pad_index), loader.batch_size
    for number in itertools.count(0, rows):
        places = [loader._index(place) for place in range(number, number + rows)]  # noqa: SLF001 - our order
        chosen: list[Any] = [one for place in places for one in loader.examples[place]]
        sources = [torch.as_tensor(one.source) for one in chosen]
        targets = [torch.tensor([*one.target, one.labels[-1]]) for one in chosen]
        yield peer.batch(
            src=pad_sequence(sources, batch_first=True, padding_value=padding),
            src_length=torch.tensor([len(one) for one in sources]),
            trg=pad_sequence(targets, batch_first=True, padding_value=padding),
            indices=torch.arange(len(chosen)),
        )


def train_step(peer: Peer, batch: Any) -> float:
    """One update, and the mean loss of a target token."""
    peer.model.train()
    batch.sort_by_src_length()
    with peer.cast():
        total, _, _, correct = peer.model(return_type="loss", **vars(batch))
    loss = batch.normalize(total, normalization="tokens")
    loss.backward()
    correct.item()  # it keeps the accuracy too
    peer.clip(parameters=peer.model.parameters())
    peer.optimizer.step()
    peer.model.zero_grad()
    return loss.item()

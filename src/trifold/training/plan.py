"""What a training run needs, before it starts: parameters, arithmetic and memory, from the configuration alone.

Arithmetic. A matrix of N weights costs 2 N operations for each token that passes through it (a product and a sum), and
the backward pass twice that again: 6 N. Attention adds 4 * num_heads * head_size operations for each pair of a query and
a key it sees (scores and mix), and twice that backward. Every weight counts for the tokens that really reach it: those of
an encoder for source tokens, those of a decoder for target tokens, keys and values of cross-attention for source tokens,
the vocabulary matrix for the places that have a label. Norms, activations and embeddings' look-ups are left out (a few
per cent). Gradient checkpointing computes the blocks once more: 8 N instead of 6 N.

Memory. float32 training keeps weights, gradients and the optimizer's state; bfloat16 training keeps a bfloat16 copy of
the weights and its gradients beside them. Activations are what the backward pass reads again, counted part by part for
each place of a batch; with gradient checkpointing, the input of each block and one block's activations.
"""

import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch

from trifold.errors import CapacityError
from trifold.model import config
from trifold.native import keeps_weights
from trifold.training.config import Training
from trifold.training.precision import choose_device, choose_dtype

__all__ = [
    "Memory",
    "Parameters",
    "Shape",
    "available_memory",
    "count_parameters",
    "estimate_memory",
    "held_memory",
    "require_memory",
    "require_memory_for",
    "training_flops",
]

PROCESS = 450 * 2**20
"""What a process holds before any weight: the interpreter, torch and its thread pools (measured, Linux, CPU)."""

LOGITS = 2**22
"""Logits held at once by the loss."""


@dataclass(frozen=True, slots=True)
class Shape:
    """How large one batch is.

    Attributes:
        rows: rows in a batch.
        source: tokens in a row of the encoder, 0 without encoder.
        target: tokens in a row of the decoder, 0 without decoder.
        labels: places in a row that have a label.
    """

    rows: int
    source: int
    target: int
    labels: int


@dataclass(frozen=True, slots=True)
class Parameters:
    """Trainable numbers by part; a head that shares the embedding's matrix counts only what is its own."""

    embedding: int
    encoder: int
    decoder: int
    head: int

    @property
    def total(self) -> int:
        """All of them."""
        return self.embedding + self.encoder + self.decoder + self.head


@dataclass(frozen=True, slots=True)
class Memory:
    """Bytes by use."""

    weights: int
    gradients: int
    optimizer: int
    activations: int
    process: int = PROCESS

    @property
    def total(self) -> int:
        """All of them."""
        return self.weights + self.gradients + self.optimizer + self.activations + self.process


def count_parameters(transformer: config.Transformer) -> Parameters:
    """Parameters by part, by arithmetic: a size that no machine could hold is counted as quickly as a small one.

    Example:
        >>> part = config.Attention(num_heads=1, num_kv_heads=1, head_size=4, causal=True)
        >>> block = config.Block(attention=part, feed_forward=config.FeedForward(d_ff=8, activation="relu"))
        >>> stack = config.Stack(blocks=(block,))
        >>> shape = config.Transformer(vocab_size=10, d_model=4, embedding=config.Embedding(), decoder=stack)
        >>> count_parameters(shape).decoder  # 4 projections of 4 x 4 + 4, and 4 x 8 + 8 + 8 x 4 + 4
        156
    """
    width, head = transformer.d_model, transformer.head
    narrow = transformer.embedding.width or width
    dense = _linear(width, narrow, bias=head.dense_bias) if head.activation else 0
    output = (0 if head.tied else transformer.vocab_size * narrow) + (transformer.vocab_size if head.bias else 0)
    return Parameters(
        embedding=transformer.vocab_size * narrow + _entry(transformer.embedding, width),
        encoder=_stack(transformer.encoder, width),
        decoder=_stack(transformer.decoder, width) + _entry(transformer.decoder_embedding, width),
        head=dense + output + _norm(head.norm, narrow),
    )


def _entry(embedding: config.Embedding | None, width: int) -> int:
    """What stands beside the vectors of tokens: positions, segments, the norm, and the matrix to the model's width."""
    if embedding is None:
        return 0
    learned = embedding.position if isinstance(embedding.position, config.Learned) else None
    places = 0 if learned is None else learned.max_length + learned.offset
    narrow = embedding.width or width
    own = (places + embedding.num_segments) * narrow + _norm(embedding.norm, narrow)
    return own + (_linear(narrow, width, bias=True) if embedding.width else 0)


def training_flops(transformer: config.Transformer, shape: Shape, *, checkpointing: bool = False) -> float:
    """Operations for one row of a batch, forward and backward."""
    width, narrow = transformer.d_model, transformer.embedding.width or transformer.d_model
    blocks = 0.0
    if transformer.encoder is not None:
        blocks += sum(_block_flops(block, width, shape.source, 0) for block in transformer.encoder.blocks)
    if transformer.decoder is not None:
        blocks += sum(_block_flops(block, width, shape.target, shape.source) for block in transformer.decoder.blocks)
    vocabulary = 2.0 * narrow * transformer.vocab_size + (2.0 * width * narrow if transformer.head.activation else 0.0)
    return blocks * (4.0 if checkpointing else 3.0) + 3.0 * vocabulary * shape.labels


def estimate_memory(
    transformer: config.Transformer,
    shape: Shape,
    *,
    dtype: Literal["float32", "bfloat16", "float64"] = "float32",
    optimizer: Literal["adamw", "muon"] = "adamw",
    checkpointing: bool = False,
    trained: float = 1.0,
) -> Memory:
    """Bytes that training needs at its peak; `trained` is the part of the parameters that moves."""
    parameters = count_parameters(transformer).total
    lean = {"bfloat16": 2, "float32": 4, "float64": 8}[dtype]
    exact = max(lean, 4)
    twice = dtype == "bfloat16"  # float32 weights for the optimizer beside the model's own
    matrices = _matrices(transformer)
    moments = (2 * parameters - matrices if optimizer == "muon" else 2 * parameters) * exact
    return Memory(
        weights=parameters * (exact + (lean if twice else 0)),
        gradients=int(trained * parameters * (exact + (lean if twice else 0))),
        optimizer=int(trained * moments),
        activations=_activations(transformer, shape, lean, checkpointing=checkpointing),
    )


def available_memory() -> int:
    """Bytes of memory that this process may still take: what the machine has free, and the limit of its container."""
    free = _meminfo()
    limit, used = Path("/sys/fs/cgroup/memory.max"), Path("/sys/fs/cgroup/memory.current")
    try:
        text = limit.read_text(encoding="ascii").strip()
        if text != "max":
            free = min(free, int(text) - int(used.read_text(encoding="ascii")))
    except (OSError, ValueError):
        return free  # no container, or one that does not say
    return free


def held_memory() -> int:
    """Bytes of memory that this process holds; 0 where the system does not say.

    Example:
        >>> held_memory() >= 0
        True
    """
    try:
        pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    except OSError:  # not Linux
        return 0
    return pages * os.sysconf("SC_PAGE_SIZE")


def require_memory(need: Memory, available: int) -> None:
    """Refuse work that does not fit.

    Raises:
        CapacityError: `need` is more than `available`; the message gives both.
    """
    if need.total > available:
        raise CapacityError(
            "evaluation.does_not_fit",
            need=_gigabytes(need.total),
            available=_gigabytes(available),
            weights=_gigabytes(need.weights + need.gradients + need.optimizer),
            activations=_gigabytes(need.activations),
        )


def _gigabytes(size: int) -> str:
    return f"{size / 2**30:,.2f} GiB"


def _meminfo() -> int:
    try:
        lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
    except OSError:  # not Linux; and Windows does not say
        known = hasattr(os, "sysconf")
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") if known else sys.maxsize
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable"))


def _norm(norm: config.Norm | None, width: int) -> int:
    if norm is None:
        return 0
    return 2 * width if isinstance(norm, config.LayerNorm) and norm.bias else width


def _linear(inputs: int, outputs: int, *, bias: bool) -> int:
    return inputs * outputs + (outputs if bias else 0)


def _residual(residual: config.Residual, width: int) -> int:
    return sum(_norm(norm, width) for norm in (residual.pre_norm, residual.branch_norm, residual.post_norm))


def _attention(attention: config.Attention, width: int) -> int:
    queries, keys = attention.num_heads * attention.head_size, attention.num_kv_heads * attention.head_size
    projections = _linear(width, queries, bias=attention.qkv_bias) + 2 * _linear(width, keys, bias=attention.qkv_bias)
    norms = 2 * _norm(attention.head_norm, attention.head_size) + _residual(attention.residual, width)
    return projections + _linear(queries, width, bias=attention.output_bias) + norms


def _feed_forward(part: config.FeedForward, width: int) -> int:
    up = _linear(width, part.d_ff, bias=part.bias) * (2 if part.gated else 1)
    return up + _linear(part.d_ff, width, bias=part.bias) + _residual(part.residual, width)


def _stack(stack: config.Stack | None, width: int) -> int:
    if stack is None:
        return 0
    total = _norm(stack.final_norm, width)
    tables: dict[config.RelativeBias, int] = {}
    for block in _own(stack):
        total += _attention(block.attention, width) + _feed_forward(block.feed_forward, width)
        total += _attention(block.cross_attention, width) if block.cross_attention else 0
        if isinstance(block.attention.position, config.RelativeBias):  # one table for all blocks that name it
            tables[block.attention.position] = block.attention.position.num_buckets * block.attention.num_heads
    return total + sum(tables.values())


def _own(stack: config.Stack) -> list[config.Block]:
    """The blocks that have weights: one that several layers share counts once."""
    return [one for n, one in enumerate(stack.blocks) if one.shared is None or one not in stack.blocks[:n]]


def _matrices(transformer: config.Transformer) -> int:
    """Weights of the blocks' matrices, which Muon moves."""
    width, total = transformer.d_model, 0
    for stack in (transformer.encoder, transformer.decoder):
        for block in _own(stack) if stack else ():
            total += _products(block, width)
    return total


def _products(block: config.Block, width: int) -> int:
    total = (3 if block.feed_forward.gated else 2) * width * block.feed_forward.d_ff
    for part in (block.attention, block.cross_attention):
        if part is not None:
            total += 2 * width * (part.num_heads + part.num_kv_heads) * part.head_size
    return total


def _visible(attention: config.Attention, keys: int) -> float:
    """Keys that a query sees, on average."""
    if attention.causal:
        reach = keys if attention.window is None else min(keys, attention.window + 1)
        return reach - reach * (reach - 1) / (2 * keys) if keys else 0.0
    return keys if attention.window is None else min(keys, 2 * attention.window + 1)


def _block_flops(block: config.Block, width: int, length: int, memory: int) -> float:
    """Operations of one block forward, over one row."""
    own, gates = block.attention, 3 if block.feed_forward.gated else 2
    total = 2.0 * gates * width * block.feed_forward.d_ff * length
    total += 4.0 * width * (own.num_heads + own.num_kv_heads) * own.head_size * length
    total += 4.0 * own.num_heads * own.head_size * _visible(own, length) * length
    cross = block.cross_attention
    if cross is not None:
        total += 4.0 * width * cross.head_size * (cross.num_heads * length + cross.num_kv_heads * memory)
        total += 4.0 * cross.num_heads * cross.head_size * memory * length
    return total


def _activations(transformer: config.Transformer, shape: Shape, size: int, *, checkpointing: bool) -> int:
    total, largest = 0.0, 0.0
    for stack, length in ((transformer.encoder, shape.source), (transformer.decoder, shape.target)):
        for block in stack.blocks if stack else ():
            kept = _kept(block, transformer.d_model, length, shape.source)
            largest = max(largest, kept)
            total += transformer.d_model * length if checkpointing else kept
    total += largest  # the block at work: kept by the backward pass with checkpointing, gradients in flight without
    hidden = 4 * transformer.d_model * (shape.labels + shape.target + shape.source)
    logits = 3 * 4 * min(max(LOGITS, 16 * transformer.vocab_size), shape.rows * shape.labels * transformer.vocab_size)
    return int(shape.rows * (total + hidden) * size + logits)


def _kept(block: config.Block, width: int, length: int, memory: int) -> float:
    """Numbers that the backward pass of one block reads again, for one row."""
    own, wide = block.attention, block.feed_forward
    total = (6.0 * width + (4 if wide.gated else 2) * wide.d_ff) * length
    total += 2.0 * (own.num_heads + 2 * own.num_kv_heads) * own.head_size * length
    if keeps_weights(length, length) or (own.position is not None and own.position.kind == "relative_bias"):
        total += 2.0 * own.num_heads * length * length  # attention weights, where `attend` keeps them
    cross = block.cross_attention
    if cross is not None:
        total += (3.0 * width + 2.0 * cross.num_heads * cross.head_size) * length
        total += 2.0 * cross.num_kv_heads * cross.head_size * memory
        total += 2.0 * cross.num_heads * length * memory if keeps_weights(length, memory) else 0.0
    return total


def require_memory_for(transformer: config.Transformer, training: Training) -> None:
    """Refuse to train a model that does not fit in this machine's memory, before anything is built.

    Raises:
        CapacityError: the message gives what is needed and what is free.
    """
    rows, length = training.batch_size, training.length
    target = training.target_length or (length if transformer.encoder is None else max(length // 4, 8))
    shape = Shape(
        rows=rows,
        source=length if transformer.encoder is not None else 0,
        target=target if transformer.decoder is not None else 0,
        labels=target if transformer.decoder is not None else length // 6 + 1,
    )
    device = choose_device(training.device)
    dtype = "bfloat16" if choose_dtype(training.dtype, device) is torch.bfloat16 else "float32"
    need = estimate_memory(
        transformer,
        shape,
        dtype=dtype,
        optimizer=training.optimizer.kind,
        checkpointing=training.gradient_checkpointing,
    )
    free = torch.cuda.mem_get_info()[0] if device.type == "cuda" else available_memory()
    require_memory(need, free)

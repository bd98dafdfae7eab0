"""llama.cpp by its Python binding, where that is installed: the same weights in its own kind of file."""

import importlib
import time
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from benchmarks.work import Measured, Work
from trifold.text import Tokenizer

__all__ = ["NEEDS", "run_llama", "write_gguf"]

NEEDS = ("llama_cpp", "gguf", "transformers")
NAMES = {
    "ln_1": "attn_norm",
    "attn.c_attn": "attn_qkv",
    "attn.c_proj": "attn_output",
    "ln_2": "ffn_norm",
    "mlp.c_fc": "ffn_up",
    "mlp.c_proj": "ffn_down",
}
AROUND = {
    "wte.weight": "token_embd.weight",
    "wpe.weight": "position_embd.weight",
    "ln_f.weight": "output_norm.weight",
    "ln_f.bias": "output_norm.bias",
}


def run_llama(work: Work, folder: Path, prompt: Sequence[int], written: int, *, kind: str) -> Measured:
    """Greedy, one prompt.

    Args:
        work: what all sides are given.
        folder: a GPT-2 as transformers has it.
        prompt: token ids.
        written: how many tokens to write.
        kind: number format of the matrices, by llama.cpp's name.
    """
    llama: Any = importlib.import_module("llama_cpp")
    path = folder.parent / f"{folder.name}-{kind}.gguf"
    if not path.exists():
        write_gguf(folder, path, kind)
    threads = work.threads or torch.get_num_threads()
    model = llama.Llama(str(path), n_ctx=256, n_threads=threads, n_threads_batch=threads, verbose=False)
    list(_write(model, prompt, 2))
    start = time.perf_counter()
    count = len(list(_write(model, prompt, written)))
    seconds = time.perf_counter() - start
    read = path.stat().st_size  # but for the positions, one in a hundred, every token reads all of it
    return Measured(amount=count, seconds=seconds, bytes=read * count, note=kind)


def _write(model: Any, prompt: Sequence[int], count: int) -> Iterator[int]:
    model.reset()
    return islice(model.generate(list(prompt), top_k=1, temp=0.0), count)


def write_gguf(source: Path, target: Path, kind: str) -> None:
    """A GPT-2 from transformers' layout; its tokens are only numbered, since ids go in and come out."""
    gguf: Any = importlib.import_module("gguf")
    transformers: Any = importlib.import_module("transformers")
    model = transformers.GPT2LMHeadModel.from_pretrained(source)
    shape, wanted = model.config, gguf.GGMLQuantizationType[kind]
    writer = gguf.GGUFWriter(target, "gpt2")
    writer.add_block_count(shape.n_layer)
    writer.add_context_length(shape.n_positions)
    writer.add_embedding_length(shape.n_embd)
    writer.add_feed_forward_length(shape.n_inner or 4 * shape.n_embd)
    writer.add_head_count(shape.n_head)
    writer.add_layer_norm_eps(shape.layer_norm_epsilon)
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("gpt-2")
    writer.add_token_list([f"<{number}>" for number in range(shape.vocab_size)])
    writer.add_token_types([gguf.TokenType.NORMAL] * shape.vocab_size)
    writer.add_token_merges(["< 0"])
    writer.add_bos_token_id(_start(source))
    writer.add_eos_token_id(shape.vocab_size - 1)
    for name, value in _tensors(model.transformer.state_dict()):
        lean = value.ndim == 2 and name != "position_embd.weight"
        if lean:
            writer.add_tensor(name, gguf.quants.quantize(value, wanted), raw_dtype=wanted)
        else:
            writer.add_tensor(name, value)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def _start(folder: Path) -> int:
    return Tokenizer.from_pretrained(folder).special.bos or 0


def _tensors(found: dict[str, Any]) -> Iterator[tuple[str, NDArray[np.float32]]]:
    """By llama.cpp's names; matrices with a row for each output."""
    for name, value in found.items():
        array = np.ascontiguousarray(value.float().numpy())
        if name in AROUND:
            yield AROUND[name], array
        elif name.startswith("h."):
            _, number, rest = name.split(".", 2)
            place, _, last = rest.rpartition(".")
            if place in NAMES:
                turned = "ln" not in place and last == "weight"
                yield f"blk.{number}.{NAMES[place]}.{last}", np.ascontiguousarray(array.T) if turned else array

"""`trifold env`: versions, hardware, and which paths are in use."""

from typing import Any

from trifold.cli.option import Command, Request

__all__ = ["COMMAND"]


def run(request: Request) -> dict[str, Any]:
    """Show them."""
    import importlib.util as finder
    import os
    import platform
    from importlib import metadata

    import torch

    from trifold import __version__
    from trifold.training.plan import available_memory
    from trifold.training.precision import choose_device, choose_dtype

    device = choose_device("auto")
    facts: dict[str, Any] = {
        "trifold": __version__,
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.machine()}",
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "memory_available_gib": round(available_memory() / 2**30, 2),
        "torch": torch.__version__,
        "device": torch.cuda.get_device_name(0) if device.type == "cuda" else "cpu",
        "training_dtype": str(choose_dtype("auto", device)).removeprefix("torch."),
        **paths(device.type),
    }
    for name in ("tokenizers", "safetensors", "transformers", "datasets", "pyarrow", "tensorboard", "zstandard"):
        facts[name] = metadata.version(name) if finder.find_spec(name) else None
    for name, value in facts.items():
        request.console.say(f"{name:<22} {'-' if value is None else value}")
    return facts


def paths(device: str) -> dict[str, str]:
    """Which ways of computing are in use on a device, and why."""
    from trifold.generation import packs_weights, uses_kernel
    from trifold.native import keep_memory, load_passes, load_products
    from trifold.native.attention import DENSE_KEYS
    from trifold.training.memory import keep_freed_memory

    if device != "cpu":
        return {"attention": "torch's scaled_dot_product_attention", "decoding": "torch's products"}
    return {
        "attention": "bfloat16: our own by the matrix unit, a head's scores in the cache"
        if load_products()
        else "bfloat16: matrix products of a block of queries, our softmax between them"
        if load_passes()
        else f"bfloat16: matrix products up to {DENSE_KEYS} keys, the faster ones there; else torch's fused kernel",
        "products": "bfloat16 in training: our own by the matrix unit"
        if load_products()
        else "oneDNN's and torch's: no matrix unit, no compiler, not Linux, or TRIFOLD_KERNEL=off",
        "passes": "bfloat16: softmax, norms, GELU, gates, rotations, dropout, loss by our own, compiled for this processor"
        if load_passes()
        else "torch's: no compiler, not Linux, or TRIFOLD_KERNEL=off",
        "decoding": "our kernel, compiled for this processor, at most 2 rows (int8: 4)"
        if uses_kernel()
        else "torch's products: no compiler, not Linux, or TRIFOLD_KERNEL=off",
        "weights": "bfloat16 laid once for oneDNN"
        if packs_weights()
        else "as torch keeps them: this processor does not multiply bfloat16, or oneDNN is missing",
        "memory": "what a training step frees is kept for the next, by an allocator of our own"
        if keep_memory()
        else "what a training step frees is kept for the next, by glibc"
        if keep_freed_memory()
        else "given back as the C library pleases: it is not glibc",
    }


COMMAND = Command(name="env", options=(), run=run)

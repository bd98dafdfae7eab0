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
    }
    for name in ("tokenizers", "safetensors", "transformers", "datasets", "pyarrow", "tensorboard", "zstandard"):
        facts[name] = metadata.version(name) if finder.find_spec(name) else None
    for name, value in facts.items():
        request.console.say(f"{name:<22} {'-' if value is None else value}")
    return facts


COMMAND = Command(name="env", options=(), run=run)

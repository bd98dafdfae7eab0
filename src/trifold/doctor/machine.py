"""What the machine does with the model: threads, number formats, kernels."""

import os

import torch

from trifold.doctor.finding import Finding, not_for
from trifold.doctor.subject import Subject
from trifold.generation import uses_kernel
from trifold.native import cores
from trifold.training.precision import choose_device, choose_dtype

__all__ = ["machine"]


def machine(subject: Subject) -> Finding:
    """Threads do not outnumber the cores that this process may use; and what else there is to know, other work too."""
    del subject
    count, threads, device = cores(), torch.get_num_threads(), choose_device("auto")
    load = f"{os.getloadavg()[0]:.1f}" if hasattr(os, "getloadavg") else "?"
    facts = {
        "cores": count,
        "threads": threads,
        "load": load,
        "device": device.type,
        "dtype": str(choose_dtype("auto", device)).removeprefix("torch."),
        "decoding": "kernel" if uses_kernel() else "torch",
    }
    return Finding(threads <= count, not_for("machine", **facts).detail)

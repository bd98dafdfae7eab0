"""What a command that trains does to its process, which is its own."""

import os

__all__ = ["keep_memory_of_training"]


def keep_memory_of_training(*, parallel: str = "ddp") -> None:
    """Let the process keep what training frees until it ends.

    Args:
        parallel: as in `Training`; several processes that gather weights of many sizes give it back instead.

    Example:
        >>> keep_memory_of_training()
    """
    from trifold.training.memory import keep_freed_memory, return_freed_memory

    gathers = parallel == "fsdp" and int(os.environ.get("WORLD_SIZE", "1")) > 1
    (return_freed_memory if gathers else keep_freed_memory)()

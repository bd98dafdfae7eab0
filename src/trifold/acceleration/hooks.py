"""Whether a part has to be called by itself, because somebody listens to it."""

from typing import Any

from torch import nn
from torch.nn.modules import module as torch_module

__all__ = ["hooks_in", "is_heard"]

GLOBAL = (
    torch_module._global_forward_hooks,  # noqa: SLF001 - torch has no public way to ask
    torch_module._global_forward_pre_hooks,  # noqa: SLF001
    torch_module._global_backward_hooks,  # noqa: SLF001
    torch_module._global_backward_pre_hooks,  # noqa: SLF001
)


def is_heard(*modules: nn.Module) -> bool:
    """Whether any of these modules has a hook, or a `forward` of its own.

    Example:
        >>> layer = nn.Identity()
        >>> handle = layer.register_forward_hook(lambda *_: None)
        >>> is_heard(layer), handle.remove(), is_heard(layer)
        (True, None, False)
    """
    if any(GLOBAL):
        return True
    for module in modules:  # asked thousands of times a second: no generator, no call
        own = module.__dict__
        if own["_forward_hooks"] or own["_forward_pre_hooks"] or "forward" in own:
            return True
        if own["_backward_hooks"] or own["_backward_pre_hooks"]:
            return True
    return False


def hooks_in(model: nn.Module) -> list[dict[Any, Any]]:
    """What holds the forward hooks of all parts of a model, and of all modules: any of them is filled once there is one."""
    parts = [hooks for part in model.modules() for hooks in (part._forward_hooks, part._forward_pre_hooks)]  # noqa: SLF001
    return [*GLOBAL, *parts]

"""What stands inside a model: the hidden states of every layer, and where every head of its attention looks.

Recorded by hooks from outside, so that the core has no branch for it and computes as ever.

Axes: B batch, S sequence, Q queries, T keys, H heads, D d_model.
"""

import math
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from jaxtyping import Float
from torch import Tensor, nn

from trifold.batch import Batch
from trifold.model import Attention, Transformer, Visibility
from trifold.model.attention import spread_heads
from trifold.model.position import Rotation

__all__ = ["AttentionWeights", "HiddenStates", "attention_weights", "hidden_states", "weigh"]

Hook = Callable[[nn.Module, tuple[Any, ...], dict[str, Any], Tensor], None]


@dataclass(frozen=True, slots=True)
class HiddenStates:
    """Hidden states by layer, [B, S, D] each: the embedding's first, then every block's; the last has the final norm.

    Attributes:
        encoder: of the encoder; empty where there is none.
        decoder: of the decoder; empty where there is none.
    """

    encoder: tuple[Tensor, ...]
    decoder: tuple[Tensor, ...]


@dataclass(frozen=True, slots=True)
class AttentionWeights:
    """How much each query looks at each key, by layer, [B, H, Q, T] each; the weights of a query add up to 1.

    Attributes:
        encoder: of the encoder's tokens over themselves; empty where there is no encoder.
        decoder: of the decoder's tokens over themselves; empty where there is no decoder.
        cross: of the decoder's tokens over the encoder's; empty where there are not both.
    """

    encoder: tuple[Tensor, ...]
    decoder: tuple[Tensor, ...]
    cross: tuple[Tensor, ...]


def hidden_states(model: Transformer, batch: Batch) -> HiddenStates:
    """The hidden states of every layer for a batch, with gradients where they are wanted.

    Example:
        >>> import torch
        >>> from trifold.batch import Layout
        >>> from trifold.presets import build_config
        >>> model = Transformer(build_config("gpt2", size="tiny", overrides={"num_layers": 2, "vocab_size": 50})).eval()
        >>> states = hidden_states(model, Batch(target=torch.tensor([[1, 2, 3]]), target_layout=Layout.whole(1, 3)))
        >>> len(states.decoder), torch.equal(states.decoder[-1], model.decode(torch.tensor([[1, 2, 3]])))
        (3, True)
    """
    states: dict[str, list[Tensor]] = {"encoder": [], "decoder": []}
    stacks = {name: stack for name, stack in (("encoder", model.encoder), ("decoder", model.decoder)) if stack}
    hooks: dict[nn.Module, Hook] = {}
    for name, stack in stacks.items():
        for block in stack.blocks:
            hooks[block] = lambda _, args, __, out, to=states[name]: to.extend([out] if to else [args[0], out])
        hooks[stack] = lambda _, __, ___, out, to=states[name]: to.__setitem__(-1, out)
    with _hooked(hooks):
        model(batch)
    return HiddenStates(tuple(states["encoder"]), tuple(states["decoder"]))


def attention_weights(model: Transformer, batch: Batch) -> AttentionWeights:
    """Where every head of every layer looks, for a batch, with gradients where they are wanted.

    Example:
        >>> import torch
        >>> from trifold.batch import Layout
        >>> from trifold.presets import build_config
        >>> model = Transformer(build_config("gpt2", size="tiny", overrides={"num_layers": 1, "vocab_size": 50})).eval()
        >>> batch = Batch(target=torch.tensor([[1, 2, 3]]), target_layout=Layout.whole(1, 3))
        >>> attention_weights(model, batch).decoder[0][0, 0, 0]  # the first token sees itself alone
        tensor([1., 0., 0.], grad_fn=<SelectBackward0>)
    """
    weights: dict[str, list[Tensor]] = {"encoder": [], "decoder": [], "cross": []}
    hooks: dict[nn.Module, Hook] = {}
    for name, stack in (("encoder", model.encoder), ("decoder", model.decoder)):
        for block in stack.blocks if stack is not None else ():
            hooks[block.attention.branch] = _weigher(weights[name])
            if block.cross_attention is not None:
                hooks[block.cross_attention.branch] = _weigher(weights["cross"])
    with _hooked(hooks):
        model(batch)
    return AttentionWeights(*(tuple(weights[name]) for name in ("encoder", "decoder", "cross")))


def weigh(
    attention: Attention,
    x: Float[Tensor, "batch query d_model"],
    visibility: Visibility,
    *,
    place: Rotation | Tensor | None = None,
    memory: Float[Tensor, "batch key d_model"] | None = None,
) -> Float[Tensor, "batch heads query key"]:
    """`softmax(scale * query key^T + bias)` over the visible keys; takes what `Attention.mix` takes, but no cache.

    A query that sees no key has weights of zero.

    Example:
        >>> import torch
        >>> from trifold.batch import Layout
        >>> from trifold.model import config
        >>> attention = Attention.build(config.Attention(num_heads=1, num_kv_heads=1, head_size=4, causal=True), 4)
        >>> layout = Layout.whole(1, 2)
        >>> weigh(attention, torch.ones(1, 2, 4), Visibility(layout, layout, causal=True, window=None)).detach()
        tensor([[[[1.0000, 0.0000],
                  [0.5000, 0.5000]]]])
    """
    (query,) = map(attention.q_norm, attention.project(x, attention.q_proj))
    (key,) = map(attention.k_norm, attention.project(x if memory is None else memory, attention.k_proj))
    if isinstance(place, Rotation):
        query, key = attention.rotate(query, *place), key if memory is not None else attention.rotate(key, *place)
    key, _ = spread_heads(query, key, key)
    scale = 1 / math.sqrt(query.shape[-1]) if attention.config.scale is None else attention.config.scale
    scores = query @ key.transpose(-2, -1) * scale
    scores = scores + place if isinstance(place, Tensor) else scores
    return scores.masked_fill(~visibility.mask, float("-inf")).softmax(-1).masked_fill(~visibility.mask, 0.0)


def _weigher(weights: list[Tensor]) -> Hook:
    """A hook of an attention that writes down its weights."""

    def hook(attention: nn.Module, args: tuple[Any, ...], named: Mapping[str, Any], _: Tensor) -> None:
        assert isinstance(attention, Attention), "only attention has weights"
        known = {name: named[name] for name in ("place", "memory") if name in named}
        weights.append(weigh(attention, *args, **known))

    return hook


@contextmanager
def _hooked(hooks: Mapping[nn.Module, Hook]) -> Iterator[None]:
    """Hooks that hear the calls of this thread alone: others may use the model at the same time."""
    own = threading.get_ident()

    def heard(hook: Hook) -> Hook:
        return lambda *call: hook(*call) if threading.get_ident() == own else None

    handles = [module.register_forward_hook(heard(hook), with_kwargs=True) for module, hook in hooks.items()]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()

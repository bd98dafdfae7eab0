"""What a model's folder says about generation, in `generation_config.json` or, in older folders, in `config.json`."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

__all__ = ["RANDOM", "Rules", "read_rules"]

NAMES = {
    "temperature": "temperature",
    "top_k": "top_k",
    "top_p": "top_p",
    "min_p": "min_p",
    "num_beams": "beams",
    "repetition_penalty": "repetition_penalty",
    "no_repeat_ngram_size": "no_repeat_ngram",
    "length_penalty": "length_penalty",
    "early_stopping": "early_stopping",
    "max_new_tokens": "max_tokens",
}
"""Fields of transformers' generation configuration, and ours of `Sampling`."""

RANDOM = ("temperature", "top_k", "top_p", "min_p", "repetition_penalty")
"""What beam search has no use for."""

BEAMS = ("beams", "length_penalty", "early_stopping")
"""What only beam search has a use for."""

NEUTRAL: dict[str, tuple[Any, ...]] = {
    "begin_suppress_tokens": ([],),
    "constraints": (),
    "diversity_penalty": (0,),
    "dola_layers": (),
    "early_stopping": (False, True),
    "encoder_no_repeat_ngram_size": (0,),
    "encoder_repetition_penalty": (1,),
    "epsilon_cutoff": (0,),
    "eta_cutoff": (0,),
    "exponential_decay_length_penalty": (),
    "force_words_ids": (),
    "forced_decoder_ids": ([],),
    "guidance_scale": (1,),
    "min_length": (0,),
    "min_new_tokens": (0,),
    "num_beam_groups": (1,),
    "penalty_alpha": (0,),
    "renormalize_logits": (False,),
    "sequence_bias": ({},),
    "top_h": (),
    "typical_p": (1,),
    "watermarking_config": (),
}
"""Fields that change what is written and have no counterpart here, with the values that change nothing."""


@dataclass(frozen=True, slots=True)
class Rules:
    """How a model's folder wants text to be written.

    Attributes:
        sampling: values of `Sampling`.
        ends: tokens that end a text.
        start: what the decoder behind an encoder begins with; None where nobody says.
        forced: what it writes first, whatever it thinks.
        suppressed: tokens that are never written.
        longest: most tokens of prompt and text together; None for no such limit.
        left_out: what it asks for that nobody here does.

    Example:
        >>> Rules(sampling={"temperature": 0.6, "top_p": 0.9}).sampling_with({"beams": 4})
        {'beams': 4}
    """

    sampling: Mapping[str, Any] = field(default_factory=dict)
    ends: tuple[int, ...] = ()
    start: int | None = None
    forced: tuple[int, ...] = ()
    suppressed: tuple[int, ...] = ()
    longest: int | None = None
    left_out: tuple[str, ...] = ()

    def sampling_with(self, chosen: Mapping[str, Any]) -> dict[str, Any]:
        """The folder's values with those that somebody chose in their place, and without those that contradict them."""
        kept = dict(self.sampling)
        if chosen.get("beams", 1) > 1:
            kept = {name: value for name, value in kept.items() if name not in RANDOM}
        elif "beams" in chosen or any(name in chosen for name in RANDOM):
            kept = {name: value for name, value in kept.items() if name not in BEAMS}
            if chosen.get("temperature") != 0 and kept.get("temperature") == 0:
                del kept["temperature"]
        return {**kept, **chosen}


def read_rules(data: Mapping[str, Any]) -> Rules:
    """The rules that a generation configuration stands for; values of a wrong type are left out by name.

    Example:
        >>> found = read_rules({"do_sample": True, "temperature": 0.6, "eos_token_id": [2, 7], "typical_p": 0.9})
        >>> found.sampling, found.ends, found.left_out
        ({'temperature': 0.6}, (2, 7), ('typical_p',))
    """
    words = [_ids(one) for one in data.get("bad_words_ids") or ()]
    alone = [word[0] for word in words if len(word) == 1]
    left_out = [name for name, values in NEUTRAL.items() if data.get(name) is not None and data[name] not in values]
    left_out += ["bad_words_ids"] if len(alone) < len(words) else []
    sampling, more = _sampling(data)
    longest, start = data.get("max_length"), data.get("decoder_start_token_id")
    forced = _ids(data.get("forced_bos_token_id"))
    if isinstance(longest, int) and data.get("forced_eos_token_id") is not None:
        longest -= 1  # the last place is for the end
    return Rules(
        sampling=sampling,
        ends=_ids(data.get("eos_token_id")),
        start=start if isinstance(start, int) else None,
        forced=() if forced == _ids(start) else forced,
        suppressed=tuple(dict.fromkeys([*alone, *_ids(data.get("suppress_tokens"))])),
        longest=longest if isinstance(longest, int) and longest > 1 and "max_new_tokens" not in data else None,
        left_out=(*left_out, *more),
    )


def _sampling(data: Mapping[str, Any]) -> tuple[dict[str, Any], list[str]]:
    """Values of `Sampling`, and the names of what could not be one."""
    settings = {ours: data[name] for name, ours in NAMES.items() if isinstance(data.get(name), int | float)}
    beams = settings.get("beams", 1)
    if beams > 1:
        drawn = RANDOM if data.get("do_sample") else ("repetition_penalty",)
        left_out = [name for name in drawn if settings.get(name, 1) not in (0, 1)]
        settings = {name: value for name, value in settings.items() if name not in RANDOM}
        return {**settings, "length_penalty": max(float(settings.get("length_penalty", 1.0)), 0.0)}, left_out
    settings = {name: value for name, value in settings.items() if name not in BEAMS}
    if data.get("do_sample") is False:
        settings = {
            name: value for name, value in settings.items() if name not in ("temperature", "top_k", "top_p", "min_p")
        }
        settings["temperature"] = 0.0
    return settings, []


def _ids(value: object) -> tuple[int, ...]:
    if isinstance(value, Sequence) and not isinstance(value, str):
        return tuple(number for number in value if isinstance(number, int))
    return (value,) if isinstance(value, int) else ()

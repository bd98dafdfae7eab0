"""Each field of a family's Hugging Face configuration, changed: does the model open equal, or is it refused by name?

Cases are made from transformers' own configuration classes, so that a field of a later version is examined too.
"""

import json
import logging
import math
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from trifold.config import Config
from trifold.errors import ConfigError, TrifoldError
from trifold.presets import PRESETS
from trifold.presets.pretrained import Transformer

__all__ = ["Outcome", "count_outcomes", "examine_family"]

VOCABULARY, LENGTH, WIDTH = 40, 12, 16
BOUND = 1e-4
SIZES = {"num_hidden_layers": 2, "hidden_size": WIDTH, "num_attention_heads": 4, "intermediate_size": 24,
         "vocab_size": VOCABULARY, "max_position_embeddings": 32, "pad_token_id": 0}  # fmt: skip
BERT = {**SIZES, "type_vocab_size": 2, "layer_norm_eps": 0.05}
BART = {"d_model": WIDTH, "encoder_layers": 2, "decoder_layers": 2, "encoder_attention_heads": 4,
        "decoder_attention_heads": 4, "encoder_ffn_dim": 24, "decoder_ffn_dim": 24, "vocab_size": VOCABULARY,
        "max_position_embeddings": 32, "scale_embedding": True, "pad_token_id": 1}  # fmt: skip
T5 = {"d_model": WIDTH, "d_kv": 6, "d_ff": 24, "num_layers": 2, "num_decoder_layers": 2, "num_heads": 4,
      "vocab_size": VOCABULARY, "relative_attention_num_buckets": 8, "relative_attention_max_distance": 12,
      "layer_norm_epsilon": 0.05, "decoder_start_token_id": 0}  # fmt: skip
SMALL: Mapping[str, dict[str, Any]] = {
    "bert": BERT,
    "roberta": {**BERT, "type_vocab_size": 1, "pad_token_id": 1},
    "modernbert": {
        **SIZES, "global_attn_every_n_layers": 2, "norm_eps": 0.05, "local_attention": 6, "eos_token_id": 2,
        "bos_token_id": 1,
        "cls_token_id": 1, "sep_token_id": 2, "rope_parameters": {
            "full_attention": {"rope_type": "default", "rope_theta": 90.0},
            "sliding_attention": {"rope_type": "default", "rope_theta": 20.0},
        },
    },
    "t5": {**T5, "feed_forward_proj": "relu"},
    "t5_v1_1": {**T5, "feed_forward_proj": "gated-gelu", "tie_word_embeddings": False},
    "mt5": {**T5, "feed_forward_proj": "gated-gelu"},
    "umt5": {**T5, "feed_forward_proj": "gated-gelu", "tie_word_embeddings": False},
    "bart": BART,
    "mbart": BART,
    "vaswani": {
        "d_model": WIDTH, "encoder_layers": 2, "decoder_layers": 2, "encoder_attention_heads": 4,
        "decoder_attention_heads": 4, "encoder_ffn_dim": 24, "decoder_ffn_dim": 24, "vocab_size": VOCABULARY,
        "decoder_vocab_size": VOCABULARY, "max_position_embeddings": 32, "scale_embedding": True, "pad_token_id": 0,
        "eos_token_id": 1, "forced_eos_token_id": None, "decoder_start_token_id": 0,
    },
}  # fmt: skip
"""A small configuration of each family that has none in its own file; every part has a say in the logits."""
ROPES: tuple[dict[str, Any], ...] = (
    {"rope_type": "default", "rope_theta": 5.0},
    {"rope_type": "linear", "factor": 2.0, "rope_theta": 20.0},
    {"type": "linear", "factor": 4.0},
    {"rope_type": "linear"},
    {"rope_type": "dynamic", "factor": 2.0, "rope_theta": 20.0},
    {"rope_type": "yarn", "factor": 2.0, "rope_theta": 20.0, "original_max_position_embeddings": 8},
    {"rope_type": "llama3", "factor": 4.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0, "rope_theta": 20.0,
     "original_max_position_embeddings": 16},
    {"rope_type": "llama3", "factor": 4.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0, "rope_theta": 20.0},
    {"rope_type": "longrope", "short_factor": [1.0, 2.0], "long_factor": [2.0, 3.0], "rope_theta": 20.0,
     "original_max_position_embeddings": 8},
    {"rope_type": "proportional", "factor": 2.0, "rope_theta": 20.0, "partial_rotary_factor": 0.5},
    {"rope_type": "default", "rope_theta": 20.0, "partial_rotary_factor": 0.5},
    {"rope_type": "unheard-of", "rope_theta": 20.0},
    {},
)  # fmt: skip
LAYERS = (["full_attention", "sliding_attention"], ["sliding_attention", "full_attention"], ["full_attention"] * 2,
          ["sliding_attention"] * 2, ["chunked_attention"] * 2, ["full_attention"])  # fmt: skip
MORE: Mapping[str, tuple[Any, ...]] = {
    "architectures": (["SomethingElse"],),
    "auto_map": ({"AutoModel": "theirs.Model"},),
    "chunk_size_feed_forward": (1,),
    "dense_act_fn": ("silu", "gelu"),
    "feed_forward_proj": ("gated-relu", "gated-gelu", "gated-silu", "gelu_new", "a-b", "gated-gelu-new"),
    "global_attn_every_n_layers": (1, 3),
    "head_dim": (2, 8),
    "id2label": ({"0": "a", "1": "b", "2": "c"},),
    "is_gated_act": (True, False),
    "label2id": ({"a": 0, "b": 1, "c": 2},),
    "layer_types": LAYERS,
    "local_attention": (0, 1, 5),
    "n_inner": (24,),
    "normalize_before": (True,),
    "num_key_value_heads": (1, 4),
    "partial_rotary_factor": (0.5,),
    "position_embedding_type": ("relative_key",),
    "problem_type": ("regression",),
    "quantization_config": ({"quant_method": "gptq"},),
    "rope_scaling": ROPES,
    "rope_theta": (5.0,),
    "scale_decoder_outputs": (True, False),
    "sliding_window": (1, 2),
}
"""Values of fields that no rule gives, in order of the alphabet."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one changed field.

    Attributes:
        family: the preset's name.
        field: the field of the configuration.
        value: what it was changed to.
        kind: `equal` logits, `refused` by name, `skipped` where transformers itself fails; else something is wrong.
        detail: the greatest difference, or the message.

    Example:
        >>> Outcome("bert", "hidden_act", "mish", "refused", "config.json: hidden_act = mish").kind
        'refused'
    """

    family: str
    field: str
    value: Any
    kind: Literal["equal", "refused", "skipped", "different", "unnamed", "crashed"]
    detail: str


def count_outcomes(outcomes: Iterable[Outcome]) -> dict[str, dict[str, int]]:
    """How many cases of each kind, by family.

    Example:
        >>> count_outcomes([Outcome("bert", "eps", 1.0, "equal", "0")])
        {'bert': {'equal': 1}}
    """
    counts: dict[str, Counter[str]] = {}
    for outcome in outcomes:
        counts.setdefault(outcome.family, Counter())[outcome.kind] += 1
    return {family: dict(found) for family, found in counts.items()}


def examine_family(name: str, folder: Path) -> Iterator[Outcome]:
    """Change each field of a family's configuration and open the model here and in transformers.

    Args:
        name: the preset.
        folder: where the models are written, one over the other.

    Example:
        >>> import tempfile  # doctest: +SKIP
        >>> {one.kind for one in examine_family("bert", Path(tempfile.mkdtemp()))}  # doctest: +SKIP
        {'equal', 'refused', 'skipped'}
    """
    logging.getLogger("transformers").setLevel(logging.CRITICAL)
    examination = _Examination(name, folder)
    yield examination.change("", None)
    for field in sorted(examination.fields):
        for value in _values(field, examination.base.get(field)):
            yield examination.change(field, value)


def _values(field: str, base: Any) -> list[Any]:
    """Other values of a field, after the kind of the one that it has."""
    from transformers.activations import ACT2FN

    if field == "rope_parameters":
        kinds = ("full_attention", "sliding_attention")
        both = [dict.fromkeys(kinds, rope) for rope in ROPES] + [{kinds[0]: rope} for rope in ROPES]
        return [*(both if kinds[0] in base else ROPES), None, "text"]
    values: list[Any] = list(MORE.get(field, ()))
    if isinstance(base, bool):
        values.append(not base)
    elif isinstance(base, int):
        values += [base // 2, base * 2]
    elif isinstance(base, float):
        values += [base / 2, base * 2]
    elif isinstance(base, str) and base in ACT2FN:
        values += list(ACT2FN)
    elif base is None and not values:
        values += [1, "text"]
    return [value for value in [*values, None] if type(value) is not type(base) or value != base]


class _Examination:
    """One family, its small configuration, and what was opened equal so far."""

    def __init__(self, name: str, folder: Path) -> None:
        import transformers

        self.preset, self.folder = PRESETS[name], folder
        self.kind = getattr(transformers, self.preset.architecture)
        self.small = {"model_type": self.preset.model_type, **(self.preset.small or SMALL[name])}
        theirs = json.loads(self.kind.config_class.from_dict(self.small).to_json_string(use_diff=False))
        known = {*theirs, *self.kind.config_class.attribute_map, *self.preset.fields.known}
        self.fields = known - {"model_type", "_name_or_path"}
        self.base = {**theirs, **self.small}
        self.seen: dict[Config, Tensor] = {}

    def change(self, field: str, value: Any) -> Outcome:
        """What becomes of one field with another value."""
        data = {**self.small, field: value} if field else self.small
        read = self._read(data)
        if isinstance(read, Exception):
            return Outcome(self.preset.name, field, value, *_judge(read, field))
        try:
            shape = self.kind.config_class.from_dict(json.loads(json.dumps(data)))
            shape._attn_implementation = "eager"  # noqa: SLF001 - the setting has no public name
            oracle = _noisy(self.kind, shape)
            wanted = _their_logits(oracle)
        except Exception as error:  # noqa: BLE001 - whatever transformers raises, it cannot open this
            return Outcome(self.preset.name, field, value, "skipped", f"{type(error).__name__}: {error}"[:200])
        saved = json.loads(shape.to_json_string(use_diff=False))
        kind, detail = "equal", "0"
        for written in (data, saved):
            if kind == "equal":
                kind, detail = _judge(self._open(written, oracle, wanted), field)
        return Outcome(self.preset.name, field, value, kind, detail)

    def _read(self, data: Mapping[str, Any]) -> Config | Exception:
        """The options that a configuration stands for, or why it is refused."""
        try:
            return self.preset.read_options(data)
        except Exception as error:  # noqa: BLE001 - a crash is what is looked for
            return error

    def _open(self, data: Mapping[str, Any], oracle: nn.Module, wanted: Tensor) -> float | Exception:
        """The greatest difference of the logits; what is read alike and answers alike is opened once."""
        read = self._read(data)
        if not isinstance(read, Exception) and read in self.seen and torch.equal(self.seen[read], wanted):
            return 0.0
        save_file({name: one.clone() for name, one in oracle.state_dict().items()}, self.folder / "model.safetensors")
        (self.folder / "config.json").write_text(json.dumps(data), encoding="utf-8")
        try:
            ours = _our_logits(Transformer.from_pretrained(self.folder))
        except Exception as error:  # noqa: BLE001 - a crash is what is looked for
            return error
        same = ours.shape == wanted.shape
        worst = ((ours - wanted).abs().max() / max(1.0, wanted.abs().max().item())).item() if same else math.inf
        if worst <= BOUND and not isinstance(read, Exception):
            self.seen[read] = wanted
        return worst


def _judge(outcome: float | Exception, field: str) -> tuple[Any, str]:
    match outcome:
        case ConfigError():
            return ("refused" if field in str(outcome) else "unnamed"), str(outcome)
        case TrifoldError():
            return "unnamed", str(outcome)
        case Exception():
            return "crashed", f"{type(outcome).__name__}: {outcome}"
        case _:
            return ("equal" if outcome <= BOUND else "different"), f"{outcome:.2g}"


@torch.no_grad()
def _noisy(kind: Any, shape: Any) -> nn.Module:
    """A model in which no weight is 0 or 1, and copies are copies only where they are tied."""
    from transformers.initialization import no_init_weights

    with (
        nullcontext() if shape.model_type == "marian" else no_init_weights()
    ):  # Marian's sines are made with the weights
        model = kind(shape)
    model.tie_weights()
    dice = torch.Generator().manual_seed(0)
    for name, weight in [*model.named_parameters(), *model.named_buffers()]:
        if weight.requires_grad or name == "final_logits_bias":  # Marian's sines are a parameter that nothing trains
            weight.copy_(0.3 * torch.randn(weight.shape, generator=dice) + ("norm" in name.lower() or ".ln_" in name))
    return model.eval()


def _tokens() -> tuple[Tensor, Tensor]:
    dice = torch.Generator().manual_seed(1)
    one, two = (torch.randint(5, VOCABULARY // 2, (2, LENGTH - cut), generator=dice) for cut in (0, 3))
    return one, two


@torch.no_grad()
def _their_logits(model: Any) -> Tensor:
    source, target = _tokens()
    if model.config.is_encoder_decoder and hasattr(model, "get_decoder"):
        return model(input_ids=source, decoder_input_ids=target, use_cache=False).logits
    return model(input_ids=source, attention_mask=torch.ones_like(source)).logits


@torch.no_grad()
def _our_logits(model: Transformer) -> Tensor:
    source, target = _tokens()
    if model.config.decoder is None:
        return model.head(model.encode(source))
    if model.config.encoder is None:
        return model.head(model.decode(source))
    return model.head(model.decode(target, memory=model.encode(source)))

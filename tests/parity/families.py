"""Tiny random Hugging Face models of every family, noise on every weight, and how to call them."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
import transformers
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

VOCAB = 61


@dataclass(frozen=True)
class Family:
    """One family: how to make its oracle, and what kind of model it is."""

    make: Callable[[], nn.Module]
    kind: str
    left_padding: bool = False


def _rope(base: float = 10000.0, **more: Any) -> dict[str, Any]:
    return {"rope_type": "default", "rope_theta": base, **more}


LLAMA_LIKE: dict[str, Any] = {
    "vocab_size": VOCAB, "hidden_size": 32, "intermediate_size": 40, "num_hidden_layers": 3, "num_attention_heads": 4,
    "num_key_value_heads": 2, "max_position_embeddings": 64, "attention_dropout": 0.0, "tie_word_embeddings": False,
    "pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2,
}  # fmt: skip
BERT_LIKE: dict[str, Any] = {
    "vocab_size": VOCAB, "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 3, "num_attention_heads": 4,
    "max_position_embeddings": 64, "hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0,
}  # fmt: skip
DISTILBERT_LIKE: dict[str, Any] = {
    "vocab_size": VOCAB, "dim": 32, "hidden_dim": 48, "n_layers": 3, "n_heads": 4, "max_position_embeddings": 64,
    "dropout": 0.0, "attention_dropout": 0.0,
}  # fmt: skip
ALBERT_LIKE: dict[str, Any] = {
    **BERT_LIKE,
    "embedding_size": 20,
    "num_hidden_layers": 3,
    "num_hidden_groups": 2,
    "inner_group_num": 2,
}
T5_LIKE: dict[str, Any] = {
    "vocab_size": VOCAB, "d_model": 32, "d_kv": 8, "d_ff": 48, "num_layers": 2, "num_decoder_layers": 3, "num_heads": 4,
    "relative_attention_num_buckets": 8, "relative_attention_max_distance": 12, "dropout_rate": 0.0,
    "pad_token_id": 0, "eos_token_id": 1, "decoder_start_token_id": 0,
}  # fmt: skip


def _marian() -> nn.Module:
    shape = transformers.MarianConfig(
        vocab_size=VOCAB, decoder_vocab_size=VOCAB, d_model=32, encoder_layers=2, decoder_layers=3,
        encoder_attention_heads=4, decoder_attention_heads=4, encoder_ffn_dim=48, decoder_ffn_dim=48, dropout=0.0,
        max_position_embeddings=64, scale_embedding=True, activation_function="relu", pad_token_id=0, eos_token_id=1,
        bos_token_id=2, decoder_start_token_id=0, forced_eos_token_id=None,
    )  # fmt: skip
    return transformers.MarianMTModel(shape)


BART_LIKE: dict[str, Any] = {
    "vocab_size": VOCAB, "d_model": 32, "encoder_layers": 2, "decoder_layers": 3, "encoder_attention_heads": 4,
    "decoder_attention_heads": 2, "encoder_ffn_dim": 48, "decoder_ffn_dim": 40, "dropout": 0.0,
    "max_position_embeddings": 64, "pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2, "forced_eos_token_id": None,
}  # fmt: skip


def _bart(name: str, **changes: Any) -> nn.Module:
    shape = getattr(transformers, f"{name}Config")(**{**BART_LIKE, **changes})
    return getattr(transformers, f"{name}ForConditionalGeneration")(shape)


def _t5(name: str = "T5", **changes: Any) -> nn.Module:
    shape = getattr(transformers, f"{name}Config")(**{**T5_LIKE, **changes})
    return getattr(transformers, f"{name}ForConditionalGeneration")(shape)


def _llama3() -> nn.Module:
    rope = _rope(500.0, factor=4.0, low_freq_factor=1.0, high_freq_factor=4.0, original_max_position_embeddings=16)
    return transformers.LlamaForCausalLM(
        transformers.LlamaConfig(**LLAMA_LIKE, rope_parameters={**rope, "rope_type": "llama3"})
    )


def _modernbert() -> nn.Module:
    bases = {"full_attention": _rope(160000.0), "sliding_attention": _rope(10000.0)}
    shape = transformers.ModernBertConfig(
        vocab_size=VOCAB, hidden_size=32, intermediate_size=24, num_hidden_layers=4, num_attention_heads=4,
        max_position_embeddings=64, local_attention=6, rope_parameters=bases, pad_token_id=0, bos_token_id=1,
        eos_token_id=2, cls_token_id=1, sep_token_id=2,
    )  # fmt: skip
    return transformers.ModernBertForMaskedLM(shape)


def _gemma3() -> nn.Module:
    shape = {**LLAMA_LIKE, "num_hidden_layers": 4, "head_dim": 12, "tie_word_embeddings": True}
    bases = {"full_attention": {**_rope(500.0, factor=2.0), "rope_type": "linear"}, "sliding_attention": _rope(20.0)}
    return transformers.Gemma3ForCausalLM(transformers.Gemma3TextConfig(
        **shape, sliding_window=5, sliding_window_pattern=3, query_pre_attn_scalar=9, rope_parameters=bases,
    ))  # fmt: skip


FAMILIES: dict[str, Family] = {
    "vaswani": Family(_marian, "pair"),
    "bert": Family(lambda: transformers.BertForMaskedLM(transformers.BertConfig(**BERT_LIKE)), "encoder"),
    "roberta": Family(
        lambda: transformers.RobertaForMaskedLM(
            transformers.RobertaConfig(**BERT_LIKE, type_vocab_size=1, pad_token_id=1)
        ),
        "encoder",
    ),
    "xlm-roberta": Family(
        lambda: transformers.XLMRobertaForMaskedLM(transformers.XLMRobertaConfig(**BERT_LIKE, type_vocab_size=1)),
        "encoder",
    ),
    "distilbert": Family(
        lambda: transformers.DistilBertForMaskedLM(transformers.DistilBertConfig(**DISTILBERT_LIKE)), "encoder"
    ),
    "electra": Family(
        lambda: transformers.ElectraForMaskedLM(transformers.ElectraConfig(**BERT_LIKE, embedding_size=20)), "encoder"
    ),
    "albert": Family(lambda: transformers.AlbertForMaskedLM(transformers.AlbertConfig(**ALBERT_LIKE)), "encoder"),
    "modernbert": Family(_modernbert, "encoder"),
    "gpt2": Family(
        lambda: transformers.GPT2LMHeadModel(
            transformers.GPT2Config(
                vocab_size=VOCAB,
                n_embd=32,
                n_layer=3,
                n_head=4,
                n_positions=64,
                resid_pdrop=0.0,
                embd_pdrop=0.0,
                attn_pdrop=0.0,
                bos_token_id=1,
                eos_token_id=2,
            )  # fmt: skip
        ),
        "decoder",
        left_padding=True,
    ),
    "llama": Family(
        lambda: transformers.LlamaForCausalLM(transformers.LlamaConfig(**LLAMA_LIKE)), "decoder", left_padding=True
    ),
    "llama3": Family(_llama3, "decoder", left_padding=True),
    "mistral": Family(
        lambda: transformers.MistralForCausalLM(transformers.MistralConfig(**LLAMA_LIKE, sliding_window=5)), "decoder"
    ),
    "qwen2": Family(lambda: transformers.Qwen2ForCausalLM(transformers.Qwen2Config(**LLAMA_LIKE)), "decoder"),
    "qwen3": Family(
        lambda: transformers.Qwen3ForCausalLM(
            transformers.Qwen3Config(
                **LLAMA_LIKE, head_dim=12, use_sliding_window=True, sliding_window=5, max_window_layers=2
            )
        ),
        "decoder",
    ),
    "gemma3_text": Family(_gemma3, "decoder"),
    "t5": Family(lambda: _t5(feed_forward_proj="relu", tie_word_embeddings=True), "pair"),
    "t5_v1_1": Family(lambda: _t5(feed_forward_proj="gated-gelu", tie_word_embeddings=False), "pair"),
    "mt5": Family(lambda: _t5("MT5"), "pair"),
    "bart": Family(lambda: _bart("Bart"), "pair"),
    "mbart": Family(lambda: _bart("MBart", scale_embedding=True), "pair"),
    "umt5": Family(lambda: _t5("UMT5", tie_word_embeddings=False), "pair"),
}
HEADED = ("t5_v1_1", "mt5", "umt5")
"""Those whose published models have a head of their own."""


SEGMENTED = ("bert", "electra", "albert")
"""Families whose second texts have a type of their own."""

PADDED_BY_1 = ("roberta", "xlm-roberta")
"""Families whose padding token is 1, from which they count positions; that of all others is 0."""


def make_oracle(name: str) -> nn.Module:
    """The model of that family, every weight noisy, in eager attention and evaluation mode."""
    torch.manual_seed(0)
    model = FAMILIES[name].make()
    model.set_attn_implementation("eager")
    with torch.no_grad():
        if name in HEADED:
            model.lm_head.weight = nn.Parameter(torch.randn_like(model.lm_head.weight))
        for weight in model.parameters():
            if weight.requires_grad:  # Marian's sines are a parameter that nothing trains
                weight.add_(torch.randn_like(weight), alpha=0.2)
        if name in ("vaswani", "mbart"):
            model.final_logits_bias.normal_()
    return model.eval()


def in_dtype(name: str, model: nn.Module, dtype: torch.dtype) -> nn.Module:
    """The same weights in a model made anew under the current default dtype, so that its tables are exact too."""
    fresh = FAMILIES[name].make()
    fresh.set_attn_implementation("eager")
    if name in HEADED:
        fresh.lm_head.weight = nn.Parameter(torch.empty_like(fresh.lm_head.weight))
    fresh.load_state_dict(model.state_dict())
    if name == "vaswani":  # its sines are rounded to float32 when they are made
        for stack in (fresh.model.encoder, fresh.model.decoder):
            table = stack.embed_positions.weight
            steps = torch.arange(0, table.shape[1], 2).double() / table.shape[1]
            angle = torch.arange(len(table))[:, None] / 10000**steps
            table.data = torch.cat([angle.sin(), angle.cos()], dim=1)
    return fresh.to(dtype).eval()


class KeepDouble(TorchFunctionMode):
    """Transformers computes norms, softmax and rotary tables in float32 whatever the model's dtype.

    For a comparison in float64 these casts would hide errors below 1e-7, so they are left out.
    """

    def __torch_function__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Run `function` with float32 replaced by float64."""
        kwargs = kwargs or {}
        if function is Tensor.float and args[0].is_floating_point():
            return args[0].double()
        if any(value is torch.float32 for value in (*args, *kwargs.values())):
            args = tuple(torch.float64 if value is torch.float32 else value for value in args)
            kwargs = {key: torch.float64 if value is torch.float32 else value for key, value in kwargs.items()}
        return function(*args, **kwargs)


@contextmanager
def exact(dtype: torch.dtype) -> Iterator[None]:
    """Everything in `dtype`, also what has no weight to take it from."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        if dtype is torch.float64:
            with KeepDouble():
                yield
        else:
            yield
    finally:
        torch.set_default_dtype(before)

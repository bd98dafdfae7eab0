"""The one list of families: a family stands in `presets/<file>.py`, with all that is known of it.

Nothing is imported before it is asked for, so that the command line knows the names without loading torch.
"""

from collections.abc import Mapping

__all__ = ["FAMILIES"]

FAMILIES: Mapping[str, str] = {
    "gpt2": "gpt2.PRESET",
    "llama": "llama.PRESET",
    "mistral": "mistral.PRESET",
    "qwen2": "qwen2.PRESET",
    "qwen3": "qwen3.PRESET",
    "gemma3_text": "gemma3.PRESET",
    "bert": "bert.PRESET",
    "roberta": "roberta.PRESET",
    "xlm-roberta": "xlm_roberta.PRESET",
    "distilbert": "distilbert.PRESET",
    "electra": "electra.PRESET",
    "albert": "albert.PRESET",
    "modernbert": "modernbert.PRESET",
    "t5": "t5.PRESET",
    "t5_v1_1": "t5_v1_1.PRESET",
    "mt5": "mt5.MT5",
    "umt5": "mt5.UMT5",
    "bart": "bart.PRESET",
    "mbart": "mbart.PRESET",
    "vaswani": "marian.PRESET",
}
"""Where the family of each name stands: file and value."""

"""Which chat template a model is tuned with, and the special tokens that it brings along."""

import re
from dataclasses import replace
from pathlib import Path

import torch

from trifold.errors import ConfigError
from trifold.presets.pretrained import Transformer
from trifold.text import Tokenizer
from trifold.text.template import DEFAULT, NAMED, PLAIN, ChatTemplate

__all__ = ["settle_template", "template_source"]

SPELLED = re.compile(r"<\|[^|<>\s]{1,40}\|>|<｜[^｜<>\s]{1,40}｜>|<(?:start|end)_of_turn>")
"""What templates write special tokens as."""


def template_source(setting: str, tokenizer: Tokenizer) -> str:
    """The template that `task.chat_template` asks for.

    Raises:
        ConfigError: it is no name, no file and no template.

    Example:
        >>> from trifold.text import train_tokenizer
        >>> tokenizer = train_tokenizer(["hello"] * 9, kind="byte_bpe", vocab_size=300)
        >>> template_source("auto", tokenizer) == DEFAULT
        True
    """
    if setting == "auto":
        return tokenizer.chat_template or DEFAULT
    if setting in NAMED:
        return NAMED[setting]
    if "{{" in setting or "{%" in setting:
        return setting
    try:
        return Path(setting).read_text(encoding="utf-8")
    except (OSError, ValueError):
        allowed = ", ".join(("auto", *NAMED, "FILE.jinja"))
        raise ConfigError("config.out_of_range", where="task.chat_template", given=setting, allowed=allowed) from None


def settle_template(setting: str, tokenizer: Tokenizer, model: Transformer) -> tuple[str, Transformer, list[str]]:
    """Give the template of `task.chat_template` to the tokenizer, which is saved with it, and both to the model.

    Returns:
        What `task.chat_template` is from then on, the model, larger where there are new tokens, and these tokens.

    Raises:
        ConfigError: there is no such template.
    """
    source = template_source(setting, tokenizer)
    if source == PLAIN:
        tokenizer.chat_template = None
        return "none", model, []
    tokenizer.chat_template = source
    added = [text for text in _spelled(tokenizer, source) if tokenizer.token_to_id(text) is None]
    tokenizer.add_special(added)
    return "auto", enlarge(model, tokenizer.vocab_size), added


def _spelled(tokenizer: Tokenizer, source: str) -> list[str]:
    """The special tokens that a template has in its text, or writes."""
    tokens = {f"{role}_token": text for role, text in tokenizer.roles.items()}
    asked = [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]
    written = ChatTemplate(source, tokens).render_many(
        [[{"role": "system", "content": "c"}, *asked], asked], answer=True
    )
    return list(dict.fromkeys(SPELLED.findall("\n".join([source, *(one.text for one in written)]))))


def enlarge(model: Transformer, size: int) -> Transformer:
    """The model with room for so many tokens; the vectors of new ones are the mean of those that it has.

    Example:
        >>> model = Transformer.from_preset("gpt2", size="tiny", vocab_size=100)
        >>> enlarge(model, 102).embedding.tokens.weight.shape[0], enlarge(model, 90) is model
        (102, True)
    """
    before = model.config.vocab_size
    if size <= before:
        return model
    if model.preset is None or model.options is None:
        raise ConfigError("task.cannot_enlarge", given=size, allowed=before)
    options = replace(model.options, vocab_size=size)  # type: ignore[call-arg]
    larger = Transformer(model.preset.build(options), preset=model.preset, options=options, special=model.special)
    with torch.no_grad():
        own = dict(model.named_parameters())
        for name, value in larger.named_parameters():
            known = own[name]
            if known.shape != value.shape:
                value[:before] = known
                value[before:] = known.mean(0)
            else:
                value.copy_(known)
    return larger.train(model.training)

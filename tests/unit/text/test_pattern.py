"""Patterns of published tokenizers pass; those that explode do not."""

import json

import pytest

from trifold.errors import ModelFileError
from trifold.text import Tokenizer, train_tokenizer
from trifold.text.pattern import require_bounded

PUBLISHED = {
    "gpt2": r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+",
    "llama3": r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}"
    r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+",
    "o200k": r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}]*[\p{Ll}\p{M}]+(?i:'s|'t|'re)?|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s+",
    "deepseek": "[\u4e00-\u9fa5\u3040-\u309f\u30a0-\u30ff]+",
    "after a group": r"(?:a|b)\s+|(a|b)[cd]+|(?:ab)+|(a|b){3}",
    "digits": r"\p{N}{3,}(?=a|b)",
}
EXPLODING = [
    r"(a+)+$",
    r"(a*)*",
    r"(a|a)+$",
    r"(a|aa)*b",
    r"([a-z]+)*!",
    r"(?:x+x+)+y",
    r"((a+)b?)+",
    r"(a+){2,}",
    r"(\w+\s?)*$",
]


@pytest.mark.parametrize("name", PUBLISHED)
def test_published_patterns_pass(name):
    require_bounded(PUBLISHED[name])


@pytest.mark.parametrize("pattern", EXPLODING)
def test_d6_a_tokenizer_whose_pattern_explodes_is_refused(tmp_path, pattern):
    with pytest.raises(ValueError, match="without bound"):
        require_bounded(pattern)
    train_tokenizer(["to be or not to be"], kind="byte_bpe", vocab_size=400).save_pretrained(tmp_path)
    path = tmp_path / "tokenizer.json"
    data = json.loads(path.read_text())
    data["pre_tokenizer"] = {"type": "Split", "pattern": {"Regex": pattern}, "behavior": "Isolated", "invert": False}
    path.write_text(json.dumps(data))
    with pytest.raises(ModelFileError, match="without bound"):
        Tokenizer.from_pretrained(tmp_path)

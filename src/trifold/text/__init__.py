"""Tokenizers: train, load, encode, decode, stream."""

from trifold.text.encoding import Encoding
from trifold.text.framing import Framing
from trifold.text.report import compression_report
from trifold.text.stream import StreamDecoder
from trifold.text.tokenizer import SpecialTokens, Tokenizer
from trifold.text.training import train_tokenizer

__all__ = [
    "Encoding",
    "Framing",
    "SpecialTokens",
    "StreamDecoder",
    "Tokenizer",
    "compression_report",
    "train_tokenizer",
]

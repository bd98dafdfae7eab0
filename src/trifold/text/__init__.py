"""Tokenizers: train, load, encode, decode, stream."""

from trifold.text.stream import StreamDecoder
from trifold.text.tokenizer import Encoding, SpecialTokens, Tokenizer
from trifold.text.training import train_tokenizer

__all__ = ["Encoding", "SpecialTokens", "StreamDecoder", "Tokenizer", "train_tokenizer"]

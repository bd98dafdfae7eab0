"""N-gram models of a run's own tokens, learned from its own training text."""

from pathlib import Path

from trifold.data import TokenStore
from trifold.evaluation.language_model import ngram_bits_per_byte
from trifold.presets.pretrained import resolve
from trifold.text import Tokenizer

__all__ = ["run_baselines"]


def run_baselines(folder: str | Path, *, orders: tuple[int, ...] = (1, 5)) -> dict[str, float]:
    """Bits per byte of the run's held-out text under n-gram models; empty where nothing was held out.

    Raises:
        ModelFileError: the run has no tokenizer.
        DataError: its token stores are damaged.
    """
    folder = Path(folder)
    tokenizer = Tokenizer.from_pretrained(resolve(folder))
    places = (folder / "data" / "0" / "valid", folder / "data" / "valid" / "train")
    held = next((place for place in places if (place / "index.json").is_file()), None)
    if held is None:
        return {}
    train, valid = TokenStore(folder / "data" / "0" / "train", tokenizer), TokenStore(held, tokenizer)
    if not valid.num_tokens:
        return {}
    end = tokenizer.special.eos or 0
    names = {order: "unigram" if order == 1 else f"{order}-gram" for order in orders}
    return {
        name: ngram_bits_per_byte(train, valid, vocab_size=tokenizer.vocab_size, end=end, order=order)
        for order, name in names.items()
    }

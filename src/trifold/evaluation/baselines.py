"""What counting comes to on a run's own held-out text, learned from its own training text and judged on the same tokens."""

from itertools import islice
from pathlib import Path

from trifold.data import Loader, Room, TokenStore
from trifold.evaluation.cloze import Cloze, hidden_bits, span_bits, span_lengths
from trifold.evaluation.language_model import load_run, ngram_bits_per_byte
from trifold.evaluation.sample import held_out_store
from trifold.objective import build_objective
from trifold.presets.pretrained import resolve
from trifold.text import Tokenizer
from trifold.training import read_experiment

__all__ = ["run_baselines"]

COUNTED_TOKENS = 2 * 10**7
"""Of longer text nothing is counted: it takes minutes, and gigabytes."""
COUNTED = 50
"""Batches in which the lengths of spans are counted."""


def run_baselines(folder: str | Path, *, orders: tuple[int, ...] = (1, 5)) -> dict[str, float]:
    """Bits per byte of the run's held-out text by counting; empty where nothing was held out, or the text is very long.

    For a model that predicts each token from those before it, under n-gram models; for one that predicts hidden tokens,
    under a unigram model, and for these tokens from what stands beside them (`trifold.evaluation.cloze`).

    Raises:
        ModelFileError: the run has no tokenizer.
        DataError: its token stores are damaged.
    """
    folder = Path(folder)
    tokenizer = Tokenizer.from_pretrained(resolve(folder))
    valid = held_out_store(folder, tokenizer)
    if valid is None:
        return {}
    train = TokenStore(folder / "data" / "0" / "train", tokenizer)
    if train.num_tokens > COUNTED_TOKENS:
        return {}
    end = tokenizer.special.eos or 0
    kind = read_experiment(folder).objective.kind
    counted = (1,) if kind in ("masked", "denoising") else orders
    names = {order: "unigram" if order == 1 else f"{order}-gram" for order in counted}
    scores = {
        name: float(ngram_bits_per_byte(train, valid, vocab_size=tokenizer.vocab_size, end=end, order=order))
        for order, name in names.items()
    }
    return scores if kind not in ("masked", "denoising") else scores | _beside(folder, tokenizer, train, valid)


def _beside(folder: Path, tokenizer: Tokenizer, train: TokenStore, valid: TokenStore) -> dict[str, float]:
    """Hidden tokens by what stands beside them."""
    experiment, (model, _) = read_experiment(folder), load_run(folder)
    objective = build_objective(experiment.objective, tokenizer, model.config)
    length = experiment.training.length
    room = Room(source=length, target=objective.target_length(length) if model.config.decoder else 0)
    rows, pad = experiment.training.batch_size, tokenizer.special.pad or 0
    loader = Loader([valid], objective, room, batch_size=rows, pad=pad, token_bytes=tokenizer.token_bytes())
    batches, special = list(loader.epoch()), tokenizer.special.all_ids
    counted = Cloze((train.document(n) for n in range(train.num_documents)), vocab_size=tokenizer.vocab_size)
    if model.config.decoder is None:
        bits = hidden_bits(counted, batches, special)
    else:
        seen = Loader([train], objective, room, batch_size=rows, pad=pad).epoch()
        bits = span_bits(counted, batches, span_lengths(islice(seen, COUNTED), special), special)
    num_bytes = sum(batch.num_bytes for batch in batches)
    return {"3-gram cloze": bits / num_bytes} if num_bytes else {}

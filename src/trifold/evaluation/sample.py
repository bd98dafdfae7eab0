"""What a run's model makes of its own held-out text: a page that shows it says more than a loss."""

from dataclasses import dataclass
from pathlib import Path

from trifold.data import TokenStore
from trifold.evaluation.language_model import load_run
from trifold.generation import Generator, Sampling, fill_mask, restore_spans
from trifold.presets.pretrained import Transformer
from trifold.text import Tokenizer
from trifold.training import read_experiment

__all__ = ["Sample", "held_out_store", "run_samples"]

GIVEN, WRITTEN, SHOWN = 24, 60, 2
"""Tokens of a text that are given, tokens that are written, and texts that are shown, at most."""
CANDIDATES = 5


@dataclass(frozen=True, slots=True)
class Sample:
    """What a model was given and what it made of it."""

    given: str
    made: str


def held_out_store(folder: Path, tokenizer: Tokenizer) -> TokenStore | None:
    """The held-out text of a run; None where nothing was held out.

    Raises:
        DataError: the store is damaged.
    """
    places = (folder / "data" / "0" / "valid", folder / "data" / "valid" / "train")
    held = next((place for place in places if (place / "index.json").is_file()), None)
    store = None if held is None else TokenStore(held, tokenizer)
    return store if store is not None and store.num_tokens else None


def run_samples(folder: str | Path) -> list[Sample]:
    """A few texts of a run's model: beginnings of its held-out text continued, a mask filled, or a span restored.

    The same run gives the same texts. Empty where nothing is held out, or the model was trained on pairs.

    Raises:
        ModelFileError: there is no model, or it is damaged.
        DataError: the store is damaged.
    """
    folder = Path(folder)
    model, tokenizer = load_run(folder)
    store, experiment = held_out_store(folder, tokenizer), read_experiment(folder)
    shown, kind = min(GIVEN, max(experiment.training.length // 2, 1)), experiment.objective.kind
    if store is None:
        return []
    longest = sorted(range(store.num_documents), key=lambda number: -len(store.document(number)))[:SHOWN]
    texts = [_plain(tokenizer, store.document(number)[:shown].tolist()) for number in longest]
    texts = [text for text in texts if text.strip()]
    match kind:
        case "causal" | "prefix":
            generator = Generator(model, tokenizer)
            room = WRITTEN if model.config.max_length is None else model.config.max_length - shown - 1
            options = Sampling(temperature=0.7, top_p=0.9, max_tokens=max(min(WRITTEN, room), 1), seed=1)
            return [
                Sample(text, made.text) for text, made in zip(texts, generator.generate(texts, options), strict=True)
            ]
        case "masked":
            return [_filled(model, tokenizer, text) for text in texts]
        case "denoising":
            return [_restored(Generator(model, tokenizer), text) for text in texts]
        case _:
            return []


def _plain(tokenizer: Tokenizer, ids: list[int]) -> str:
    """The text of ids, without the part of a character that they may be cut in."""
    return tokenizer.decode(ids).replace("\ufffd", "")


def _halves(text: str) -> tuple[str, str]:
    """A text with its middle character, or word, left out."""
    words = text.split(" ")
    if len(words) > 2:
        middle = len(words) // 2
        return " ".join(words[:middle]) + " ", " " + " ".join(words[middle + 1 :])
    return text[: len(text) // 2], text[len(text) // 2 + 1 :]


def _filled(model: Transformer, tokenizer: Tokenizer, text: str) -> Sample:
    asked = tokenizer.roles["mask"].join(_halves(text))
    (candidates, *_) = fill_mask(model, tokenizer, asked, top_k=4 * CANDIDATES)
    special = tokenizer.special.all_ids
    named = [(one.token.strip(), one.probability) for one in candidates if one.id not in special]
    listed = ", ".join([f"{token} {probability:.0%}" for token, probability in named if token][:CANDIDATES])
    return Sample(f"{asked}\n", listed)


def _restored(generator: Generator, text: str) -> Sample:
    asked = "<extra_id_0>".join(_halves(text))
    options = Sampling(temperature=0.0, max_tokens=WRITTEN)
    return Sample(f"{asked}\n", restore_spans(generator, asked, options).text)

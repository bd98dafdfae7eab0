"""Checks of a Hugging Face folder: transformers reads the same files, and both have to say the same.

Nothing that was saved here stands between the two, as in `export`: what is compared is that folder itself.
"""

import warnings
from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise, zip_longest
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from trifold.checkpoint.hugging_face import read_config
from trifold.doctor.finding import Finding, difference, measured, not_for
from trifold.doctor.subject import Subject
from trifold.generation import Generator, Sampling
from trifold.presets.form import NoHead
from trifold.presets.preset import Preset
from trifold.presets.pretrained import Transformer
from trifold.tasks import LoadedModel, load
from trifold.tasks.build import is_fine_tuned
from trifold.tasks.head import read_labelled
from trifold.tasks.sentence_folder import is_sentence_folder
from trifold.tasks.task import run_places
from trifold.text import Tokenizer

__all__ = ["hf_logits", "hf_task", "hf_text", "hf_tokens"]

BOUND, TOKENS, LINES = 1e-4, 20, 40
OWN_FILES = ("trifold.json", "task.json")
MIXED = (
    "Hello, world! It's 3.14 o'clock.",
    "今天天气很好，我们去公园散步吧。",
    "混排 English 和中文 text，两者 mixed。",
    "  two  spaces, and one at the end ",
    "first line\nsecond line\n\n\tthird",
    "👩‍👩‍👧 🎉 naïve café, Ünïcödé",
    "ａｂｃ１２３ ﬁ №",
    "1,234.50 € (50%) <b>a_b</b> https://x.org/?q=1#z",
    "don't you've I'LL",
    "e\u0301 한국어",
    "a</s> b [SEP] c <|endoftext|> d",
    "",
)
PROMPTS = ("Once upon a time there was", "从前有一座山，山里有")


def hf_tokens(subject: Subject) -> Finding:
    """Texts, and for an encoder pairs of texts, have the ids that the folder's AutoTokenizer gives them."""
    folder, reason = _folder(subject)
    if folder is None:
        return reason
    theirs, tokenizer = _their_tokenizer(folder), Tokenizer.from_pretrained(folder)
    texts = [*MIXED, *subject.lines[:LINES]]
    cases: list[tuple[str, ...]] = [(text,) for text in texts]
    cases += pairwise(filter(None, texts)) if subject.model.config.decoder is None else ()
    for number, case in enumerate(cases):
        ours, wanted = _ids(subject, tokenizer, case), theirs(*case)["input_ids"]
        at = _first_difference(ours, wanted)
        if at is not None:
            shown = {"text": " | ".join(case)[:60], "ours": ours[at : at + 5], "theirs": wanted[at : at + 5]}
            return Finding(False, not_for("hf_ids", place=at + 1, right=number, texts=len(cases), **shown).detail)
    return Finding(True, not_for("hf_equal", count=len(cases)).detail)


def _first_difference(one: Sequence[int], other: Sequence[int]) -> int | None:
    """Where two rows part; None where they are equal."""
    return next((place for place, (a, b) in enumerate(zip_longest(one, other)) if a != b), None)


def _ids(subject: Subject, tokenizer: Tokenizer, texts: Sequence[str]) -> list[int]:
    """A text or a pair as the family frames it."""
    config = subject.model.config
    framing = tokenizer.framing_for(encoder=config.encoder is not None, decoder=config.decoder is not None)
    return framing.around(*(tokenizer.encode(text).ids.tolist() for text in texts))


@torch.no_grad()
def hf_logits(subject: Subject) -> Finding:
    """The class that the folder names computes the same logits of mixed text; a body alone, the same vectors."""
    folder, reason = _folder(subject, task=False)
    if folder is None:
        return reason
    ours, worst = Transformer.from_pretrained(folder), 0.0
    theirs, keys = _their_model(folder, ours.preset)
    if keys:
        return Finding(False, not_for("keys", keys=keys).detail)
    for ids in _rows(subject, Tokenizer.from_pretrained(folder)):
        worst = max(worst, difference(_our_numbers(ours, ids), _their_numbers(theirs, ids, ours)))
    return measured(worst, BOUND)


def _rows(subject: Subject, tokenizer: Tokenizer) -> Iterator[Tensor]:
    """Mixed texts as the model reads them."""
    for text in MIXED:
        ids = _ids(subject, tokenizer, [text])[: min(subject.model.context or 64, 64)]
        if ids:
            yield torch.tensor([ids])


def _our_numbers(model: Transformer, ids: Tensor) -> Tensor:
    last = (lambda hidden: hidden) if isinstance(model.head, NoHead) else model.head
    if model.config.decoder is None:
        return last(model.encode(ids))
    return last(model.decode(ids, memory=None if model.config.encoder is None else model.encode(ids)))


def _their_numbers(model: Any, ids: Tensor, ours: Transformer) -> Tensor:
    inputs = {"input_ids": ids, "attention_mask": torch.ones_like(ids)}
    if ours.config.encoder is not None and ours.config.decoder is not None:
        inputs["decoder_input_ids"] = ids
    return model(**inputs)[0]


def hf_text(subject: Subject) -> Finding:
    """Greedy decoding writes the same first tokens after a prompt in English and one in Chinese."""
    folder, reason = _folder(subject, task=False)
    if folder is None:
        return reason
    if subject.model.config.decoder is None or isinstance(Transformer.from_pretrained(folder).head, NoHead):
        return not_for("hf_writes_nothing")
    generator, tokenizer, count = Generator.from_pretrained(folder), _their_tokenizer(folder), 0
    theirs = _their_model(folder, subject.model.preset)[0]
    room = TOKENS if generator.longest is None else min(TOKENS, generator.longest // 2)
    for prompt in PROMPTS:
        ids = tokenizer(prompt, return_tensors="pt")["input_ids"][:, :room]
        if not ids.numel():
            continue
        ours, wanted = _continued(generator, theirs, ids, room)
        at = _parting(generator, ids, ours, wanted)
        if at is not None:
            left_out = ", ".join(generator.rules.left_out) or "-"
            return Finding(
                False,
                not_for(
                    "hf_other_text",
                    prompt=prompt,
                    right=at,
                    left_out=left_out,
                    ours=ours[at : at + 3],
                    theirs=wanted[at : at + 3],
                ).detail,
            )
        count += len(ours)
    return Finding(True, not_for("hf_same_text", tokens=count, prompts=len(PROMPTS)).detail)


def _continued(generator: Generator, theirs: Any, ids: Tensor, room: int) -> tuple[list[int], list[int]]:
    """The tokens that both write after a prompt, as the folder's generation settings want it."""
    wanted = generator.rules.sampling_with({"temperature": 0.0, "max_tokens": room, "beams": 1})
    (generation,) = generator.generate([ids[0].tolist()], Sampling(**wanted))
    alone = generator.model.config.encoder is None
    with torch.no_grad():
        output = theirs.generate(
            input_ids=ids, attention_mask=torch.ones_like(ids), do_sample=False, num_beams=1, max_new_tokens=room + 1
        )
    before = ids.shape[1] if alone else 1 + len(generator.rules.forced)  # the last token may be an end that is forced
    return list(generation.ids), output[0, before : before + room].tolist()


def _parting(generator: Generator, prompt: Tensor, ours: Sequence[int], theirs: Sequence[int]) -> int | None:
    """How many tokens are the same before two that are not, and not for a tie of logits; None where all are."""
    at = _first_difference(ours, theirs)
    if at is None or at >= min(len(ours), len(theirs)):
        return at
    model, written = generator.model, torch.tensor([[*generator.rules.forced, *ours[:at]]], dtype=torch.long)
    with torch.no_grad():
        if model.config.encoder is None:
            hidden = model.decode(torch.cat([prompt, written], 1))
        else:
            start = torch.tensor([[generator.start or 0]])
            hidden = model.decode(torch.cat([start, written], 1), memory=model.encode(prompt))
        logits = model.head(hidden)[0, -1]
    gap = (logits[ours[at]] - logits[theirs[at]]).abs() / logits.abs().max().clamp(min=1.0)
    return None if float(gap) <= BOUND else at


def hf_task(subject: Subject) -> Finding:
    """A class for a task (ForSequenceClassification and its like) gives the same logits of texts and pairs."""
    folder, reason = _folder(subject, task=True)
    if folder is None:
        return reason
    tuned, tokenizer, worst = load(folder), _their_tokenizer(folder), 0.0
    theirs, keys = _their_model(folder, tuned.model.preset)
    if keys:
        return Finding(False, not_for("keys", keys=keys).detail)
    plain = MIXED[:-2]  # no token is spelled out in them: whoever asks a model for a label has none
    for texts in [*((text,) for text in plain), *pairwise(plain)]:
        inputs = dict(tokenizer(*texts, return_tensors="pt"))
        if inputs["input_ids"].shape[1] > tuned.require().frame.limit:
            continue
        with torch.no_grad():
            said = theirs(**(_as_choice(inputs) if tuned.require().config.kind == "multiple_choice" else inputs))
        logits = torch.stack([said.start_logits, said.end_logits], -1) if "start_logits" in said else said.logits
        worst = max(
            worst, difference(_task_logits(tuned, inputs["input_ids"][0].numpy()), logits.reshape(-1, logits.shape[-1]))
        )
    return measured(worst, BOUND)


def _as_choice(given: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The only candidate of its question: the class has an axis for these between those of texts and tokens."""
    return {name: value[:, None] for name, value in given.items()}


def _task_logits(tuned: LoadedModel, ids: np.ndarray) -> Tensor:
    task, frame = tuned.require(), tuned.require().frame
    each = task.head is not None and task.head.each
    example = frame.whole(ids, 0) if not each else frame.each(ids, np.zeros(len(ids), dtype=np.int64))
    return run_places(
        tuned.model,
        [example],
        frame.pad,
        lambda hidden, batch: read_labelled(tuned.model, hidden, batch)[0],
        see=lambda batch: frame.marked(batch, match=False),
    )[0]


def _folder(subject: Subject, task: bool | None = None) -> tuple[Path | None, Finding]:
    """The folder of another library's model, with a task or without one as wanted; else why nothing is compared."""
    folder = subject.folder
    if folder is None or any((folder / name).is_file() for name in OWN_FILES) or subject.model.preset is None:
        return None, not_for("hf_not_theirs")
    try:
        import transformers
    except ImportError:
        return None, not_for("no_transformers")
    transformers.utils.logging.disable_progress_bar()
    transformers.utils.logging.set_verbosity_error()
    has = is_fine_tuned(folder) and not is_sentence_folder(folder)  # which is compared as the body that it is
    if task is not None and has != task:
        return None, not_for("hf_no_task" if task else "hf_has_task")
    return folder, not_for("hf_not_theirs")


def _their_tokenizer(folder: Path) -> Any:
    import transformers

    with warnings.catch_warnings():  # of packages that it recommends
        warnings.simplefilter("ignore")
        return transformers.AutoTokenizer.from_pretrained(folder)


def _their_model(folder: Path, preset: Preset | None) -> tuple[Any, str]:
    """The class that the folder names with its weights, and the weights that it does not find there."""
    import transformers

    assert preset is not None, "only a family has such a class"
    named = [name for name in read_config(folder).get("architectures") or () if isinstance(name, str)]
    kind = next((getattr(transformers, name) for name in named if name in dir(transformers)), None)
    kind = kind or getattr(transformers, preset.architecture)
    model, report = kind.from_pretrained(
        folder, dtype=torch.float32, attn_implementation="eager", output_loading_info=True
    )
    return model.eval(), ", ".join(sorted(map(str, report["missing_keys"]))[:5])

"""What other tools answer for a folder, beside what Trifold answers."""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from interop_folders import POOLED, Folders, mixed_texts, questions, reviews, sentences, translations

from trifold.generation import Generator, Sampling, fill_mask
from trifold.presets import PRESETS
from trifold.tasks import Record, load
from trifold.text import Tokenizer

__all__ = ["CHECKS", "Check", "Counts", "Found"]

BATCH = 50


@dataclass(frozen=True, slots=True)
class Counts:
    """How many texts, sentences and questions, translations, prompts each check asks for."""

    texts: int = 1000
    sentences: int = 200
    translations: int = 100
    prompts: int = 50


@dataclass(frozen=True, slots=True)
class Found:
    """How many answers were the same, of how many, and the greatest difference of their numbers, where there are any."""

    same: int
    count: int
    worst: float | None = None


@dataclass(frozen=True, slots=True)
class Check:
    """One tool and the families to try it with.

    Attributes:
        way: whether Trifold's folders go out, or those of others come in.
        tool: what opens the folder, as code.
        what: name of what is compared.
        families: names of presets.
        run: what compares.
    """

    way: Literal["out", "in"]
    tool: str
    what: str
    families: Sequence[str]
    run: Callable[[Folders, str, Counts], Found]


def alike(ours: Sequence[Any], theirs: Sequence[Any], worst: float | None = None) -> Found:
    """Count equal answers."""
    return Found(sum(one == other for one, other in zip(ours, theirs, strict=True)), len(ours), worst)


def pipeline(kind: str, folder: Path, **options: Any) -> Any:
    """A pipeline of transformers."""
    import transformers

    make: Any = transformers.pipeline
    return make(kind, **{"model": str(folder), "device": "cpu", **options})


def parts(items: Sequence[Any]) -> list[Sequence[Any]]:
    """The items in batches."""
    return [items[start : start + BATCH] for start in range(0, len(items), BATCH)]


def classified(folder: Path, counts: Counts, **opened: Any) -> Found:
    """Labels and their probabilities; `opened` is the model for the pipeline where that is not the folder's."""
    texts = [row["text"] for row in reviews(counts.texts, seed=5)]
    tuned = load(folder)
    ours = tuned.task.predict(tuned.model, [Record((text,)) for text in texts])
    theirs = pipeline("text-classification", folder, batch_size=BATCH, **opened)(texts)
    apart = [abs((one.confidence or 0.0) - other["score"]) for one, other in zip(ours, theirs, strict=True)]
    return alike([one.answer for one in ours], [other["label"] for other in theirs], max(apart))


def tagged(folder: Path, counts: Counts, *, chinese: bool = False) -> Found:
    """The entities of sentences: kind, first and last character."""
    rows = [tuple(row["tokens"]) for row in sentences(counts.sentences, seed=5, chinese=chinese)]
    texts = [("" if chinese else " ").join(words) for words in rows]
    tuned = load(folder)
    said = tuned.task.predict(tuned.model, [Record(row, text=text) for row, text in zip(rows, texts, strict=True)])
    ours = [[(one["type"], one["start"], one["end"]) for one in each.details["entities"]] for each in said]
    found = pipeline("token-classification", folder, aggregation_strategy="simple" if chinese else "first")(texts)
    theirs = [[(one["entity_group"], one["start"], one["end"]) for one in each] for each in found]
    return alike(ours, theirs)


def asked(folder: Path, counts: Counts) -> Found:
    """The span with the best sum of logits in each context."""
    from transformers import AutoModelForQuestionAnswering, AutoTokenizer

    rows = questions(counts.sentences, seed=5)
    tuned = load(folder)
    records = [Record((row["question"], row["context"])) for row in rows]
    ours = [one.answer for one in tuned.task.predict(tuned.model, records)]
    model, tokenizer = (
        AutoModelForQuestionAnswering.from_pretrained(folder).eval(),
        AutoTokenizer.from_pretrained(folder),
    )
    theirs: list[str] = []
    for part in parts(rows):
        batch = tokenizer([row["question"] for row in part], [row["context"] for row in part], padding=True,
                          return_tensors="pt", return_offsets_mapping=True)  # fmt: skip
        offsets = batch.pop("offset_mapping")
        with torch.inference_mode():
            out = model(**batch)
        for number, row in enumerate(part):
            inside = torch.tensor([place == 1 for place in batch.sequence_ids(number)])
            spans = offsets[number][inside]
            first, last = best_span(out.start_logits[number][inside], out.end_logits[number][inside])
            theirs.append(row["context"][spans[first, 0] : spans[last, 1]].strip())
    return alike(ours, theirs)


def best_span(start: torch.Tensor, end: torch.Tensor) -> tuple[int, int]:
    """First and last token of the best span of at most 48."""
    table = (start[:, None] + end[None, :]).triu().tril(47)
    barred = torch.ones_like(table).triu().tril(47) == 0
    first, last = np.unravel_index(int(table.masked_fill(barred, -torch.inf).argmax()), table.shape)
    return int(first), int(last)


def translated(folder: Path, beams: int, count: int) -> tuple[list[str], list[str]]:
    """Sources, and Trifold's translations of them."""
    sources = [row["source"] for row in translations(count, seed=5)]
    tuned = load(folder)
    config: Any = replace(tuned.task.config, beams=beams)  # type: ignore[type-var]
    task: Any = type(tuned.task)(config, tuned.tokenizer, tuned.model.config)  # type: ignore[call-arg]
    return sources, [one.answer for one in task.predict(tuned.model, [Record((text,)) for text in sources])]


def generated(beams: int) -> Callable[[Folders, str, Counts], Found]:
    """Translations by `generate`."""

    def run(folders: Folders, family: str, counts: Counts) -> Found:
        from transformers import AutoModelForSeq2SeqLM, AutoTokenizer

        folder = folders.tuned("translation", family)
        sources, ours = translated(folder, beams, counts.translations)
        model, tokenizer = AutoModelForSeq2SeqLM.from_pretrained(folder).eval(), AutoTokenizer.from_pretrained(folder)
        theirs: list[str] = []
        for part in parts(sources):
            batch = tokenizer(list(part), return_tensors="pt", padding=True)
            found = tokenizer.batch_decode(model.generate(**batch, num_beams=beams), skip_special_tokens=True)
            theirs += [text.strip() for text in found]
        return alike(ours, theirs)

    return run


def converted(beams: int) -> Callable[[Folders, str, Counts], Found]:
    """Translations by CTranslate2 with the same number of beams, of the same length at most."""

    def run(folders: Folders, family: str, counts: Counts) -> Found:
        import ctranslate2
        from transformers import AutoTokenizer

        folder = folders.tuned("translation", family)
        sources, ours = translated(folder, beams, counts.translations)
        place = folders.place / f"ctranslate2-{family}"
        ctranslate2.converters.TransformersConverter(str(folder)).convert(str(place), force=True)
        tokenizer = AutoTokenizer.from_pretrained(folder)
        rows = [tokenizer.convert_ids_to_tokens(tokenizer(text)["input_ids"]) for text in sources]
        translator = ctranslate2.Translator(str(place), device="cpu", inter_threads=1, intra_threads=1)
        # of mBART it takes what the decoder begins with, elsewhere a language, from whoever calls it
        first = [[tokenizer.eos_token]] * len(rows) if family == "mbart" else None
        found = translator.translate_batch(rows, target_prefix=first, beam_size=beams, length_penalty=1.0,
                                           max_decoding_length=24)  # fmt: skip
        ids = [tokenizer.convert_tokens_to_ids(one.hypotheses[0]) for one in found]
        return alike(ours, [tokenizer.decode(row, skip_special_tokens=True).strip() for row in ids])

    return run


def continued(folder: Path, counts: Counts, *, other: Path | None = None) -> Found:
    """Greedy continuations of texts; `other` is the folder that transformers reads, where it is another."""
    prompts = [row["text"] for row in reviews(counts.prompts, seed=6)]
    ours = Generator.from_pretrained(folder).generate(prompts, Sampling(temperature=0.0, max_tokens=12))
    found = pipeline("text-generation", other or folder)(
        prompts, do_sample=False, max_new_tokens=12, return_full_text=False
    )
    return alike([one.text for one in ours], [one[0]["generated_text"] for one in found])


def talked(folders: Folders, family: str, counts: Counts) -> Found:
    """Greedy answers to questions, laid out by the chat template of the folder."""
    folder = folders.tuned("generation", family)
    tuned = load(folder)
    asked = [row["source"] for row in translations(counts.prompts, seed=6)]
    task: Any = tuned.task
    from trifold.data.rows import Row

    records = [task.question(Row({"prompt": text}, ""), {"prompt": "prompt"}) for text in asked]
    ours = task.write(tuned.model, records, Sampling(temperature=0.0, max_tokens=12))
    found = pipeline("text-generation", folder)([[{"role": "user", "content": text}] for text in asked],
                                                do_sample=False, max_new_tokens=12, return_full_text=False)  # fmt: skip
    theirs = [one[0]["generated_text"] for one in found]
    theirs = [one[-1]["content"] if isinstance(one, list) else one for one in theirs]
    return alike([one.answer for one in ours], theirs)


def filled(folders: Folders, family: str, counts: Counts) -> Found:
    """The likeliest token at a mask."""
    from trifold.presets.pretrained import Transformer

    folder = folders.pretrained(family)
    model, tokenizer = Transformer.from_pretrained(folder), Tokenizer.from_pretrained(folder)
    words = [row["text"].split() for row in reviews(counts.prompts, seed=6)]
    texts = [" ".join([*row[:-1], tokenizer.roles["mask"]]) for row in words]
    ours = [fill_mask(model, tokenizer, text)[0][0] for text in texts]
    theirs = [found[0] for found in pipeline("fill-mask", folder)(texts)]
    worst = max(abs(one.probability - other["score"]) for one, other in zip(ours, theirs, strict=True))
    return alike([one.id for one in ours], [other["token"] for other in theirs], worst)


def framed(folders: Folders, family: str, counts: Counts) -> Found:
    """Ids of texts and of pairs of them."""
    from transformers import AutoTokenizer

    folder = folders.empty(family)
    theirs, tokenizer = AutoTokenizer.from_pretrained(folder), Tokenizer.from_pretrained(folder)
    assert tokenizer.framing is not None, "a run says what stands around its texts"
    texts = mixed_texts(counts.sentences, seed=5)
    plain = [tokenizer.encode(text).ids.tolist() for text in texts]
    ours = [(tokenizer.framing.around(one), tokenizer.framing.around(one, two))
            for one, two in zip(plain, plain[::-1], strict=True)]  # fmt: skip
    found = [(theirs(one)["input_ids"], theirs(one, two)["input_ids"])
             for one, two in zip(texts, texts[::-1], strict=True)]  # fmt: skip
    return alike(ours, found)


def embedded(folder: Path, counts: Counts) -> Found:
    """Vectors of texts as passages and as queries; the same is within 1e-4 in every place."""
    from sentence_transformers import SentenceTransformer

    texts = [row["source"] for row in translations(counts.sentences, seed=5)]
    tuned, peer = load(folder), SentenceTransformer(str(folder), device="cpu")
    task: Any = tuned.task
    ours = np.concatenate([task.embed(tuned.model, texts, query=query) for query in (False, True)])
    apart = np.abs(ours - np.concatenate([peer.encode_document(texts), peer.encode_query(texts)])).max(axis=1)
    return Found(int((apart <= 1e-4).sum()), len(apart), float(apart.max()))


def lowered(folders: Folders, family: str, counts: Counts) -> Found:
    """Labels and their probabilities by the adapter of a run on the model that it started from."""
    from peft import PeftModel
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    base, run = folders.low(family)
    said = json.loads((run / "config.json").read_text(encoding="utf-8"))
    names = {name: said[name] for name in ("label2id", "pad_token_id")}
    names["id2label"] = {int(number): label for number, label in said["id2label"].items()}
    plain = AutoModelForSequenceClassification.from_pretrained(base, **names)
    adapted: Any = PeftModel.from_pretrained(plain, run / "adapter")
    return classified(
        run, counts, model=adapted.merge_and_unload(), tokenizer=AutoTokenizer.from_pretrained(run / "adapter")
    )


def adapted(folders: Folders, family: str, counts: Counts) -> Found:
    """Greedy continuations by a base with its adapter."""
    folder, whole = folders.adapted(family)
    return continued(folder, counts, other=whole)


def theirs(kind: str, compare: Callable[[Path, Counts], Found]) -> Callable[[Folders, str, Counts], Found]:
    """The comparison on a folder that transformers wrote."""
    return lambda folders, family, counts: compare(folders.theirs(family, kind), counts)


def ours(task: str, compare: Callable[[Path, Counts], Found]) -> Callable[[Folders, str, Counts], Found]:
    """The comparison on a run."""
    return lambda folders, family, counts: compare(folders.tuned(task, family), counts)


HEADED = ("bert", "roberta", "modernbert", "gpt2", "llama", "t5")
ENCODERS, BOTH = HEADED[:3], ("vaswani", "t5", "t5_v1_1", "mt5", "umt5", "bart", "mbart")
DECODERS = tuple(name for name, family in PRESETS.items() if family.objective == "causal")
CHECKS = (
    Check("out", 'pipeline("text-classification")', "labels", HEADED, ours("classification", classified)),
    Check("out", 'pipeline("token-classification")', "entities", HEADED, ours("tagging", tagged)),
    Check("out", 'pipeline("token-classification")', "bytes", ENCODERS, ours("bytes", tagged)),
    Check("out", 'pipeline("token-classification")', "characters", HEADED, lambda folders, family, counts:
          tagged(folders.tuned("characters", family), counts, chinese=True)),
    Check("out", "AutoModelForQuestionAnswering", "spans", HEADED, ours("span_qa", asked)),
    Check("out", "AutoModelForSeq2SeqLM.generate", "greedy", BOTH, generated(1)),
    Check("out", "AutoModelForSeq2SeqLM.generate", "beams", BOTH, generated(5)),
    Check("out", "ctranslate2", "greedy", BOTH, converted(1)),
    Check("out", "ctranslate2", "beams", BOTH, converted(5)),
    Check("out", 'pipeline("text-generation")', "texts", DECODERS, lambda folders, family, counts:
          continued(folders.pretrained(family), counts)),
    Check("out", 'pipeline("text-generation")', "chat", DECODERS, talked),
    Check("out", 'pipeline("fill-mask")', "tokens", ENCODERS, filled),
    Check("out", "AutoTokenizer", "ids", tuple(PRESETS), framed),
    Check("out", "SentenceTransformer", "vectors", HEADED, ours("embedding", embedded)),
    Check("out", "peft.PeftModel.from_pretrained", "labels", ("bert", "gpt2", "llama"), lowered),
    Check("in", "AutoModelForSequenceClassification", "labels", HEADED, theirs("ForSequenceClassification", classified)),
    Check("in", "AutoModelForTokenClassification", "entities", HEADED, theirs("ForTokenClassification", tagged)),
    Check("in", "AutoModelForQuestionAnswering", "spans", HEADED, theirs("ForQuestionAnswering", asked)),
    Check("in", "AutoModelForCausalLM", "texts", DECODERS, theirs("ForCausalLM", continued)),
    Check("in", "SentenceTransformer.save", "vectors", tuple(POOLED), lambda folders, family, counts:
          embedded(folders.embedder(family), counts)),
    Check("in", "peft.PeftModel.save_pretrained", "texts", DECODERS, adapted),
)  # fmt: skip
"""All that is tried, in the order of the page."""

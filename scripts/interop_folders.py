"""Small model folders to try with other tools: runs that Trifold trains, and folders that transformers writes."""

import json
import logging
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch

from trifold.objective.config import Causal, Masked
from trifold.presets import PRESETS
from trifold.presets.classes import classes_of
from trifold.presets.pretrained import Transformer
from trifold.tasks import Classification, Embedding, FineTuning, Generation, LabelledData, SpanQA, Tagging, Translation
from trifold.tasks import finetune as tune
from trifold.tasks.experiment import TRAINING, LowRank
from trifold.text import train_tokenizer
from trifold.text.training import Kind
from trifold.training import AdamW, DataChoice, Experiment, ModelChoice, TokenizerChoice, Training, pretrain

__all__ = ["POOLED", "Folders", "mixed_texts", "questions", "reviews", "sentences", "translations"]

GOOD, BAD = ["good", "fine", "great", "lovely", "好", "棒"], ["bad", "poor", "awful", "dull", "差", "坏"]
PLAIN = ["the", "film", "was", "and", "it", "is", "a", "story", "with", "这部", "电影", "我们", "看过"]
PEOPLE, PLACES = ["Anna", "Bert", "Clara Schumann"], ["Berlin", "New York", "Rome"]
PEOPLE_ZH, PLACES_ZH, PLAIN_ZH = (
    ["小明", "李雷", "韩梅梅"],
    ["北京", "上海", "哈尔滨"],
    list("我们今天看了电影很好他说是的在来去"),
)
NUMBERS = ["one", "two", "three", "four", "five", "six", "seven"]
GERMAN = ["eins", "zwei", "drei", "vier", "fünf", "sechs", "sieben"]
PIECES = [*PLAIN, *GOOD, *PEOPLE, "😀", "👩‍👩‍👧", "，", "。", "  ", "\t", "\n", "don't", "12345", "naïve", "Ünïcödé",
          "<s>", "[MASK]", "</s>"]  # fmt: skip
SMALL = {"num_layers": 2, "d_model": 32, "num_heads": 2}
Row = dict[str, Any]


def _words(dice: np.random.Generator, words: list[str], low: int, high: int) -> list[str]:
    return dice.choice(np.array(words, dtype=object), dice.integers(low, high)).tolist()


def mixed_texts(count: int, seed: int = 0) -> list[str]:
    """Texts of Chinese, English, pictures, white space and the spelling of special tokens."""
    dice = np.random.default_rng(seed)
    return ["".join(word + (" " if dice.random() < 0.5 else "") for word in _words(dice, PIECES, 1, 12)) + "x"
            for _ in range(count)]  # fmt: skip


def reviews(count: int, seed: int = 0) -> list[Row]:
    """Texts whose label is that of one word."""
    dice, rows = np.random.default_rng(seed), []
    for _ in range(count):
        label = int(dice.integers(2))
        words = [*_words(dice, PLAIN, 2, 9), *_words(dice, (BAD, GOOD)[label], 1, 2)]
        dice.shuffle(words)
        rows.append({"text": " ".join(words), "label": ("negative", "positive")[label]})
    return rows


def sentences(count: int, seed: int = 0, *, chinese: bool = False) -> list[Row]:
    """Words, or Chinese characters, with the entities among them."""
    dice, rows = np.random.default_rng(seed), []
    people, places, plain = (PEOPLE_ZH, PLACES_ZH, PLAIN_ZH) if chinese else (PEOPLE, PLACES, PLAIN[:9])
    for _ in range(count):
        pairs = [(word, "O") for word in _words(dice, plain, 2, 8)]
        for kind, names in (("PER", people), ("LOC", places)):
            drawn = str(dice.choice(names))
            name = list(drawn) if chinese else drawn.split()
            marked = [(word, f"{'I' if place else 'B'}-{kind}") for place, word in enumerate(name)]
            at = int(dice.integers(len(pairs) + 1)) if kind == "PER" else 0
            pairs[at:at] = marked
        rows.append({"tokens": [word for word, _ in pairs], "tags": [tag for _, tag in pairs]})
    return rows


def questions(count: int, seed: int = 0) -> list[Row]:
    """Contexts in which two people live somewhere; the question is about one."""
    dice, rows = np.random.default_rng(seed), []
    for _ in range(count):
        people, places = dice.permutation([*PEOPLE, *PEOPLE_ZH])[:2], dice.permutation([*PLACES, *PLACES_ZH])[:2]
        told = [f"{one} lives in {place} ." for one, place in zip(people, places, strict=True)]
        context = " ".join([*_words(dice, PLAIN, 1, 6), *told, *_words(dice, PLAIN, 1, 6)])
        which, answer = int(dice.integers(2)), ""
        answer = str(places[which])
        start = context.index(f"{people[which]} lives in ") + len(f"{people[which]} lives in ")
        rows.append({"question": f"where does {people[which]} live ?", "context": context,
                     "answers": {"text": [answer], "answer_start": [start]}})  # fmt: skip
    return rows


def translations(count: int, seed: int = 0) -> list[Row]:
    """Numbers in English and in German."""
    dice, rows = np.random.default_rng(seed), []
    for _ in range(count):
        row = dice.integers(len(NUMBERS), size=int(dice.integers(1, 7)))
        rows.append({"source": " ".join(NUMBERS[one] for one in row), "target": " ".join(GERMAN[one] for one in row)})
    return rows


def answers(count: int, seed: int = 0) -> list[Row]:
    """Questions that ask for a translation."""
    return [{"instruction": row["source"], "output": row["target"]} for row in translations(count, seed)]


def partners(count: int, seed: int = 0) -> list[Row]:
    """Texts that belong together."""
    return [{"query": row["source"], "positive": row["target"]} for row in translations(count, seed)]


TASKS: Mapping[str, tuple[Any, Callable[[int], list[Row]], int]] = {
    "classification": (Classification(ngrams=0), reviews, 40),
    "tagging": (Tagging(), sentences, 60),
    "bytes": (Tagging(), sentences, 60),
    "characters": (Tagging(), lambda count: sentences(count, chinese=True), 60),
    "span_qa": (SpanQA(), questions, 60),
    "translation": (Translation(max_length=24), translations, 150),
    "generation": (Generation(max_length=48), answers, 60),
    "embedding": (Embedding(), partners, 30),
}
"""The configuration of each task, its data, and how many steps it is trained."""


class Folders:
    """Makes each folder once, when it is asked for.

    Args:
        place: an empty folder to make them in.
    """

    def __init__(self, place: Path) -> None:
        self.place = place
        logging.getLogger("trifold").setLevel(logging.ERROR)

    def tuned(self, task: str, family: str) -> Path:
        """A run of `trifold finetune`."""
        out = self.place / f"{task}-{family}"
        if not out.exists():
            config, rows, steps = TASKS[task]
            data = self.place / f"{task}.jsonl"
            data.write_text("\n".join(json.dumps(row) for row in rows(300)), encoding="utf-8")
            training = replace(TRAINING, steps=steps, batch_size=16, evaluate_every=steps, optimizer=AdamW(lr=3e-3))
            kind: Kind | None = "byte_bpe" if task == "bytes" else None
            tune(FineTuning(model=ModelChoice(preset=family, overrides={**SMALL}), data=LabelledData(train=str(data)),
                            task=config, tokenizer=TokenizerChoice(kind=kind, vocab_size=400), training=training,
                            epochs=None), out)  # fmt: skip
        return out

    def pretrained(self, family: str) -> Path:
        """A run of `trifold pretrain`."""
        out = self.place / f"pretrained-{family}"
        if not out.exists():
            data = self.place / "text.txt"
            data.write_text("\n".join(row["text"] for row in reviews(600, seed=3)), encoding="utf-8")
            aim = Masked() if PRESETS[family].objective == "masked" else Causal()
            training = Training(steps=60, batch_size=16, length=32, optimizer=AdamW(lr=3e-3))
            choice = DataChoice(paths=(str(data),), document="line")
            pretrain(Experiment(model=ModelChoice(preset=family, overrides={**SMALL}), data=choice, objective=aim,
                                tokenizer=TokenizerChoice(vocab_size=400), training=training), out)  # fmt: skip
        return out

    def empty(self, family: str) -> Path:
        """A model with random weights, saved beside a tokenizer of its own."""
        out = self.place / f"empty-{family}"
        if not out.exists():
            made = train_tokenizer([*mixed_texts(400, seed=9)], kind="byte_bpe", vocab_size=500)
            more = {"offset": (made.special.pad or 0) + 1} if "roberta" in family else {}
            model = Transformer.from_preset(family, size="tiny", vocab_size=made.vocab_size, **SMALL, **more)
            model.save_pretrained(out, tokenizer=made)
        return out

    def theirs(self, family: str, kind: str) -> Path:
        """A folder of transformers: random weights of one of its classes, and a tokenizer of its own."""
        import transformers

        out = self.place / f"theirs-{kind}-{family}"
        if not out.exists():
            torch.manual_seed(0)
            tokenizer, model_class = their_tokenizer(family, kind), getattr(transformers, their_class(family, kind))
            model = model_class(their_config(family, kind, len(tokenizer)))
            with torch.no_grad():
                for weight in model.parameters():
                    weight.add_(torch.randn_like(weight), alpha=0.1)
            model.save_pretrained(out)
            tokenizer.save_pretrained(out)
        return out

    def low(self, family: str) -> tuple[Path, Path]:
        """The model that a run with adapters started from, and the run, which keeps its adapter."""
        base, out = self.empty(family), self.place / f"low-{family}"
        if not out.exists():
            data = self.place / "low.jsonl"
            data.write_text("\n".join(json.dumps(row) for row in reviews(300)), encoding="utf-8")
            training = replace(TRAINING, steps=30, batch_size=16, evaluate_every=30, optimizer=AdamW(lr=1e-2))
            tune(FineTuning(model=ModelChoice(start=str(base)), data=LabelledData(train=str(data)), task=Classification(),
                            lora=LowRank(rank=4, keep="adapter"), training=training, epochs=None), out)  # fmt: skip
        return base, out

    def embedder(self, family: str) -> Path:
        """A folder of sentence-transformers, with prompts, that pools as `POOLED` says."""
        from sentence_transformers import SentenceTransformer
        from sentence_transformers.sentence_transformer import modules

        out = self.place / f"embedder-{family}"
        if not out.exists():
            body = modules.Transformer(str(self.theirs(family, "Model")), max_seq_length=64)
            parts = [body, modules.Pooling(32, pooling_mode=POOLED[family]), modules.Normalize()]
            prompts = {"query": "the film: ", "document": "a story: "}
            SentenceTransformer(modules=parts, prompts=prompts, device="cpu").save(str(out))
        return out

    def adapted(self, family: str) -> tuple[Path, Path]:
        """An adapter of peft beside its base, and the model that peft makes of both, by itself."""
        import transformers
        from peft import LoraConfig, get_peft_model

        out, whole = self.place / f"adapter-{family}", self.place / f"merged-{family}"
        if not out.exists():
            base = self.theirs(family, "ForCausalLM")
            tokenizer = transformers.AutoTokenizer.from_pretrained(base)
            plain = transformers.AutoModelForCausalLM.from_pretrained(base)
            torch.manual_seed(1)
            wanted = LoraConfig(r=4, target_modules="all-linear", task_type="CAUSAL_LM")
            model = get_peft_model(plain, wanted)
            with torch.no_grad():
                for weight in model.parameters():
                    if weight.requires_grad:
                        weight.normal_(std=0.1)
            model.save_pretrained(out)
            model.merge_and_unload().save_pretrained(whole)
            for folder in (out, whole):
                tokenizer.save_pretrained(folder)
        return out, whole


POOLED = {"bert": "cls", "roberta": "mean", "modernbert": "mean", "gpt2": "lasttoken", "llama": "lasttoken"}
LABELS = {"SequenceClassification": ("calm", "glad", "sad"),
          "TokenClassification": ("O", "B-PER", "I-PER", "B-LOC", "I-LOC")}  # fmt: skip
SPECIAL = ["<pad>", "<s>", "</s>", "<unk>", "<mask>"]


def their_class(family: str, kind: str) -> str:
    """The name of transformers' class of a family, `ForCausalLM` or for a task."""
    classes = classes_of(PRESETS[family].model_type)
    named = [one.architecture for one in classes.tasks.values()] if classes else []
    return next((one for one in named if one.endswith(kind)), PRESETS[family].architecture)


def their_config(family: str, kind: str, vocabulary: int) -> Any:
    """A small configuration of transformers' class of a family."""
    import transformers

    size = {"vocab_size": vocabulary, "pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2}
    shape: Row = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 4,
                  "max_position_embeddings": 128}  # fmt: skip
    if PRESETS[family].objective == "causal":
        shape |= {"num_key_value_heads": 2, "head_dim": 8}
    if family == "gpt2":
        shape = {"n_embd": 32, "n_layer": 2, "n_head": 4, "n_positions": 128}
    if family == "t5":
        shape = {"d_model": 32, "d_kv": 8, "d_ff": 48, "num_layers": 2, "num_heads": 4, "decoder_start_token_id": 0}
    if family == "modernbert":
        shape |= {"cls_token_id": 1, "sep_token_id": 2}
    labels = LABELS.get(kind.removeprefix("For"), ())
    named = {"id2label": dict(enumerate(labels)), "label2id": {one: place for place, one in enumerate(labels)}}
    kind_of = getattr(transformers, PRESETS[family].architecture).config_class
    return kind_of(**size, **shape, **(named if labels else {}))


FRAMES = {
    "bert": ("<s> $A </s>", "<s> $A </s> $B:1 </s>:1"),
    "roberta": ("<s> $A </s>", "<s> $A </s> </s> $B </s>"),
    "modernbert": ("<s> $A </s>", "<s> $A </s> $B </s>"),
    "t5": ("$A </s>", "$A </s> $B </s>"),
}
"""What stands around a text and a pair; decoders begin with `<s>`."""


@cache
def their_backend(*, pieces: bool) -> str:
    """A tokenizer trained by the tokenizers library alone: WordPiece, or BPE of bytes."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

    texts = [*(row["text"] for row in reviews(300)), *(row["context"] for row in questions(300))]
    if pieces:
        backend = Tokenizer(models.WordPiece(unk_token="<unk>"))  # noqa: S106 - a spelling
        backend.pre_tokenizer, backend.decoder = pre_tokenizers.BertPreTokenizer(), decoders.WordPiece()
        learner = trainers.WordPieceTrainer(vocab_size=500, special_tokens=SPECIAL, show_progress=False)
        backend.train_from_iterator(texts, learner)
        return backend.to_str()
    backend = Tokenizer(models.BPE(unk_token=None))
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    letters = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=500, special_tokens=SPECIAL, initial_alphabet=letters, show_progress=False)
    backend.train_from_iterator(texts, trainer)
    return backend.to_str()


def their_tokenizer(family: str, kind: str) -> Any:
    """That tokenizer as transformers keeps it for a family."""
    from tokenizers import Tokenizer, processors
    from transformers import PreTrainedTokenizerFast

    single, pair = FRAMES.get(family, ("<s> $A", "<s> $A </s> $B"))
    backend = Tokenizer.from_str(their_backend(pieces=kind == "ForTokenClassification"))
    ids = [(one, place) for place, one in enumerate(SPECIAL)]
    backend.post_processor = processors.TemplateProcessing(single=single, pair=pair, special_tokens=ids)
    names = ["input_ids", *(["token_type_ids"] if family == "bert" else []), "attention_mask"]
    side = "left" if kind == "ForCausalLM" else "right"
    first = {"cls_token": "<s>", "sep_token": "</s>"} if family in FRAMES and family != "t5" else {}
    return PreTrainedTokenizerFast(tokenizer_object=backend, pad_token="<pad>", bos_token="<s>", eos_token="</s>",  # noqa: S106
                                   unk_token="<unk>", mask_token="<mask>", padding_side=side, model_input_names=names,  # noqa: S106
                                   model_max_length=128, **first)  # fmt: skip

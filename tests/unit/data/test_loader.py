"""Every token once an epoch, the same order for the same seed, and any place found again."""

import hashlib
import itertools
import json
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
import torch

from trifold.batch import IGNORED, Batch
from trifold.data import Example, Loader, Room, Split, TokenStore, build_stores, plan_split, read
from trifold.data import store as store_module
from trifold.data.packing import assemble, fill_rows
from trifold.data.permutation import permute
from trifold.errors import DataError
from trifold.example import TrainingExample
from trifold.objective import build_objective, config
from trifold.presets import build_config
from trifold.text import Tokenizer, train_tokenizer

LETTERS = "abcdefghijklmnopqrstuvwxyz ABCDEFGHIJKLMNOPQRSTUVWXYZ.,;"


def make_texts(count: int, *, longest: int = 300, seed: int = 0) -> list[str]:
    dice = np.random.default_rng(seed)
    lengths = np.minimum(dice.lognormal(3.5, 1.0, count).astype(int) + 5, longest)
    return ["".join(dice.choice(list(LETTERS), n)) for n in lengths]


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    return train_tokenizer([LETTERS], kind="character", vocab_size=256)


def make_store(tmp_path: Path, tokenizer: Tokenizer, texts: list[str], **more) -> TokenStore:
    build_stores((Example((text,)) for text in texts), tokenizer, tmp_path / "store", **more)
    return TokenStore(tmp_path / "store" / "train", tokenizer)


def make_loader(store: TokenStore, tokenizer: Tokenizer, kind: str = "causal", **more) -> Loader:
    families = {"causal": "gpt2", "masked": "bert", "denoising": "t5"}
    wanted = {"causal": config.Causal(), "masked": config.Masked(), "denoising": config.Denoising()}[kind]
    shape = build_config(families[kind], size="tiny", overrides={"vocab_size": tokenizer.vocab_size})
    objective = build_objective(wanted, tokenizer, shape)
    length = more.pop("length", 64)
    paired = kind == "denoising"
    room = Room(
        source=0 if kind == "causal" else length,
        target=length if kind == "causal" else objective.target_length(length) if paired else 0,
    )
    return Loader([store], objective, room, batch_size=4, pad=tokenizer.special.pad, **more)


def labels_of(batches: list[Batch]) -> list[int]:
    return sorted(label for batch in batches for label in batch.labels.flatten().tolist() if label != IGNORED)


def same(one: Batch, other: Batch) -> bool:
    pairs = [(getattr(one, name), getattr(other, name)) for name in ("source", "target", "labels")]
    return all((a is None and b is None) or torch.equal(a, b) for a, b in pairs)


@pytest.mark.parametrize("longest", [300, 40])
def test_an_epoch_predicts_every_token_and_every_end_exactly_once(tmp_path, tokenizer, longest):
    texts = make_texts(200, longest=longest)
    store = make_store(tmp_path, tokenizer, texts)
    wanted = [int(i) for text in texts for i in [*tokenizer.encode(text).ids, tokenizer.special.eos]]
    loader = make_loader(store, tokenizer, token_bytes=tokenizer.token_bytes())
    batches = list(loader.epoch())
    assert labels_of(batches) == sorted(wanted)
    assert sum(batch.num_bytes for batch in batches) == sum(len(text) for text in texts) == store.num_bytes


def test_bytes_of_unknown_and_lost_characters_do_not_count_as_predicted(tmp_path, tokenizer):
    texts = ["ab中cd", "中文"]  # 4 letters that the tokenizer knows, 3 that it does not, of 3 bytes each
    store = make_store(tmp_path, tokenizer, texts)
    batches = list(make_loader(store, tokenizer, token_bytes=tokenizer.token_bytes()).epoch())
    assert (store.num_bytes, store.token_bytes, store.unknown_share) == (13, 4, pytest.approx(3 / 7))
    assert sum(batch.num_bytes for batch in batches) == 4


def test_training_reads_the_text_of_one_huge_document_evenly(tmp_path, tokenizer):
    text = "".join(np.random.default_rng(0).choice(list(LETTERS), 64 * 256))
    store = make_store(tmp_path, tokenizer, [text])
    loader = make_loader(store, tokenizer)
    seen = np.zeros(tokenizer.vocab_size)
    for batch in islice(loader, 64):  # one epoch of 4 rows of 64
        np.add.at(seen, batch.labels[batch.labels != IGNORED].numpy(), 1)
        assert batch.target_layout.positions.max() < 64
    whole = np.bincount(tokenizer.encode(text).ids, minlength=tokenizer.vocab_size)
    assert abs(seen.sum() - len(text)) <= 300
    assert np.abs(seen - whole).max() <= 20


@pytest.mark.parametrize("kind", ["causal", "masked", "denoising"])
def test_waste_is_below_two_per_cent(tmp_path, tokenizer, kind):
    store = make_store(tmp_path, tokenizer, make_texts(3000))
    batches = list(islice(make_loader(store, tokenizer, kind, length=256), 32))
    layouts = [batch.target_layout if kind == "causal" else batch.source_layout for batch in batches]
    empty = [(one.documents == 0).float().mean().item() if one.documents is not None else 0.0 for one in layouts]
    assert np.mean(empty) < 0.02


@pytest.mark.parametrize("kind", ["causal", "masked", "denoising"])
def test_a12_resume_at_any_batch_gives_the_batch_that_would_have_come(tmp_path, tokenizer, kind):
    store = make_store(tmp_path, tokenizer, make_texts(150))
    whole = list(islice(make_loader(store, tokenizer, kind, seed=3), 40))
    for stop in (1, 16, 37):
        first = make_loader(store, tokenizer, kind, seed=3)
        list(islice(first, stop))
        second = make_loader(store, tokenizer, kind, seed=3)
        second.load_state_dict(first.state_dict())
        assert same(next(iter(second)), whole[stop])


def test_another_seed_is_another_order(tmp_path, tokenizer):
    store = make_store(tmp_path, tokenizer, make_texts(150))
    one, two = (next(iter(make_loader(store, tokenizer, seed=seed))) for seed in (1, 2))
    assert not same(one, two)


def test_weights_decide_how_often_a_corpus_is_drawn(tmp_path, tokenizer):
    stores = []
    for name, letter in (("a", "a"), ("b", "b")):
        build_stores([Example((letter * 50,))] * 20, tokenizer, tmp_path / name)
        stores.append(TokenStore(tmp_path / name / "train", tokenizer))
    shape = build_config("gpt2", size="tiny", overrides={"vocab_size": tokenizer.vocab_size})
    objective = build_objective(config.Causal(), tokenizer, shape)
    loader = Loader(stores, objective, Room(source=0, target=51), batch_size=4, pad=0, weights=[3.0, 1.0])
    counts = np.zeros(tokenizer.vocab_size)
    for batch in islice(loader, 64):
        np.add.at(counts, batch.labels[batch.labels != IGNORED].numpy(), 1)
    a, b = (counts[tokenizer.encode(letter).ids[0]] for letter in "ab")
    assert a / b == pytest.approx(3.0, rel=0.05)


def test_a_corpus_smaller_than_one_row_still_trains(tmp_path, tokenizer):
    store = make_store(tmp_path, tokenizer, ["short text"])
    batch = next(iter(make_loader(store, tokenizer)))
    assert batch.labels.shape == (4, 64)
    assert (batch.labels != IGNORED).any()


def test_documents_in_a_row_keep_their_numbers_and_positions():
    parts = [TrainingExample(labels=np.arange(n), target=np.arange(n)) for n in (3, 2)]
    batch = assemble([parts], Room(source=0, target=6), pad=9)
    assert batch.target.tolist() == [[0, 1, 2, 0, 1, 9]]
    assert batch.target_layout.documents.tolist() == [[1, 1, 1, 2, 2, 0]]
    assert batch.target_layout.positions.tolist() == [[0, 1, 2, 0, 1, 0]]
    assert batch.labels.tolist() == [[0, 1, 2, 0, 1, IGNORED]]


def test_pairs_fit_on_both_sides():
    dice = np.random.default_rng(0)
    make = lambda s, t: TrainingExample(labels=np.zeros(t, int), source=np.zeros(s, int), target=np.zeros(t, int))
    examples = [make(int(s), int(t)) for s, t in dice.integers(1, 16, (300, 2))]
    room = Room(source=32, target=32)
    rows = fill_rows(examples, 300, room)
    assert sum(map(len, rows)) == 300
    assert all(sum(one.source_length for one in row) <= 32 for row in rows)
    assert all(sum(one.target_length for one in row) <= 32 for row in rows)


def test_a_shuffled_epoch_has_the_same_rows_and_begins_with_a_sample_of_them(tmp_path, tokenizer):
    texts = [chr(ord("a") + number // 10) * 60 for number in range(200)]
    build_stores([Example((text,)) for text in texts], tokenizer, tmp_path / "store")
    store = TokenStore(tmp_path / "store" / "train", tokenizer)
    shape = build_config("gpt2", size="tiny", overrides={"vocab_size": tokenizer.vocab_size})
    objective = build_objective(config.Causal(), tokenizer, shape)
    loader = Loader([store], objective, Room(source=0, target=64), batch_size=4, pad=0)
    ordered, mixed = list(loader.epoch()), list(loader.epoch(shuffled=True))
    every = [sorted(row.tolist() for batch in batches for row in batch.labels) for batches in (ordered, mixed)]
    assert every[0] == every[1]
    first = [{label for batch in batches[:5] for label in batch.labels[:, 0].tolist()} for batches in (ordered, mixed)]
    assert len(first[0]) <= 2 and len(first[1]) >= 10
    assert all(torch.equal(one.labels, two.labels) for one, two in zip(mixed, loader.epoch(shuffled=True), strict=True))


@pytest.mark.parametrize("size", [1, 2, 3, 17, 1000])
def test_the_shuffled_order_is_a_bijection(size):
    for key in range(3):
        assert sorted(permute(place, size, key) for place in range(size)) == list(range(size))


def split_stores(folder: Path, tokenizer: Tokenizer, texts: list[str], fraction: float, **more) -> list[TokenStore]:
    examples = [Example((text,)) for text in texts]
    split = plan_split(examples, fraction, more.pop("place", "spread"))
    build_stores(examples, tokenizer, folder, split=split, **more)
    return [TokenStore(folder / name, tokenizer) for name in ("train", "valid")]


def written(store: TokenStore, tokenizer: Tokenizer) -> list[str]:
    return [tokenizer.decode(store.document(number)) for number in range(store.num_documents)]


def test_held_out_text_is_every_nth_document_or_the_end_of_one(tmp_path, tokenizer):
    texts = make_texts(100)
    train, valid = split_stores(tmp_path / "many", tokenizer, texts, 0.1)
    assert written(valid, tokenizer) == texts[9::10]
    assert written(train, tokenizer) == [text for number, text in enumerate(texts, 1) if number % 10]
    train, valid = split_stores(tmp_path / "one", tokenizer, ["x" * 900 + "y" * 100], 0.1)
    assert written(train, tokenizer) == ["x" * 900] and train.num_bytes == 900
    assert written(valid, tokenizer) == ["y" * 100] and valid.num_bytes == 100
    two = ["x" * 5_000, "y" * 9_000 + "z" * 1_000]
    train, valid = split_stores(tmp_path / "two", tokenizer, two, 0.1, place="end")
    assert written(valid, tokenizer) == ["z" * 1_000]


@pytest.mark.parametrize("line", [0, 70], ids=["no lines", "lines"])
@pytest.mark.parametrize("sizes", [[40_000], [9_000, 400, 30_000, 50, 5_000], [30_000, 1, 9_000], [190_000, 70_000]])
def test_held_out_stretches_are_spread_over_the_text_and_nothing_is_lost(tmp_path, tokenizer, sizes, line):
    dice = np.random.default_rng(0)
    texts = ["".join(dice.choice(list(LETTERS), size)) for size in sizes]
    if line:
        texts = ["\n".join(text[n : n + line] for n in range(0, len(text), line)) for text in texts]
    (tmp_path / "texts.jsonl").write_text("".join(json.dumps({"text": text}) + "\n" for text in texts))
    examples = list(read([str(tmp_path / "texts.jsonl")]))  # long ones in parts
    split = plan_split(examples, 0.1)
    sides = [(held, example) for held, example in split.sides(examples)]
    assert "".join(example.texts[0] for _, example in sides) == "".join(texts)
    held, begun = [], False
    for is_held, example in sides:
        if is_held and begun:
            held[-1] += example.texts[0]
        elif is_held:
            held.append(example.texts[0])
        begun = is_held and not example.complete
    total = sum(map(len, texts))
    assert 0.08 * total < sum(map(len, held)) < 0.12 * total and len(held) == len(split.stretches) >= 2
    assert all(any(part in text for text in texts) for part in held), "a stretch crosses from one document to the next"
    places = [start for start, _ in split.stretches]
    assert places[0] < total / len(held) and places[-1] > total * (1 - 1 / len(held))
    assert not line or all(part.endswith("\n") or any(text.endswith(part) for text in texts) for part in held)
    train, valid = split_stores(tmp_path / "two", tokenizer, texts, 0.1, words=True)
    assert written(valid, tokenizer) == [tokenizer.decode(tokenizer.encode(part).ids) for part in held]
    assert train.num_bytes + valid.num_bytes == sum(len(text.encode()) for text in texts)


@pytest.mark.parametrize("fraction", [0.01, 0.1, 0.3, 0.6])
def test_no_stretch_is_empty_or_meets_another_or_lies_in_two_documents_however_short_they_are(fraction):
    dice, several = np.random.default_rng(0), 0
    for _ in range(100):
        sizes = np.exp(dice.uniform(0, 12, dice.integers(1, 1 + round(1 / fraction)))).astype(int)
        stretches = plan_split([Example(("x" * int(size),)) for size in sizes], fraction).stretches
        ends = np.cumsum(sizes)
        several += len(stretches) > 1
        assert all(start < end for start, end in stretches)
        assert all(before <= start for (_, before), (start, _) in itertools.pairwise(stretches))
        assert all(end <= ends[np.searchsorted(ends, start, side="right")] for start, end in stretches)
    assert several >= 10


@pytest.mark.parametrize(
    ("stretches", "sides"),
    [
        (((0, 2),), [(True, "ab"), (False, "c"), (False, "de"), (False, "f")]),
        (((3, 5),), [(False, "abc"), (True, "de"), (False, "f")]),
        (((0, 3), (5, 6)), [(True, "abc"), (False, "de"), (True, "f")]),
        (((1, 2), (2, 3)), [(False, "a"), (True, "b"), (True, "c"), (False, "de"), (False, "f")]),
    ],
)
def test_a_stretch_at_the_border_of_a_document_leaves_no_empty_one_beside_it(stretches, sides):
    found = Split(stretches=stretches).sides([Example((text,)) for text in ("abc", "de", "f")])
    assert [(held, example.texts[0], example.complete) for held, example in found] == [(*side, True) for side in sides]


def test_a_split_that_is_known_needs_no_more_documents_than_it_takes():
    numbers = (Example((str(number),)) for number in itertools.count())
    assert plan_split(numbers, 0.02) == Split(every=50)
    assert next(numbers).texts == ("50",)


def test_a_text_too_short_to_part_holds_nothing_out(tmp_path, tokenizer):
    examples = [Example(("a",))]
    assert plan_split(examples, 0.1) == plan_split([], 0.1) == Split()
    build_stores(examples, tokenizer, tmp_path / "one", split=plan_split(examples, 0.1))
    assert TokenStore(tmp_path / "one" / "train", tokenizer).num_tokens == 1
    assert not (tmp_path / "one" / "valid").exists()


def test_a_document_that_comes_in_parts_is_one_document(tmp_path, tokenizer):
    parts = [Example(("one ",), complete=False), Example(("two ",), complete=False), Example(("",)), Example(("x",))]
    build_stores(parts, tokenizer, tmp_path / "store")
    store = TokenStore(tmp_path / "store" / "train", tokenizer)
    assert [tokenizer.decode(store.document(n)) for n in range(store.num_documents)] == ["one two ", "x"]


def test_text_without_a_token_is_refused_and_leaves_nothing(tmp_path, tokenizer):
    with pytest.raises(DataError, match="my notes"):
        build_stores([], tokenizer, tmp_path / "store", details={"paths": ["my notes"]})
    assert list(tmp_path.iterdir()) == []


class Odd:
    """An objective that makes of each piece what it is told."""

    suffix, draws = (), False

    def __init__(self, *examples: TrainingExample) -> None:
        self.examples = list(examples)

    def piece_length(self, length):
        return length

    def prepare(self, piece, rng):
        return self.examples


def test_an_objective_that_finds_nothing_to_learn_does_not_search_for_ever(tmp_path, tokenizer):
    loader = Loader(
        [make_store(tmp_path, tokenizer, ["abc"] * 5)], Odd(), Room(source=0, target=8), batch_size=2, pad=0
    )
    with pytest.raises(DataError, match="store"):
        next(iter(loader))


def test_an_example_longer_than_a_row_is_refused_with_both_lengths(tmp_path, tokenizer):
    long = TrainingExample(labels=np.zeros(9, int), target=np.zeros(9, int))
    loader = Loader(
        [make_store(tmp_path, tokenizer, ["abc"])], Odd(long), Room(source=0, target=8), batch_size=2, pad=0
    )
    with pytest.raises(DataError, match=r"0 \+ 9(?s:.*)0 \+ 8"):
        next(iter(loader))


def test_corpora_without_a_piece_are_refused(tmp_path, tokenizer):
    pairs = [Example(("a", "b"))] * 3  # fewer than the ten of which one is held out
    build_stores(pairs, tokenizer, tmp_path / "store", pairs=True, split=Split(every=10))
    empty = TokenStore(tmp_path / "store" / "valid", tokenizer)
    with pytest.raises(DataError):
        Loader([empty], Odd(), Room(source=8, target=8), batch_size=2, pad=0)


@pytest.mark.parametrize("damage", ["truncate", "odd", "flip", "missing", "large_id", "index"])
def test_b5_a_damaged_store_is_refused_by_name(tmp_path, tokenizer, damage):
    make_store(tmp_path, tokenizer, make_texts(20))
    folder = tmp_path / "store" / "train"
    shard = folder / "tokens.bin"
    raw = bytearray(shard.read_bytes())
    match damage:
        case "truncate":
            shard.write_bytes(raw[:-2])
        case "odd":
            shard.write_bytes(raw[:-1])
        case "flip":
            raw[5] ^= 1
            shard.write_bytes(raw)
        case "missing":
            shard.unlink()
        case "large_id":
            raw[0:2] = (60000).to_bytes(2, "little")
            shard.write_bytes(raw)
            index = json.loads((folder / "index.json").read_text())
            index["files"]["tokens.bin"]["sha256"] = hashlib.sha256(raw).hexdigest()
            (folder / "index.json").write_text(json.dumps(index))
        case "index":
            (folder / "index.json").write_text("{")
    said = {"index": r"index\.json", "large_id": r"tokens\.bin.*60000"}.get(damage, r"tokens\.bin")
    with pytest.raises(DataError, match=said):
        TokenStore(folder, tokenizer)


def test_a_store_of_another_version_says_both_versions(tmp_path, tokenizer):
    make_store(tmp_path, tokenizer, ["abc"])
    path = tmp_path / "store" / "train" / "index.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "format": 77}))
    with pytest.raises(DataError, match=f"(?s)77.*{store_module.FORMAT}"):
        TokenStore(path.parent, tokenizer)


def test_a_store_of_another_tokenizer_is_refused(tmp_path, tokenizer):
    make_store(tmp_path, tokenizer, make_texts(5))
    other = train_tokenizer([LETTERS + "é"], kind="character", vocab_size=256)
    with pytest.raises(DataError, match="another tokenizer"):
        TokenStore(tmp_path / "store" / "train", other)


def test_building_takes_the_same_memory_for_ten_times_the_text(tmp_path, tokenizer, monkeypatch):
    import tracemalloc

    monkeypatch.setattr(store_module, "BUFFERED_CHARACTERS", 10_000)
    peaks = []
    for number, size in enumerate((10, 100)):
        tracemalloc.start()
        build_stores((Example(("word " * 200,)) for _ in range(size * 4)), tokenizer, tmp_path / f"m{number}")
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < 1.1 * peaks[0]


def test_a_store_that_becomes_shorter_under_the_run_is_one_clear_error(tmp_path, tokenizer):
    store = make_store(tmp_path, tokenizer, ["a word and another one"])
    with (tmp_path / "store" / "train" / "tokens.bin").open("r+b") as file:
        file.truncate(5)
    with pytest.raises(DataError, match=r"tokens\.bin.*bytes are missing"):
        store.document(0)

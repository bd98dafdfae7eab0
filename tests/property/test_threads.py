"""Many threads use one tokenizer, one model, one knowledge base; each gets what it would get alone."""

import pickle
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch

from trifold.errors import ConfigError, DataError, DistributedError, TrifoldError
from trifold.generation import Generator, Sampling
from trifold.native.activation import activate
from trifold.presets.pretrained import Transformer
from trifold.retrieval import KnowledgeBase
from trifold.tasks import Classification, Record
from trifold.tasks.build import build_task
from trifold.tasks.equip import equip
from trifold.text import train_tokenizer

TEXTS = ["to be or not </s> to be", "<s> what is <pad> here", "plain words only"]


@pytest.fixture
def tokenizer():
    return train_tokenizer(TEXTS * 9, kind="byte_bpe", vocab_size=420, num_sentinels=2)


def passed_on(value):
    """As another process gets it."""
    return pickle.loads(pickle.dumps(value))  # noqa: S301 - our own


def together(work, count=400):
    with ThreadPoolExecutor(8) as pool:
        return list(pool.map(work, range(count)))


def test_a_tokenizer_reads_special_tokens_as_each_call_wants_it(tokenizer):
    alone = {
        plain: [tokenizer.encode_ids([text], plain=plain)[0].tolist() for text in TEXTS] for plain in (True, False)
    }
    assert alone[True][0] != alone[False][0] and alone[True][2] == alone[False][2]
    found = together(
        lambda n: [tokenizer.encode_ids(TEXTS, plain=bool(n % 2)), tokenizer.encode_batch(TEXTS, plain=bool(n % 3))]
    )
    for n, (ids, encodings) in enumerate(found):
        assert [row.tolist() for row in ids] == alone[bool(n % 2)]
        assert [one.ids.tolist() for one in encodings] == alone[bool(n % 3)]


def test_tokens_that_are_added_later_are_known_in_both_ways_of_reading(tokenizer):
    before = [tokenizer.encode_ids(["a new-word"], plain=plain)[0].tolist() for plain in (True, False)]
    tokenizer.backend.add_tokens(["new-word"])
    for plain, was in zip((True, False), before, strict=True):
        ids = tokenizer.encode_ids(["a new-word"], plain=plain)[0].tolist()
        assert ids[-1] == tokenizer.token_to_id("new-word") and ids != was


def test_generation_from_threads_leaves_a_model_in_the_mode_that_it_found(tokenizer):
    torch.manual_seed(0)
    model = Transformer.from_preset(
        "gpt2", size="tiny", vocab_size=tokenizer.vocab_size, num_layers=1, d_model=32, num_heads=2
    )
    generator, greedy = Generator(model, tokenizer, ends=()), Sampling(temperature=0.0, max_tokens=6)
    alone = [one.ids for one in generator.generate(TEXTS, greedy)]
    model.train()
    model.decoder.final_norm.eval()  # a part that its owner keeps as it is
    found = together(lambda n: generator.generate(TEXTS[n % 3 : n % 3 + 1], greedy)[0].ids, 60)
    assert found == [alone[n % 3] for n in range(60)]
    assert model.training and model.decoder.blocks[0].training and not model.decoder.final_norm.training


def test_a_classifier_gives_each_thread_its_own_answers(tokenizer):
    torch.manual_seed(0)
    model = Transformer.from_preset(
        "bert", size="tiny", vocab_size=tokenizer.vocab_size, num_layers=1, d_model=32, num_heads=2
    )
    task = build_task(Classification(labels=("a", "b"), max_length=32), tokenizer, model.config)
    equip(model, task)
    model.eval()
    alone = [task.predict(model, [Record(text)])[0].confidence for text in TEXTS]
    found = together(lambda n: task.predict(model, [Record(TEXTS[n % 3])])[0].confidence, 120)
    assert found == pytest.approx([alone[n % 3] for n in range(120)], abs=1e-6)


def test_a_knowledge_base_is_searched_and_added_to_from_threads(tmp_path):
    for number in range(30):
        (tmp_path / f"{number}.txt").write_text(f"River number{number} flows to the sea.", encoding="utf-8")
    base, _ = KnowledgeBase.build([tmp_path], tmp_path / "kb")
    (tmp_path / "later.txt").write_text("A lake called later.", encoding="utf-8")

    def work(n):
        if n == 20:
            base.add([tmp_path / "later.txt"])
        return base.search(f"number{n % 30}")[0].passage.text, len(list(base.passages()))

    for n, (text, count) in enumerate(together(work, 120)):
        assert text == f"River number{n % 30} flows to the sea." and count in (30, 31)
    assert base.search("later")[0].passage.text == "A lake called later."


def test_a_single_text_is_a_record_of_one_input():
    assert Record("good film") == Record(("good film",)) == Record(["good film"])


def test_errors_and_models_travel_between_processes():
    error = DataError("data.corpus_empty", path=torch.device("cpu"))
    copy = passed_on(error)
    assert (type(copy), str(copy), copy.code, copy.exit_code) == (DataError, str(error), error.code, 3)
    told = DistributedError("training.together_failed", problem="x")
    told.told, told.exit_code = True, 5
    assert (passed_on(told).told, passed_on(told).exit_code) == (True, 5)
    assert issubclass(ConfigError, TrifoldError)
    assert passed_on(activate("identity"))(torch.ones(1)) == 1
    model = Transformer.from_preset("t5", size="tiny", vocab_size=64, num_layers=1, d_model=32, num_heads=2)
    assert passed_on(model).num_parameters() == model.num_parameters()

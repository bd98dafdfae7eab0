from itertools import pairwise
from pathlib import Path

import pytest
import torch
from torch import Tensor

from tests.shapes import DECODERS, LONGEST, PAIRS, VOCAB, WRITERS, build
from trifold.batch import Layout
from trifold.errors import NonFiniteError, UsageError
from trifold.generation import Generator, Sampling
from trifold.generation import generator as generator_module
from trifold.generation.output import Growing
from trifold.model import Transformer
from trifold.presets.pretrained import Transformer as Pretrained
from trifold.text import Tokenizer, train_tokenizer

PROMPTS = ["abc", "hello and on", "a", "one line", "the quick fox"[:9], "dd"]
GREEDY = Sampling(temperature=0.0, max_tokens=24)


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    made = train_tokenizer(["abcdefghijklmnopqrst "], kind="character", vocab_size=VOCAB, num_sentinels=3)
    assert made.vocab_size == VOCAB
    return made


def _model(name: str) -> Transformer:
    return build(name, dtype=torch.float32)


def _unending(name: str, tokenizer: Tokenizer) -> Generator:
    return Generator(_model(name), tokenizer, ends=())


def _next(generator: Generator, prompt: str, ids: list[int]) -> Tensor:
    """Logits of the next token by one whole pass."""
    model, tokenizer = generator.model, generator.tokenizer
    read, special = tokenizer.encode(prompt).ids.tolist(), tokenizer.special
    with torch.no_grad():
        if model.config.encoder is None:
            return model.head(model.decode(torch.tensor([[special.bos, *read, *ids]]))[0, -1])
        memory = model.encode(torch.tensor([[*read, special.eos]]))
        return model.head(model.decode(torch.tensor([[special.pad, *ids]]), memory=memory)[0, -1])


@pytest.mark.parametrize("name", WRITERS)
def test_greedy_is_the_argmax_of_whole_passes(name: str, tokenizer: Tokenizer) -> None:
    generator = _unending(name, tokenizer)
    (made,) = generator.generate("one line", GREEDY)
    ids: list[int] = []
    for logprob in made.logprobs:
        logits = _next(generator, "one line", ids)
        ids.append(int(logits.argmax()))
        assert logprob == pytest.approx(logits.log_softmax(-1).max().item(), abs=1e-4)
    assert made.ids == tuple(ids)
    assert (made.text, made.finish_reason) == (tokenizer.decode(ids), "length")


OPTIONS = {
    "greedy": GREEDY,
    "sample": Sampling(seed=3, max_tokens=24),
    "filtered": Sampling(
        seed=4, max_tokens=24, top_k=20, top_p=0.9, min_p=0.01, repetition_penalty=1.2, temperature=1.3
    ),
    "beams": Sampling(beams=3, max_tokens=12),
    "stop": Sampling(seed=5, max_tokens=40, stop=("a", "ki")),
}


@pytest.mark.parametrize("option", OPTIONS)
@pytest.mark.parametrize("name", WRITERS)
def test_g5_a_batch_of_unequal_prompts_gives_what_each_gives_alone(
    name: str, option: str, tokenizer: Tokenizer
) -> None:
    generator, sampling = Generator(_model(name), tokenizer), OPTIONS[option]
    together = generator.generate(PROMPTS, sampling)
    assert [made.ids for made in generator.generate(PROMPTS, sampling, batch_size=4)] == [made.ids for made in together]
    for prompt, made in zip(PROMPTS, together, strict=True):
        (alone,) = generator.generate(prompt, sampling)
        assert (alone.ids, alone.text, alone.finish_reason) == (made.ids, made.text, made.finish_reason)
        assert alone.logprobs == pytest.approx(made.logprobs, abs=1e-4)
        if option != "beams":
            assert "".join(generator.stream(prompt, sampling)) == made.text


def test_e15_a_seed_gives_the_same_text_alone_and_among_31_others(tokenizer: Tokenizer) -> None:
    generator, sampling = _unending("decoder_rotary_window", tokenizer), Sampling(max_tokens=20)
    crowd = generator.generate(["abc"] * 32, sampling, seeds=range(32))
    assert len({made.ids for made in crowd}) > 28
    for seed in (0, 17, 31):
        assert generator.generate("abc", sampling, seeds=[seed])[0].ids == crowd[seed].ids
        assert generator.generate("abc", Sampling(max_tokens=20, seed=seed))[0].ids == crowd[seed].ids
    fresh = {generator.generate("abc", sampling)[0].ids for _ in range(3)}
    assert len(fresh) > 1
    longer = generator.generate("abc", Sampling(max_tokens=40, seed=17))[0]
    assert longer.ids[:20] == crowd[17].ids


@pytest.mark.parametrize("name", ["decoder_rotary_window", "pair_relative_rms"])
def test_the_end_token_ends_a_text_and_is_not_shown(name: str, tokenizer: Tokenizer) -> None:
    generator = Generator(_model(name), tokenizer)
    ended = 0
    for made in generator.generate(["abc"] * 30, Sampling(max_tokens=60, seed=1), seeds=range(30)):
        if made.finish_reason == "end":
            ended += 1
            assert made.ids[-1] == tokenizer.special.eos
        assert tokenizer.special.eos not in made.ids[:-1]
        assert made.text == tokenizer.decode(made.ids)
        assert len(made.ids) == len(made.logprobs)
    assert ended > 3


def test_stop_strings_end_a_text_before_them(tokenizer: Tokenizer) -> None:
    generator = _unending("decoder_pre_learned", tokenizer)
    plain = generator.generate("abc", Sampling(seed=2, max_tokens=60))[0]
    stop = plain.text[20:23]
    stopped = generator.generate("abc", Sampling(seed=2, max_tokens=60, stop=(stop,)))[0]
    assert stopped.text == plain.text[: plain.text.find(stop)]
    assert stopped.finish_reason == "stop"
    assert plain.ids[: len(stopped.ids)] == stopped.ids
    generator, beams = _unending("decoder_rotary_whole", tokenizer), Sampling(beams=2, max_tokens=20)
    text = generator.generate("abc", beams)[0].text
    cut = generator.generate("abc", Sampling(beams=2, max_tokens=20, stop=(text[1:3],)))[0]
    assert (cut.text, cut.finish_reason) == (text[: text.find(text[1:3])], "stop")


@pytest.mark.parametrize("name", ["decoder_pre_learned", "pair_post_sinusoidal"])
def test_learned_positions_are_used_to_the_last_and_not_beyond(name: str, tokenizer: Tokenizer) -> None:
    generator = _unending(name, tokenizer)
    prompts, taken = ["a" * 100, "a" * 20], 101 if name in DECODERS else 1
    room = LONGEST - taken + 1
    assert [len(made.ids) for made in generator.generate(prompts, Sampling(max_tokens=room))] == [room, room]
    lengths = [len(made.ids) for made in generator.generate(prompts)]
    assert lengths == ([room, LONGEST - 20] if name in DECODERS else [room, room])
    with pytest.raises(UsageError, match=f"at most {room} tokens"):
        generator.generate(prompts, Sampling(max_tokens=room + 1))
    with pytest.raises(UsageError, match=f"{LONGEST + 1} tokens"):
        generator.generate("a" * LONGEST)
    beams = generator.generate(prompts, Sampling(beams=2))
    assert [len(made.ids) for made in beams] == lengths


@pytest.mark.parametrize("name", PAIRS)
def test_the_source_is_encoded_once(name: str, tokenizer: Tokenizer) -> None:
    generator = Generator(_model(name), tokenizer)
    calls: list[int] = []
    assert generator.model.encoder is not None
    generator.model.encoder.register_forward_hook(lambda *_: calls.append(1))
    generator.generate(PROMPTS, Sampling(max_tokens=10))
    generator.generate(PROMPTS, Sampling(max_tokens=10, beams=4))
    assert len(calls) == 2


@pytest.mark.parametrize("name", ["decoder_pre_learned", "decoder_rotary_whole"])
def test_a_prefix_model_reads_its_prompt_in_both_directions(name: str, tokenizer: Tokenizer) -> None:
    model = _model(name)
    generator = Generator(model, tokenizer, ends=(), prefix=True)
    for prompt, made in zip(PROMPTS, generator.generate(PROMPTS, GREEDY), strict=True):
        read = [tokenizer.special.bos, *tokenizer.encode(prompt).ids.tolist()]
        ids = torch.tensor([[*read, *made.ids]])
        layout = Layout(torch.arange(ids.shape[1])[None], prefix=torch.full_like(ids, len(read)))
        with torch.no_grad():
            whole = model.head(model.decode(ids, layout))[0, len(read) - 1 : -1]
        assert whole.argmax(-1).tolist() == list(made.ids)


def test_a_model_in_training_is_left_in_training_and_writes_without_dropout(tokenizer: Tokenizer) -> None:
    model = _model("decoder_pre_learned")
    wanted = Generator(model, tokenizer).generate("abc", GREEDY)
    model.train()
    for module in model.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.5
    assert Generator(model, tokenizer).generate("abc", GREEDY) == wanted
    assert "".join(Generator(model, tokenizer).stream("abc", GREEDY)) == wanted[0].text
    assert model.training


def test_bfloat16_weights_write_too(tokenizer: Tokenizer) -> None:
    for name in ("decoder_rotary_window", "pair_relative_rms"):
        generator = Generator(_model(name).bfloat16(), tokenizer, ends=())
        for sampling in (GREEDY, Sampling(max_tokens=24, top_p=0.9), Sampling(max_tokens=24, beams=2)):
            assert [len(made.ids) for made in generator.generate(PROMPTS, sampling)] == [24] * len(PROMPTS)


def test_tokens_that_the_tokenizer_lacks_are_never_written() -> None:
    small = train_tokenizer(["abcdef"], kind="character", vocab_size=VOCAB, num_sentinels=3)
    assert small.vocab_size < VOCAB
    generator = Generator(_model("decoder_pre_learned"), small, ends=())
    made = generator.generate("abc", Sampling(max_tokens=100, temperature=5.0, seed=0))[0]
    assert max(made.ids) < small.vocab_size


def test_what_cannot_be_done_is_said(tokenizer: Tokenizer) -> None:
    with pytest.raises(UsageError, match="only an encoder"):
        Generator(_model("encoder_post_learned"), tokenizer)
    large = train_tokenizer(["abcdefghijklmnopqrstuvwxyz"], kind="character", vocab_size=99, num_sentinels=3)
    with pytest.raises(UsageError, match=f"knows only {VOCAB}"):
        Generator(_model("decoder_pre_learned"), large)
    generator = Generator(_model("decoder_pre_learned"), tokenizer)
    with pytest.raises(UsageError, match="2 seeds were given for 1"):
        generator.generate("abc", seeds=[1, 2])
    with pytest.raises(UsageError, match="cannot stream"):
        generator.stream("abc", Sampling(beams=2))
    with torch.no_grad():
        generator.model.embedding.tokens.weight[3] = float("nan")
    with pytest.raises(NonFiniteError):
        generator.generate("abc")


@pytest.mark.parametrize("stop", [(), ("e",), ("\u00e9", "  ")])
def test_b1_a_stream_of_bytes_shows_whole_characters_only(stop: tuple[str, ...]) -> None:
    texts = ["\u4e2d\u6587\u3002 \u00e9t\u00e9 \U0001f600 tree"] * 5
    made = train_tokenizer(texts, kind="byte_bpe", vocab_size=300, num_sentinels=3)
    generator = Generator(build("decoder_rotary_whole", dtype=torch.float32, vocab_size=made.vocab_size), made, ends=())
    for seed in range(5):
        sampling = Sampling(max_tokens=60, seed=seed, temperature=2.0, stop=stop)
        pieces = list(generator.stream("\u4e2d \u00e9", sampling))
        (whole,) = generator.generate("\u4e2d \u00e9", sampling)
        assert "".join(pieces) == whole.text
        assert not any(one in whole.text for one in stop)


def test_b1_characters_of_many_tokens_arrive_in_one_piece() -> None:
    text = "\u4e2d\u6587 \U0001f600 \u00e9"
    tokenizer = train_tokenizer(["plain text"], kind="byte_bpe", vocab_size=300, num_sentinels=3)
    growing = Growing(tokenizer.stream(), (), ("\u00e9",), limit=99)
    ids = tokenizer.encode(text).ids.tolist()
    assert len(ids) > len(text) + 6
    pieces = [growing.push(token, 0.0) for token in ids]
    assert "".join(pieces) == text[:-1]
    assert "\ufffd" not in "".join(pieces)
    assert growing.finish_reason == "stop"


def test_the_space_between_prompt_and_continuation_is_kept() -> None:
    tokenizer = train_tokenizer(["one two three two one"] * 9, kind="unigram", vocab_size=40, num_sentinels=3)
    generator = Generator(build("decoder_pre_learned", dtype=torch.float32, vocab_size=64), tokenizer, ends=())
    for seed in range(8):
        made = generator.generate("one two", Sampling(seed=seed, max_tokens=12))[0]
        whole = tokenizer.decode([*tokenizer.encode("one two").ids.tolist(), *made.ids])
        assert "one two" + made.text == whole


@pytest.mark.parametrize("preset", ["gpt2", "t5"])
def test_a_saved_model_writes_the_same_text(preset: str, tokenizer: Tokenizer, tmp_path: Path) -> None:
    model = Pretrained.from_preset(preset, size="tiny", vocab_size=VOCAB, d_model=16, num_heads=2).eval()
    model.save_pretrained(tmp_path, tokenizer=tokenizer)
    loaded, sampling = Generator.from_pretrained(tmp_path), Sampling(max_tokens=20, seed=4)
    assert loaded.ends == {tokenizer.special.eos}
    assert loaded.generate(PROMPTS, sampling) == Generator(model, tokenizer).generate(PROMPTS, sampling)
    lean = Generator.from_pretrained(tmp_path, dtype=torch.bfloat16)
    assert lean.model.embedding.tokens.weight.dtype == torch.bfloat16
    assert len(lean.generate(PROMPTS, sampling)) == len(PROMPTS)


def test_a_folder_without_a_decoder_is_refused(tokenizer: Tokenizer, tmp_path: Path) -> None:
    Pretrained.from_preset("bert", size="tiny", vocab_size=VOCAB).save_pretrained(tmp_path, tokenizer=tokenizer)
    with pytest.raises(UsageError, match="only an encoder"):
        Generator.from_pretrained(tmp_path)


def test_as_many_prompts_at_once_as_their_keys_and_values_have_room(tokenizer: Tokenizer, monkeypatch) -> None:
    shape = {"num_layers": 3, "d_model": 64, "num_heads": 4}
    model = Pretrained.from_preset("gpt2", size="tiny", vocab_size=tokenizer.vocab_size, **shape)
    generator, token = Generator(model, tokenizer), 3 * 2 * 64 * 4  # bytes
    monkeypatch.setattr(generator_module, "ROOM", 100 * token)
    assert [generator._at_once(rows) for rows in ([25] * 9, [10, 20, 50, 60], [101], [1] * 90)] == [4, 2, 1, 90]
    sizes, batch = [], Generator._batch

    def counted(self: Generator, rows: list, *rest: object) -> list:
        sizes.append(len(rows))
        return batch(self, rows, *rest)

    monkeypatch.setattr(Generator, "_batch", counted)
    generator.generate([[1] * 5] * 7, Sampling(max_tokens=45, seed=1))
    generator.generate([[1] * 5] * 7, Sampling(max_tokens=45, seed=1), batch_size=3)
    monkeypatch.setattr(generator_module, "ROOM", 2**31)
    generator.generate([[1]] * 300, Sampling(max_tokens=1))
    assert sizes == [2, 2, 2, 1, 3, 3, 1, 128, 128, 44]


@pytest.mark.parametrize("preset", ["gpt2", "llama", "vaswani"])
def test_a_prompt_beyond_the_context_is_refused_or_cut_by_rule_in_every_family(
    preset: str, tokenizer: Tokenizer
) -> None:
    model = Pretrained.from_preset(preset, size="tiny", vocab_size=tokenizer.vocab_size, max_length=32)
    generator, special = Generator(model, tokenizer, ends=()), tokenizer.special
    prompt, asked = "abcdefghij" * 9, Sampling(temperature=0.0, max_tokens=8)
    with pytest.raises(UsageError, match=r'context is 32.*truncate="left"'):
        generator.generate(prompt, asked)
    ids, alone = tokenizer.encode(prompt).ids.tolist(), preset != "vaswani"
    room = 24 if alone else 31  # the last of 8 new tokens needs no place; an encoder keeps its end token
    for side, kept in (("left", ids[-room:]), ("right", ids[:room])):
        (made,) = generator.generate(prompt, Sampling(temperature=0.0, max_tokens=8, truncate=side))
        read = [special.bos, *kept] if alone else [*kept, special.eos]
        (wanted,) = generator.generate([read], asked)
        assert (made.ids, made.prompt_cut) == (wanted.ids, 90 - room)
    assert generator.generate("abc", Sampling(temperature=0.0, max_tokens=8, truncate="left"))[0].prompt_cut == 0


def test_special_tokens_typed_in_a_prompt_are_text_unless_asked_for(tokenizer: Tokenizer) -> None:
    generator = _unending("decoder_pre_learned", tokenizer)
    assert generator.encode("a</s>b", 1) != generator.encode("a</s>b", 1, special=True)
    assert tokenizer.special.eos not in generator.encode("a</s>b", 1)
    assert tokenizer.special.eos in generator.encode("a</s>b", 1, special=True)
    plain, read = (generator.generate("a</s>b", GREEDY, special=special)[0].ids for special in (False, True))
    assert "".join(generator.stream("a</s>b", GREEDY, special=True)) == tokenizer.decode(read)
    assert "".join(generator.stream("a</s>b", GREEDY)) == tokenizer.decode(plain)


@pytest.mark.parametrize("options", [{"temperature": 0.0}, {"seed": 3}, {"beams": 3}])
def test_no_run_of_tokens_occurs_twice(tokenizer: Tokenizer, options: dict) -> None:
    generator = _unending("decoder_pre_learned", tokenizer)
    (made,) = generator.generate("abab", Sampling(max_tokens=40, no_repeat_ngram=2, **options))
    ids = [*tokenizer.encode("abab").ids.tolist()[2:], *made.ids]  # the prompt's own pair stands twice
    pairs = list(pairwise(ids))
    assert len(set(pairs)) == len(pairs)


def test_a_rule_that_leaves_nothing_to_say_ends_in_no_failure(tokenizer: Tokenizer) -> None:
    generator = _unending("decoder_pre_learned", tokenizer)
    for options in ({"temperature": 0.0}, {"beams": 2}):
        (made,) = generator.generate("ab", Sampling(max_tokens=60, no_repeat_ngram=1, **options))
        assert len(made.ids) == 60

"""Generation beside transformers' on the same tiny random models."""

from pathlib import Path

import pytest
import torch
from transformers import (
    AutoModelForCausalLM,
    AutoModelForSeq2SeqLM,
    AutoTokenizer,
    BartConfig,
    GenerationConfig,
    GPT2Config,
    LlamaConfig,
    LogitsProcessorList,
    MarianConfig,
    MBartConfig,
    MinPLogitsWarper,
    MT5Config,
    PreTrainedModel,
    RepetitionPenaltyLogitsProcessor,
    T5Config,
    TemperatureLogitsWarper,
    TopKLogitsWarper,
    TopPLogitsWarper,
    UMT5Config,
)

from tests.parity.families import make_oracle
from trifold.generation import Generator, Sampling
from trifold.generation.decoding import Decoding
from trifold.generation.sampling import Sampler, penalize
from trifold.generation.search import search
from trifold.presets.pretrained import Transformer
from trifold.tasks import Record, load
from trifold.text import train_tokenizer
from trifold.text.framing import Framing


@pytest.mark.parametrize(
    "sampling",
    [
        Sampling(temperature=0.6),
        Sampling(top_k=7),
        Sampling(top_p=0.85),
        Sampling(min_p=0.05),
        Sampling(repetition_penalty=1.5),
        Sampling(temperature=1.5, top_k=40, top_p=0.95, min_p=0.03, repetition_penalty=1.1),
    ],
)
def test_g7_filters_equal_those_of_transformers(sampling: Sampling) -> None:
    generator = torch.Generator().manual_seed(0)
    logits, ids = 4 * torch.randn(64, 500, generator=generator), torch.randint(500, (64, 30), generator=generator)
    theirs = LogitsProcessorList([RepetitionPenaltyLogitsProcessor(sampling.repetition_penalty)])
    theirs += [TemperatureLogitsWarper(sampling.temperature), TopKLogitsWarper(sampling.top_k or 500)]
    theirs += [TopPLogitsWarper(sampling.top_p), MinPLogitsWarper(sampling.min_p)]
    sampler = Sampler(sampling, ids.tolist(), [0] * 64, vocab_size=500)
    ours = logits if sampler.seen is None else penalize(logits, sampler.seen, sampling.repetition_penalty)
    made = sampler._filter(ours).softmax(-1)
    torch.testing.assert_close(made, theirs(ids, logits.clone()).softmax(-1), rtol=1e-5, atol=1e-7)


SPECIAL = {"bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 0}


def _theirs(kind: str) -> PreTrainedModel:
    """A tiny random model of transformers, every weight noisy."""
    torch.manual_seed(1)
    match kind:
        case "gpt2":
            shape = GPT2Config(vocab_size=50, n_embd=32, n_layer=2, n_head=4, n_positions=64, **SPECIAL)
        case "llama":
            shape = LlamaConfig(
                vocab_size=50,
                hidden_size=32,
                num_hidden_layers=2,
                num_attention_heads=4,
                num_key_value_heads=2,
                intermediate_size=48,
                **SPECIAL,
            )
        case "marian" | "bart" | "mbart":
            shape = {"bart": BartConfig, "mbart": MBartConfig}.get(kind, MarianConfig)(
                vocab_size=50,
                d_model=32,
                encoder_layers=2,
                decoder_layers=2,
                encoder_attention_heads=4,
                decoder_attention_heads=4,
                encoder_ffn_dim=48,
                decoder_ffn_dim=48,
                max_position_embeddings=64,
                decoder_start_token_id=0,
                scale_embedding=True,
                activation_function="relu",
                forced_eos_token_id=None,
                **SPECIAL,
            )
        case "qwen3" | "gemma3_text":
            return make_oracle(kind)
        case _:
            shape = {"mt5": MT5Config, "umt5": UMT5Config}.get(kind, T5Config)(
                vocab_size=50,
                d_model=32,
                d_kv=8,
                d_ff=48,
                num_layers=2,
                num_heads=4,
                decoder_start_token_id=0,
                **SPECIAL,
            )
    families = (AutoModelForCausalLM, AutoModelForSeq2SeqLM)
    model = families[kind not in ("gpt2", "llama")].from_config(shape).eval()
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if "embed_positions" not in name:
                weight.add_(torch.randn_like(weight), alpha=0.15)
    return model


@pytest.mark.parametrize("kind", ["bart", "mbart"])
def test_what_a_folder_forces_first_and_last_stands_there(tmp_path: Path, kind: str) -> None:
    texts = ["the cat sat on a mat", "a dog", "on the mat sat a dog and a cat"]
    tokenizer = train_tokenizer(texts * 9, kind="character", vocab_size=50, num_sentinels=30)
    theirs, own = _theirs(kind), tokenizer.special
    ids = {"pad_token_id": own.pad, "eos_token_id": own.eos, "decoder_start_token_id": own.eos}
    theirs.config.update(ids)
    theirs.generation_config = GenerationConfig(**ids, num_beams=4, max_length=14, no_repeat_ngram_size=3,
                                                early_stopping=True, forced_bos_token_id=9, forced_eos_token_id=own.eos,
                                                length_penalty=0.0)  # fmt: skip
    theirs.save_pretrained(tmp_path)
    framed = tokenizer.framed(Framing(first=(own.bos,), last=(own.eos,), middle=(own.eos, own.eos)))
    framed.save_pretrained(tmp_path)
    auto = AutoTokenizer.from_pretrained(tmp_path)
    for text, one in zip(texts, Generator.from_pretrained(tmp_path).generate(texts), strict=True):
        with torch.no_grad():
            made = theirs.generate(**auto(text, return_tensors="pt"))[0].tolist()
        assert made[:2] == [own.eos, 9] and made[-1] == own.eos
        assert [9, *one.ids] == made[1 : 1 + len(one.ids) + 1] and one.text == tokenizer.decode(made[2:])


def test_a_folder_of_marians_translates_by_all_of_its_generation_settings(tmp_path: Path) -> None:
    texts = ["the cat sat on a mat", "a dog", "on the mat sat a dog and a cat"]
    tokenizer = train_tokenizer(texts * 9, kind="character", vocab_size=50, num_sentinels=30)
    assert tokenizer.vocab_size == 50
    theirs, own = _theirs("marian"), tokenizer.special
    ids = {"pad_token_id": own.pad, "eos_token_id": own.eos, "decoder_start_token_id": own.bos}
    theirs.config.update(ids)
    theirs.generation_config = GenerationConfig(
        **ids, num_beams=3, max_length=14, no_repeat_ngram_size=2, early_stopping=True, forced_bos_token_id=9,
        bad_words_ids=[[own.pad], [10]],
    )  # fmt: skip
    theirs.save_pretrained(tmp_path)
    tokenizer.framed(tokenizer.usual_framing(encoder=True, decoder=True)).save_pretrained(tmp_path)
    tuned, auto = load(tmp_path), AutoTokenizer.from_pretrained(tmp_path)
    ours = [one.answer for one in tuned.task.predict(tuned.model, [Record((text,)) for text in texts])]
    assert tuned.task.left_out(tuned.model) == ()
    tuned.model.generation |= {"repetition_penalty": 1.3, "diversity_penalty": 0.5}
    assert tuned.task.left_out(tuned.model) == ("diversity_penalty", "repetition_penalty")
    for text, answer in zip(texts, ours, strict=True):
        with torch.no_grad():
            made = theirs.generate(**auto(text, return_tensors="pt"))[0].tolist()
        assert made[:2] == [own.bos, 9] and 10 not in made
        assert answer == tokenizer.decode(made).strip()


@pytest.mark.parametrize(
    ("beams", "size", "early"), [(1, 0, False), (1, 2, False), (4, 0, False), (4, 2, True), (4, 0, True)]
)
@pytest.mark.parametrize(
    "kind", ["gpt2", "llama", "qwen3", "gemma3_text", "marian", "t5", "mt5", "umt5", "bart", "mbart"]
)
def test_g7_greedy_and_beam_search_give_the_ids_of_transformers(
    kind: str, beams: int, size: int, early: bool, tmp_path: Path
) -> None:
    theirs = _theirs(kind)
    theirs.save_pretrained(tmp_path)
    ours = Transformer.from_pretrained(tmp_path)
    prompts = [[5, 9, 11, 30], [7], [41, 3, 17, 22, 8, 46], [20, 21]]
    options = {"num_beams": beams, "do_sample": False, "max_new_tokens": 12, "length_penalty": 0.0,
               "no_repeat_ngram_size": size, **({"early_stopping": True} if early else {})}  # fmt: skip
    paired = ours.config.encoder is not None
    sides = ([[0]] * len(prompts), prompts) if paired else (prompts, None)
    found = search(Decoding(ours, *sides), beams=beams, limits=[12] * len(prompts), ends={2}, alpha=0.0,
                   no_repeat_ngram=size, early_stopping=early)  # fmt: skip
    for row, prompt in enumerate(prompts):
        with torch.no_grad():
            made = theirs.generate(torch.tensor([prompt]), return_dict_in_generate=True, output_scores=True, **options)
        new = made.sequences[0, 1 if paired else len(prompt) :].tolist()
        assert list(found[row][0].ids) == new
        if beams > 1:
            assert found[row][0].score == pytest.approx(made.sequences_scores.item(), abs=1e-4)

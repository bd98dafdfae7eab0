"""What a folder says about generation is done, or named."""

from pathlib import Path

import pytest

from trifold.checkpoint.hugging_face import read_generation, write_config
from trifold.generation import Generator, Sampling
from trifold.generation.rules import NEUTRAL, Rules, read_rules
from trifold.presets.pretrained import Transformer
from trifold.text import train_tokenizer


def test_values_become_defaults_and_options_go_before_them() -> None:
    found = read_rules(
        {"do_sample": True, "temperature": 0.6, "top_p": 0.9, "max_new_tokens": 7, "eos_token_id": [2, 5]}
    )
    assert found.sampling == {"temperature": 0.6, "top_p": 0.9, "max_tokens": 7} and found.ends == (2, 5)
    assert found.sampling_with({"temperature": 0.0})["temperature"] == 0.0
    assert found.sampling_with({"beams": 3}) == {"max_tokens": 7, "beams": 3}
    beams = read_rules({"num_beams": 4, "temperature": 1.0})
    for early in (True, False):
        asked = read_rules({"num_beams": 4, "early_stopping": early})
        assert Sampling(**asked.sampling_with({})).early_stopping is early and not asked.left_out
        assert "early_stopping" not in asked.sampling_with({"beams": 1})
    assert read_rules({"num_beams": 4, "early_stopping": "never"}).left_out == ("early_stopping",)
    assert Sampling(**beams.sampling_with({})).beams == 4 and beams.sampling["length_penalty"] == 1.0
    assert Sampling(**beams.sampling_with({"top_k": 5})).beams == 1
    assert read_rules({"do_sample": False, "temperature": 0.7}).sampling == {"temperature": 0.0}


@pytest.mark.parametrize("name", NEUTRAL)
def test_what_nobody_does_is_named(name: str) -> None:
    assert read_rules({name: [[1, 2]]}).left_out == (name,)
    assert read_rules(dict.fromkeys([name])).left_out == ()


def test_tokens_are_suppressed_and_ends_end(tmp_path: Path) -> None:
    tokenizer = train_tokenizer(["to be or not to be"], kind="character", vocab_size=32, num_sentinels=2)
    model = Transformer.from_preset("gpt2", size="tiny", vocab_size=tokenizer.vocab_size)
    greedy = Sampling(temperature=0.0, max_tokens=4)
    first = Generator(model, tokenizer, ends=()).generate("to", greedy)[0].ids[0]
    (tmp_path / "a").mkdir()
    for rules, wanted in (({"eos_token_id": [first, 3]}, (first,)), ({"bad_words_ids": [[first]]}, None)):
        model.generation = rules
        model.save_pretrained(tmp_path / "a", tokenizer=tokenizer)
        made = Generator.from_pretrained(tmp_path / "a").generate("to", greedy)[0].ids
        assert made == wanted if wanted else first not in made


def test_older_folders_have_it_in_their_configuration(tmp_path: Path) -> None:
    old = {"num_beams": 4, "bad_words_ids": [[9]], "max_length": 50, "forced_eos_token_id": 0, "d_model": 8}
    found = read_rules(read_generation(tmp_path, old))
    assert (found.sampling["beams"], found.suppressed, found.longest) == (4, (9,), 49)
    write_config(tmp_path, {"num_beams": 2}, "generation_config.json")
    assert read_generation(tmp_path, old) == {"num_beams": 2}
    assert read_rules({}) == Rules()

"""Conversations as token ids: those of transformers, with every answer found, and with the question kept."""

from pathlib import Path

import pytest

from trifold.errors import ModelFileError
from trifold.tasks.chat_format import ChatFormat
from trifold.tasks.chat_template import SPELLED
from trifold.tasks.conversation import Turn
from trifold.text import train_tokenizer
from trifold.text.template import NAMED

FOLDER = Path(__file__).parents[1] / "text" / "chat_templates"
TEMPLATES = NAMED | {path.stem: path.read_text(encoding="utf-8") for path in sorted(FOLDER.glob("*.jinja"))}
HIDDEN = {"filters"}
"""Of these nobody can say where the answer is."""
TURNS = [Turn("system", "Be  short"), Turn("user", "What\nis it?"), Turn("assistant", "it is pink"), Turn("user", " 颜色 "),
         Turn("assistant", " 粉色!\n")]  # fmt: skip


def prepare(source):
    tokenizer = train_tokenizer(["what colour is it? pink 颜色 粉色"] * 9, kind="byte_bpe", vocab_size=400)
    tokenizer.add_special(list(dict.fromkeys(SPELLED.findall(source))))
    tokenizer.chat_template = source
    return tokenizer


@pytest.mark.parametrize("name", sorted(TEMPLATES.keys() - HIDDEN))
def test_ids_are_those_of_transformers_and_answers_are_found_with_their_ends(tmp_path, name):
    from transformers import AutoTokenizer

    tokenizer = prepare(TEMPLATES[name])
    tokenizer.save_pretrained(tmp_path)
    theirs, form = AutoTokenizer.from_pretrained(tmp_path), ChatFormat(tokenizer)
    messages = [turn.message() for turn in TURNS]
    (laid,) = form.lay([TURNS])
    wanted = theirs.apply_chat_template(messages, return_dict=True)["input_ids"]
    assert laid.ids[: len(wanted)].tolist() == wanted
    assert laid.ids[len(wanted) :].tolist() in ([], [tokenizer.special.eos])  # where the template ends no answer
    asked = theirs.apply_chat_template(messages[:-1], add_generation_prompt=True, return_dict=True)["input_ids"]
    assert form.prompt(TURNS[:-1]) == asked
    first, second = (tokenizer.decode(laid.ids[laid.answers == number]) for number in range(2))
    assert first.strip() == "it is pink" and second.replace("<think>\n\n</think>", "").strip() == "粉色!"
    assert int(laid.ids[laid.answers == 1][-1]) in form.ends


@pytest.mark.parametrize("name", sorted(HIDDEN))
def test_a_template_that_hides_its_answers_is_refused_with_what_helps(name):
    with pytest.raises(ModelFileError, match="generation"):
        ChatFormat(prepare(TEMPLATES[name])).lay([TURNS])


@pytest.mark.parametrize("name", ["default", "chatml", "headers", "sys_in_first_turn"])
def test_what_is_said_can_never_be_a_special_token(name):
    tokenizer = prepare(TEMPLATES[name])
    form = ChatFormat(tokenizer)
    spelled = " ".join(token.content for token in tokenizer.backend.get_added_tokens_decoder().values())
    plain, (laid,) = form.prompt([Turn("user", "x")]), form.lay([[Turn("user", spelled), Turn("assistant", spelled)]])
    special = set(tokenizer.backend.get_added_tokens_decoder())
    asked = form.prompt([Turn("user", spelled)])
    assert [one for one in asked if one in special] == [one for one in plain if one in special]
    assert tokenizer.decode(asked, skip_special=False).count(spelled) == 1
    assert sum(int(one) in special for one in laid.ids[laid.answers == 0]) <= 1  # its end


@pytest.mark.parametrize("room", [200, 90, 60, 40])
def test_what_is_too_long_loses_its_oldest_turns_then_its_middle_and_never_the_question(room):
    form = ChatFormat(prepare(NAMED["default"]))
    text = "Read this. " + "filler of a report. " * 60 + "QUESTION: what colour?"
    old = [Turn("user", "old question"), Turn("assistant", "old answer")]
    turns = [Turn("system", "Be short"), *old, Turn("user", text)]
    kept, cut = form.shorten(turns, room)
    assert cut and len(form.prompt(kept)) <= room
    assert [turn.role for turn in kept] == ["system", "user"]
    assert kept[0].content == "Be short" and kept[1].content.endswith("what colour?")
    assert kept[1].content.startswith("Read") and " ... " in kept[1].content
    assert form.tokenizer.decode(form.prompt(kept)).endswith("###\n")


def test_the_input_is_shortened_before_the_instruction():
    form = ChatFormat(prepare(NAMED["default"]))
    asked, given = "What colour is it, in the end?", "filler " * 100
    turn = Turn("user", f"{asked}\n{given}", (len(asked) + 1, len(asked) + 1 + len(given)))
    ((kept,), cut) = form.shorten([turn], 60)
    assert cut and kept.content.startswith(asked) and len(form.prompt([kept])) <= 60


def test_what_fits_is_left_as_it_is():
    form = ChatFormat(prepare(NAMED["default"]))
    assert form.shorten(TURNS[:-1], 500) == (TURNS[:-1], False)

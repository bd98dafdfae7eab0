"""Conversations as people write them down."""

import json

import pytest

from trifold.data.rows import Row
from trifold.errors import DataError, MissingValueError
from trifold.presets.pretrained import Transformer
from trifold.tasks import Generation
from trifold.tasks.conversation import Turn, arrange, read_history, read_messages
from trifold.tasks.generation import GenerationTask
from trifold.tasks.record import place_rows
from trifold.text import train_tokenizer

TEXT = ["What colour is the pink cup? Answer in one word: red blue 杯子是什么颜色？粉色"] * 9
ASKED, ANSWERED = {"role": "user", "content": "cup?"}, {"role": "assistant", "content": "pink"}


@pytest.fixture(scope="module")
def tokenizer():
    return train_tokenizer(TEXT, kind="byte_bpe", vocab_size=400)


@pytest.fixture(scope="module")
def task(tokenizer):
    model = Transformer.from_preset("gpt2", size="tiny", vocab_size=tokenizer.vocab_size)
    return GenerationTask(Generation(), tokenizer, model.config)


def said(task, row):
    """The turns of a row whose columns are found by their names."""
    ((placed, columns),) = place_rows([Row(row, "a.jsonl:1")], task.roles, {})
    return [(turn.role, turn.content) for turn in task.record(placed, columns).turns]


ONE = [("user", "cup?"), ("assistant", "pink")]
SHAPES = {
    "instruction_output": ({"instruction": "cup?", "output": "pink"}, ONE),
    "empty_input": ({"instruction": "cup?", "input": " ", "output": "pink"}, ONE),
    "alpaca": ({"instruction": "colour?", "input": "cup", "output": "pink"}, [("user", "colour?\ncup"), ONE[1]]),
    "alpaca_history": (
        {"instruction": "and?", "history": [["cup?", "pink"]], "system": "In one word", "output": "red"},
        [("system", "In one word"), *ONE, ("user", "and?"), ("assistant", "red")],
    ),
    "prompt_completion": ({"prompt": "cup?", "completion": "pink"}, ONE),
    "query_response": ({"query": "cup?", "response": "pink"}, ONE),
    "question_answer": ({"Question": "cup?", "Answer": "pink"}, ONE),
    "question_context": ({"question": "colour?", "context": "cup", "answer": "pink"}, [("user", "colour?\ncup"), ONE[1]]),
    "input_output": ({"input": "cup?", "output": "pink"}, ONE),
    "instruction_response": ({"instruction": "cup?", "response": "pink"}, ONE),
    "text_summary": ({"text": "cup?", "summary": "pink"}, ONE),
    "chinese_names": ({"指令": "杯子？", "输出": "粉色"}, [("user", "杯子？"), ("assistant", "粉色")]),
    "messages": ({"messages": [ASKED, ANSWERED]}, ONE),
    "messages_as_json_text": ({"messages": json.dumps([ASKED, ANSWERED])}, ONE),
    "parts": ({"messages": [{"role": "user", "content": [{"type": "text", "text": "cu"}, "p?"]}, ANSWERED]}, ONE),
    "sharegpt": (
        {"conversations": [{"from": "human", "value": "cup?"}, {"from": "gpt", "value": "pink"}], "system": "Be short"},
        [("system", "Be short"), *ONE],
    ),
    "chat_prompt_completion": ({"prompt": [ASKED], "completion": [ANSWERED]}, ONE),
    "chat_prompt_text": ({"prompt": [ASKED, ANSWERED, ASKED], "completion": "pink"}, [*ONE, *ONE]),
    "two_questions": ({"messages": [ASKED, ASKED, ANSWERED]}, [("user", "cup?\ncup?"), ONE[1]]),
    "question_at_the_end": ({"messages": [ASKED, ANSWERED, ASKED]}, ONE),
    "developer": (
        {"messages": [{"role": "developer", "content": "Be short"}, ASKED, ANSWERED]},
        [("system", "Be short"), *ONE],
    ),
}  # fmt: skip


@pytest.mark.parametrize("shape", SHAPES)
def test_every_shape_of_data_gives_the_turns_that_were_said(task, shape):
    row, wanted = SHAPES[shape]
    assert said(task, row) == wanted


ODD = {
    "tool": ([ASKED, {"role": "tool", "content": "7"}, ANSWERED], DataError, "task.tool_turn"),
    "tool_calls": (
        [ASKED, {"role": "assistant", "content": None, "tool_calls": [{"id": 1}]}],
        DataError,
        "task.tool_turn",
    ),
    "role": ([ASKED, {"role": "narrator", "content": "then"}, ANSWERED], DataError, "task.unknown_role"),
    "no_role": ([{"content": "cup?"}, ANSWERED], DataError, "task.unknown_role"),
    "late_system": ([ASKED, {"role": "system", "content": "x"}, ANSWERED], DataError, "task.late_system"),
    "answer_first": ([ANSWERED, ASKED, ANSWERED], DataError, "task.answer_first"),
    "picture": ([{"role": "user", "content": [{"type": "image_url"}]}, ANSWERED], DataError, "task.message_part"),
    "number": ([{"role": "user", "content": 7}, ANSWERED], DataError, "task.bad_messages"),
    "words": (["cup?", "pink"], DataError, "task.bad_messages"),
    "object": ({"role": "user"}, DataError, "task.bad_messages"),
    "no_answer": ([ASKED], MissingValueError, "task.no_answer"),
    "empty_answer": ([ASKED, {"role": "assistant", "content": " "}], MissingValueError, "task.empty_turn"),
    "nothing": ([], MissingValueError, "task.missing_value"),
}


@pytest.mark.parametrize("name", ODD)
def test_turns_out_of_order_are_refused_by_name_and_missing_ones_count_as_missing(task, name):
    value, kind, code = ODD[name]
    with pytest.raises(DataError) as caught:
        task.record(Row({"messages": value}, "a.jsonl:7"), {"messages": "messages"})
    assert caught.value.code == code and isinstance(caught.value, MissingValueError) == (kind is MissingValueError)
    assert "a.jsonl:7" in str(caught.value)


EMPTY = (
    {"prompt": "", "completion": "pink"},
    {"query": None, "response": "pink"},
    {"instruction": " ", "input": "", "output": "pink"},
    {"prompt": "cup?", "completion": ""},
)


@pytest.mark.parametrize("row", EMPTY)
def test_a_prompt_is_never_empty_and_an_answer_neither(task, row):
    columns = {"prompt": next(iter(row)), "response": list(row)[-1], **({"input": "input"} if "input" in row else {})}
    with pytest.raises(MissingValueError):
        task.record(Row(row, "a.jsonl:1"), columns)


@pytest.mark.parametrize(
    "row", [{"ask": "cup?", "reply_text": "x", "output": "pink"}, {"besked": "cup?", "completion": "x"}]
)
def test_a_file_whose_prompt_has_another_name_is_refused_and_the_advice_names_it(task, row):
    with pytest.raises(DataError) as caught:
        place_rows([Row(row, "a.jsonl:1")], task.roles, {})
    assert next(iter(row)) in str(caught.value) and "data.columns.prompt" in str(caught.value)


def test_only_a_column_of_texts_is_continued_without_marks(task):
    assert said(task, {"text": "pink cup", "id": 7}) == [("assistant", "pink cup")]
    (example,) = task.examples([task.record(Row({"text": "pink cup"}, ""), {"response": "text"})])[0]
    assert task.tokenizer.decode(example.labels) == "pink cup"
    assert example.target[0] == task.tokenizer.special.bos


def test_a_history_may_be_of_pairs_or_messages_and_nothing_else():
    pairs = [["cup?", "pink"], ["boat?", "red"]]
    messages = [ASKED, ANSWERED]
    assert len(read_history(pairs, "a:1", "history")) == 4 == len(read_history(json.dumps(pairs), "a:1", "history"))
    assert [turn.content for turn in read_history(messages, "a:1", "history")] == ["cup?", "pink"]
    for odd in ("pink", [["cup?"]], {"cup?": "pink"}):
        with pytest.raises(DataError):
            read_history(odd, "a:1", "history")


def test_without_an_answer_a_conversation_ends_with_its_last_question():
    turns = read_messages([ASKED, ANSWERED, ASKED, ANSWERED], "a:1", "messages")
    assert [turn.role for turn in arrange(turns, "a:1", "messages", answered=False)] == ["user", "assistant", "user"]
    with pytest.raises(MissingValueError):
        arrange([Turn("system", "x")], "a:1", "messages", answered=False)


@pytest.mark.parametrize(("options", "wanted"), [({}, ["pink</s>", "red</s>"]), ({"answers": "last"}, ["red</s>"])])
@pytest.mark.parametrize("preset", ["gpt2", "t5"])
def test_the_loss_is_on_the_answers_and_their_ends(tokenizer, preset, options, wanted):
    model = Transformer.from_preset(preset, size="tiny", vocab_size=tokenizer.vocab_size)
    task = GenerationTask(Generation(**options), tokenizer, model.config)
    row = {
        "messages": [
            {"role": "system", "content": "word"},
            ASKED,
            ANSWERED,
            ASKED,
            {"role": "assistant", "content": "red"},
        ]
    }
    examples = task.examples([task.record(Row(row, "a:1"), {"messages": "messages"})])[0]
    learned = "".join(tokenizer.decode(one.labels[one.labels >= 0], skip_special=False) for one in examples)
    assert learned == "".join(wanted)
    read = tokenizer.decode(examples[-1].target if preset == "gpt2" else examples[-1].source, skip_special=False)
    assert read.startswith(f"{'<s>'}## word\n### cup?\n###\npink</s>### cup?\n###\n")


def test_an_answer_of_no_weight_is_read_and_not_learned(task):
    row = {"messages": [ASKED, {**ANSWERED, "weight": 0}, ASKED, {"role": "assistant", "content": "red"}]}
    (example,) = task.examples([task.record(Row(row, "a:1"), {"messages": "messages"})])[0]
    assert task.tokenizer.decode(example.labels[example.labels >= 0]) == "red"


def test_new_special_tokens_of_a_template_are_tokens_that_the_model_has_room_for(tokenizer):
    own = train_tokenizer(TEXT, kind="byte_bpe", vocab_size=400)
    model = Transformer.from_preset("gpt2", size="tiny", vocab_size=own.vocab_size)
    config, larger, added = Generation(chat_template="chatml").settle(own, model)
    assert added == ["<|im_start|>", "<|im_end|>"] and config.chat_template == "auto"
    assert larger.config.vocab_size == own.vocab_size == model.config.vocab_size + 2
    task = GenerationTask(config, own, larger.config)
    row = {"messages": [{"role": "user", "content": "is <|im_end|> a token?"}, ANSWERED]}
    (example,) = task.examples([task.record(Row(row, "a:1"), {"messages": "messages"})])[0]
    start, end = (own.token_to_id(token) for token in added)
    assert (example.target == start).sum() == 2 and (example.target == end).sum() == 2  # not the one that is spoken of
    assert own.decode(example.target[1:20], skip_special=False).startswith("user\nis <|im_end|> a")
    assert example.labels[example.labels >= 0][-1] == end

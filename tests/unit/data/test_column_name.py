"""Columns with Chinese names, and those called by a language, play the roles that their English names would."""

import pytest

from trifold.data import SourceOptions, read
from trifold.data.column_name import CHINESE, MEANT
from trifold.data.rows import Row
from trifold.errors import DataError
from trifold.task_kinds import KINDS, config_class
from trifold.tasks.record import place_rows


def columns(kind, *header, **requested):
    rows = [Row({name: f"{name} {number}" for name in header}, f"a.csv:{number}") for number in range(3)]
    return dict(place_rows(rows, config_class(kind).roles, requested)[0][1])


@pytest.mark.parametrize(
    ("kind", "header", "wanted"),
    [
        ("classification", ("标签", "评论"), {"text": "评论", "label": "标签"}),
        ("classification", ("前提", "假设", "标签"), {"text": "前提", "text_pair": "假设", "label": "标签"}),
        ("regression", ("句子1", "句子2", "相似度"), {"text": "句子1", "text_pair": "句子2", "score": "相似度"}),
        ("tagging", ("词语", "标注"), {"tokens": "词语", "tags": "标注"}),
        ("span_qa", ("问题", "上下文", "答案"), {"question": "问题", "context": "上下文", "answers": "答案"}),
        ("span_qa", ("段落", "问题", "答案"), {"question": "问题", "context": "段落", "answers": "答案"}),
        ("translation", ("原文", "译文"), {"source": "原文", "target": "译文"}),
        ("generation", ("指令", "输入", "输出"), {"prompt": "指令", "input": "输入", "response": "输出"}),
        ("generation", ("问题", "回答"), {"prompt": "问题", "response": "回答"}),
        ("embedding", ("查询", "段落"), {"query": "查询", "positive": "段落"}),
        ("multiple_choice", ("题目", "A", "B", "答案"), {"question": "题目", "choices": "A+B", "label": "答案"}),
    ],
)
def test_chinese_names_play_the_roles_of_every_task(kind, header, wanted):
    assert columns(kind, *header) == wanted


def test_every_task_knows_chinese_names_for_all_that_it_needs():
    for kind in KINDS:
        for role in config_class(kind).roles:
            assert not role.needed or {CHINESE[name] for name in CHINESE} & set(role.names), (kind, role.name)


@pytest.mark.parametrize(
    ("header", "wanted"),
    [
        (("中文", "英文"), ("中文", "英文")),
        (("en", "zh", "ids"), ("en", "zh")),
        (("English", "Chinese"), ("English", "Chinese")),
        (("德语", "note", "英语"), ("德语", "英语")),
    ],
)
def test_two_languages_are_source_and_target_in_the_order_of_the_file(header, wanted):
    assert columns("translation", *header) == dict(zip(("source", "target"), wanted, strict=True))


def test_who_names_one_language_gets_the_other():
    assert columns("translation", "中文", "英文", source="英文") == {"source": "英文", "target": "中文"}
    assert columns("translation", "中文", "英文", target="中文") == {"source": "英文", "target": "中文"}


def test_of_three_languages_nobody_knows_which():
    with pytest.raises(DataError, match=r"en, de, fr.*data\.columns\.source"):
        columns("translation", "en", "de", "fr")


def test_messages_name_what_columns_are_called_in_the_language_that_they_speak(monkeypatch):
    for tongue, named in (("zh", True), ("en", False)):
        monkeypatch.setenv("TRIFOLD_LANG", tongue)
        with pytest.raises(DataError) as refused:
            columns("classification", "甲", "乙")
        assert ("评论" in str(refused.value)) == named and "sentence" in str(refused.value)


def test_a_name_stands_for_one_thing():
    assert not CHINESE.keys() & (MEANT.keys() - CHINESE.keys())


@pytest.mark.parametrize("name", ["review", "评论", "文章"])
def test_reviews_are_text_to_pretrain_on(tmp_path, name):
    (tmp_path / "a.csv").write_text(f"标签,{name}\n1,很好\n", encoding="utf-8")
    assert [example.texts for example in read([str(tmp_path / "a.csv")], SourceOptions())] == [("很好",)]

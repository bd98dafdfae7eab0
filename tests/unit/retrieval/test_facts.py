"""A table of facts is part of a knowledge base, whatever its columns are called."""

import pytest

from trifold.retrieval import KnowledgeBase, answer_from_triples

COURSES = "课程,教师,教室\n线性代数,王老师,二教101\n概率论,李老师,\n"


@pytest.mark.parametrize(
    ("question", "answer"),
    [("线性代数的教师是谁？", "王老师"), ("线性代数在哪个教室上课？", "二教101"), ("概率论的教师是谁？", "李老师")],
)
def test_each_cell_is_a_fact_about_the_first_of_its_row(tmp_path, question, answer):
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "课程表.csv").write_text(COURSES, encoding="utf-8")
    base, report = KnowledgeBase.build([tmp_path / "a"], tmp_path / "kb")
    assert answer_from_triples(base, question)[0].object == answer
    assert report.skipped == [] and any("课程" in line and "教师, 教室" in line for line in report.told)
    assert any("1" in line for line in report.told), "the empty cell is counted"


def test_triples_and_texts_are_found_by_chinese_names(tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "triples.csv").write_text("实体,属性,值\n红楼梦,作者,曹雪芹\n", encoding="utf-8")
    (tmp_path / "a" / "texts.csv").write_text("标题,正文,编号\n河流,长江是中国最长的河流。,7\n", encoding="utf-8")
    base, report = KnowledgeBase.build([tmp_path / "a"], tmp_path / "kb")
    assert answer_from_triples(base, "红楼梦的作者是谁")[0].object == "曹雪芹"
    assert "长江" in base.search("最长的河流")[0].passage.text and report.skipped == []


def test_a_table_of_one_column_that_holds_no_text_is_left_out_and_named(tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "numbers.csv").write_text("size\n1\n2\n", encoding="utf-8")
    (tmp_path / "a" / "text.txt").write_text("The Nile is long.", encoding="utf-8")
    _, report = KnowledgeBase.build([tmp_path / "a"], tmp_path / "kb")
    assert "numbers.csv" in report.skipped[0]

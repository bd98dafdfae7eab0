"""What a translation leaves as it is: each kind is found whole, what is language is not, and no text takes long."""

import csv
import re
import time
from pathlib import Path

import pytest

from trifold.text.verbatim import find_verbatim, masked

SENTENCES = Path(__file__).parents[1] / "tasks" / "carried_sentences.tsv"


def strings(text: str) -> list[str]:
    return [text[start:end] for start, end in find_verbatim(text)]


@pytest.mark.parametrize(
    "string",
    [
        "7", "-5", "1,234.5", "1.234,5", "17:45", "2024-05-06", "1/2", "50%", ".5", "1e-5", "221B", "10.0.0.1", "1’234",
        "https://example.org/a?b=1&c=%20#d", "http://a.b/c_(d)", "www.example.org", "example.org/a", "ann.b+c@x-y.co.uk",
        "mailto:a@b.de", "@ann", "#42", "{name}", "{0:.2f}", "{}", "{{count}}", "${HOME}/bin", "$HOME", "%s", "%(name)d",
        "%1$s", "%.2f", "%%", r"\n", "<b>", "</a>", '<a href="x. Y">', "<extra_id_0>", "&nbsp;", "&#39;", "`git pull`",
        "/var/log/a.log", "./run", "~/a", r"C:\Temp\a.txt", "report.pdf", "src/a/b.py", "--dry-run", "snake_case",
        "camelCase", "main()", "a.b()", "GPT-4", "v2.1.0", "0x1F", "550e8400-e29b-41d4-a716-446655440000", "3f2a9b1c",
    ],
)  # fmt: skip
def test_a_string_is_found_whole_in_both_languages(string):
    for text in (f"See {string} now.", f"{string}, please", f"请看 {string}。谢谢", f"({string})!"):
        assert strings(text) == [string], text


@pytest.mark.parametrize(
    "text",
    [
        "A and/or B, he/she.",
        "End.Then we go.",
        "Well-known, isn't it?",
        "Mr. Li (the U.S. one)",
        "i.e. e.g.",
        "a & b < c",
        "三点半",
    ],
)
def test_language_is_left_to_the_model(text):
    assert strings(text) == []


def test_units_currencies_and_ordinals_stay_outside():
    assert strings("$5, 5th, 10km, 21st, 1990s, €3.50, 5 km, 第3章") == ["5", "5", "10", "21", "1990", "3.50", "5", "3"]


def test_each_sentence_of_the_test_set_has_its_strings():
    with SENTENCES.open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE))
    assert len(rows) == 120
    for row in rows:
        assert strings(row["sentence"]) == row["strings"].split(" ␟ ")


def test_a_masked_text_is_as_long_and_has_no_marks_inside_a_string():
    text = "See https://a.org/?b. And `a. b` at 3.5."
    assert masked(text) == "See 0000000000000000. And 000000 at 000."
    assert len(masked(text)) == len(text) and not re.search(r"\S\?", masked(text))


@pytest.mark.parametrize(
    "part", ["a", "(", "a.", "a_", "1,", "/a", "<a", "{", "%", "-", "a@", "`", "a-", "C:\\", "0f", "a/", "www."]
)
def test_time_grows_with_the_text_alone(part):
    short, long = (processor_time(part * size) for size in (4_000, 32_000))
    assert long < 40 * max(short, 0.01)  # eight times the text; 64 times, if it were squared


def processor_time(text: str) -> float:
    """Seconds of this process alone, the least of three: the machine has others to serve."""

    def once() -> float:
        started = time.process_time()
        find_verbatim(text)
        return time.process_time() - started

    return min(once() for _ in range(3))

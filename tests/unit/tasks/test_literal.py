"""Lists in writing are read as they were meant, and nothing that stands in a text is taken for the writing of a list."""

import pytest

from trifold.tasks.literal import listed, opened

CASES = {
    """['she said "no" "never"']""": ['she said "no" "never"'],
    """["it's 'a' 'b'"]""": ["it's 'a' 'b'"],
    """['it\\'s' "a" 'b']""": ["it's", "a", "b"],
    "['red'\n 'blue' 'green']": ["red", "blue", "green"],
    "['红' '蓝']": ["红", "蓝"],
    "{'text': array(['x' 'y'], dtype=object), 'answer_start': array([1, 2])}": {
        "text": ["x", "y"],
        "answer_start": [1, 2],
    },
    "['a\u2028' 'b\\n'\n 'c']": ["a\u2028", "b\n", "c"],
    "['see array([1]) there', 'b']": ["see array([1]) there", "b"],
    "[0. 1. 1.]": ["0", "1", "1"],
    "{1 2}": "{1 2}",
    "['a": "['a",
    "[a b]": "[a b]",
    "['''a]": "['''a]",
    "[" * 5000 + "]" * 5000: "[" * 5000 + "]" * 5000,
}


@pytest.mark.parametrize("text", CASES, ids=range(len(CASES)))
def test_a_list_in_writing_is_what_it_was(text):
    assert opened(text) == CASES[text]
    assert listed(text) == (text if text.startswith("{") else CASES[text])

"""The reference of the library is that of its docstrings, and `help(trifold)` says what is there."""

import inspect
import re

import pytest

import trifold
from scripts.api import PAGES, page


@pytest.mark.parametrize("language", PAGES)
def test_the_reference_has_every_name_with_its_document(language):
    text = page(language)
    for name in trifold.__all__:
        if name != "__version__":
            assert f"## {name}\n" in text or f"`trifold.{name}`" in text, name
            assert inspect.getdoc(getattr(trifold, name)), name
    assert "### Transformer.attention_weights" in text and "### KnowledgeBase.from_texts" in text


def test_help_is_a_table_of_contents_of_all_that_there_is():
    words = set(re.findall(r"\w+", trifold.__doc__))
    assert {name for name in trifold.__all__ if name not in words} <= {"__version__", "language_model_loss"}

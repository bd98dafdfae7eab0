import random

from hypothesis import given
from hypothesis import strategies as st

from trifold.generation.output import StopFilter

letters = st.text("ab", min_size=1, max_size=4)


@given(st.text("ab", max_size=30), st.lists(letters, max_size=3), st.integers(0, 99))
def test_stop_strings_cut_the_text_alike_however_it_arrives(text: str, stops: list[str], seed: int) -> None:
    ends = [end for end in range(len(text) + 1) if text[:end].endswith(tuple(stops))] if stops else []
    cut = min(ends[0] - len(stop) for stop in stops if text[: ends[0]].endswith(stop)) if ends else len(text)
    chance, filtered, shown, rest = random.Random(seed), StopFilter(stops), "", text
    while rest:
        size = chance.randint(1, 5)
        shown += filtered.push(rest[:size])
        assert text[:cut].startswith(shown)  # nothing shown is ever taken back, and no part of a stop string is shown
        rest = rest[size:]
    assert shown + filtered.finish() == text[:cut]
    assert filtered.stopped == bool(ends)


def test_text_after_a_stop_is_swallowed() -> None:
    filtered = StopFilter(["<|"])
    assert [filtered.push(piece) for piece in ("a<", "b<", "|c", "d")] == ["a", "<b", "", ""]
    assert (filtered.finish(), filtered.stopped) == ("", True)

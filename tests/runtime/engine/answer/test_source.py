"""Tests of engine.answer.source and json_scanner: text in pieces, and where things end in it."""

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from runtime.engine.answer.calls.json_scanner import JsonScanner
from runtime.engine.answer.source import Source, match, overlap


@pytest.mark.parametrize(
    ("mark", "text", "end"),
    [
        ("<a>", "<a>b", 3),
        ("<a>", "<a", None),
        ("<a>", "", None),
        ("<a>", "<b", -1),
        ("<a>\n<b>", "<a><b>", 6),
        ("<a>\n<b>", "<a> \n ", None),
        ("<a> <b>", "<a>\n\n<b>c", 8),
        ("<a><b>", "<a> <b>", -1),
        (" <a>\n", "<a>", 3),
    ],
)
def test_marks_are_as_exact_as_models_are(mark: str, text: str, end: int | None) -> None:
    """White space in them stands for any, or none."""
    assert match(mark, text) == end


def test_what_may_become_a_mark() -> None:
    assert [overlap(text, "<<a") for text in ("", "b<", "<<", "<<<", "<<a")] == [0, 1, 2, 2, 0]


def test_what_was_read_is_kept_on_request() -> None:
    source = Source()
    source.text = "abcd"
    source.take(1)
    source.keep()
    source.take(2)
    source.put_back("c")
    assert (source.text, source.kept(), source.kept()) == ("cd", "b", "")


_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(alphabet='a"\\{}[],: ', max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner),
    max_leaves=8,
)


@settings(max_examples=200, deadline=None, derandomize=True)
@given(_VALUES, st.sampled_from([",", "}", "]", " "]), st.integers(1, 4))
def test_a_value_ends_where_json_says(value: Any, behind: str, size: int) -> None:
    text = f" {json.dumps(value)}{behind}"
    scanner, taken = JsonScanner(), ""
    for start in range(0, len(text), size):
        if scanner.is_over:
            break
        piece = text[start : start + size]
        taken += piece[: scanner.feed(piece)]
    assert taken == text[:-1] and (scanner.is_over or not isinstance(value, dict | list | str))

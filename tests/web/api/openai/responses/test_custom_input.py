"""Tests of responses.custom_input: the text in a JSON object that comes in pieces."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from web.api.openai.responses.custom_input import CustomInput


@settings(deadline=None, derandomize=True)
@given(st.text(), st.lists(st.integers(1, 9), min_size=1), st.booleans())
def test_pieces_of_the_arguments_are_pieces_of_the_text(
    text: str, lengths: list[int], is_ascii: bool
) -> None:
    """Wherever it is cut; and no piece holds half of a character."""
    arguments = json.dumps({"input": text}, ensure_ascii=is_ascii)
    reader, told, place, number = CustomInput(), [], 0, 0
    while place < len(arguments):
        length = lengths[number % len(lengths)]
        told.append(reader.add(arguments[place : place + length]))
        place, number = place + length, number + 1
    assert "".join(told) == text == reader.whole(arguments) == CustomInput().whole(arguments)


@pytest.mark.parametrize(
    ("escaped", "text"),
    [
        ("\\ud83d\\ude42", "🙂"), ("\\ud800", "\ufffd"), ("a\\ud800b", "a\ufffdb"),
        ("\\udc00\\udc00", "\ufffd" * 2), ("\\ud83d\\u0041", "\ufffdA"), ("\\ud83d\\n", "\ufffd\n"),
        ("\\ud83d\\ud83d\\ude42", "\ufffd🙂"), ("\\uD83D\\uDE42", "🙂"),
    ],
)  # fmt: skip
def test_half_of_a_character_is_none(escaped: str, text: str) -> None:
    """What a model writes may hold one, and nothing can be sent with it."""
    arguments = '{"input": "' + escaped + '"}'
    for length in range(1, len(arguments) + 1):
        reader = CustomInput()
        pieces = [arguments[i : i + length] for i in range(0, len(arguments), length)]
        assert "".join(map(reader.add, pieces)) == text == reader.whole(arguments)


def test_blanks_and_what_stands_behind() -> None:
    reader = CustomInput()
    assert reader.add(' {\n "input" : "a') == "a"
    assert reader.add("\\") == ""
    assert reader.add('n"}') == "\n"
    assert reader.add(' "x": 1}') == ""


@pytest.mark.parametrize("arguments", ["", "plain", "{}", '{"input": 5}', '["input"]', '{"input'])
def test_what_is_no_such_object_is_told_as_it_is(arguments: str) -> None:
    reader = CustomInput()
    assert reader.add(arguments) == ""
    assert reader.whole(arguments) == arguments


def test_of_what_is_cut_the_beginning_is_told() -> None:
    reader = CustomInput()
    assert reader.add('{"input": "ab\\') == "ab"
    assert reader.whole('{"input": "ab\\') == "ab"

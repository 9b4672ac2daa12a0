"""Tests of engine.answer.reasoning: thoughts told apart from what is said, cut at every place."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from registry.checkpoint.call_syntax import Speech
from runtime.requests import AnswerFormat, Thinking

from .answers import HERMES, PARAMETERS, Answer, cuts, read

TAGS = Thinking("<think>", "</think>")
OPEN = Thinking("<think>", "</think>", is_open=True)
PARTS = AnswerFormat(Thinking("<|T|>", "<|/T|>"), Speech("<|S|>", "<|/S|>"))


@pytest.mark.parametrize(
    ("thinking", "text", "thought", "said"),
    [
        (TAGS, "<think>\nplan\n\nmore\n</think>\n\nanswer\n", "plan\n\nmore", "answer\n"),
        (TAGS, " \n<think>plan</think>answer", "plan", "answer"),
        (TAGS, "<think>\n\n</think>\n\nanswer", "", "answer"),
        (TAGS, "  no tags < here", "", "  no tags < here"),
        (TAGS, "see <think>tags</think>", "", "see <think>tags</think>"),
        (TAGS, "<think>a</think>b <think>c</think>", "a", "b <think>c</think>"),
        (TAGS, "</think>answer", "", "answer"),
        (TAGS, "<thi", "", "<thi"),
        (TAGS, "<think>cut </thi", "cut </thi", ""),
        (OPEN, "\nplan</think>\nanswer", "plan", "answer"),
        (OPEN, "plan without an end", "plan without an end", ""),
        (OPEN, "</think>answer", "", "answer"),
        (None, "<think>plan</think>", "", "<think>plan</think>"),
    ],
)
def test_thoughts(thinking: Thinking | None, text: str, thought: str, said: str) -> None:
    for pieces in cuts(text):
        assert read(pieces, AnswerFormat(thinking)) == Answer(said, thought, [])


@pytest.mark.parametrize(
    ("text", "thought", "said"),
    [
        ("<|T|>plan<|/T|><|S|>answer<|/S|>", "plan", "answer"),
        ("<|S|>answer", "", "answer"),
        ("answer", "", "answer"),
        ("<|S|>one<|/S|><|T|>plan<|/T|><|S|>two", "plan", "onetwo"),
        ("<|T|>plan", "plan", ""),
    ],
)
def test_parts_that_are_marked(text: str, thought: str, said: str) -> None:
    """As Cohere's, Kimi's and Solar's: marks of what is said are not told."""
    for pieces in cuts(text):
        assert read(pieces, PARTS) == Answer(said, thought, [])


def test_calls_are_not_looked_for_in_thoughts() -> None:
    call = '<tool_call>\n{"name": "stop", "arguments": {}}\n</tool_call>'
    form = AnswerFormat(TAGS, calls=HERMES, parameters=PARAMETERS)
    for pieces in cuts(f"<think>{call}</think>{call}"):
        assert read(pieces, form) == Answer("", call, [("stop", "{}")])


@settings(max_examples=200, deadline=None, derandomize=True)
@given(
    st.lists(st.sampled_from(["<think>", "</think>", "<", "a", " ", "\n", "<|T|>", "<|S|>", "|>"])),
    st.sampled_from([AnswerFormat(TAGS), AnswerFormat(OPEN), PARTS]),
    st.data(),
)
def test_any_text_in_any_pieces(parts: list[str], form: AnswerFormat, data: st.DataObject) -> None:
    text = "".join(parts)
    place = data.draw(st.integers(0, len(text)))
    answer = read([text[:place], text[place:]], form)
    assert answer == read(list(text), form) == read([text], form)
    assert len(answer.text + answer.reasoning) <= len(text)

"""Tests of engine.answer.harmony: gpt-oss' channels, in all the ways in which they are written."""

import pytest

from registry.checkpoint.call_syntax import Speech
from runtime.requests import AnswerFormat, Thinking

from .answers import HARMONY, PARAMETERS, Answer, cuts, read

RESTART = "<|end|><|start|>assistant"
THOUGHT = "<|channel|>analysis<|message|>Hm, <|so|> be it."
THINKING = Thinking("<|channel|>analysis<|message|>", RESTART)
SPEECH = Speech("<|channel|>final<|message|>", RESTART)
PLAIN = AnswerFormat(THINKING, SPEECH)
CALLING = AnswerFormat(THINKING, SPEECH, calls=HARMONY, parameters=PARAMETERS)
CALL = '{"town": "Rome"}'


@pytest.mark.parametrize("end", ["", "<|end|>"])
@pytest.mark.parametrize("form", [PLAIN, CALLING])
def test_analysis_is_thought_and_final_is_said(form: AnswerFormat, end: str) -> None:
    text = f"{THOUGHT}{RESTART}<|channel|>final<|message|>It is 5.{end}"
    for pieces in cuts(text):
        assert read(pieces, form) == Answer("It is 5.", "Hm, <|so|> be it.", [])


@pytest.mark.parametrize(
    "header",
    [
        "<|channel|>commentary to=functions.look_up <|constrain|>json<|message|>",
        "<|channel|>commentary to=functions.look_up<|message|>",
        " to=functions.look_up<|channel|>commentary json<|message|>",
        "<|channel|>commentary to=look_up code<|message|>",
        "<|channel|>analysis to=functions.look_up <|constrain|>json<|message|>",
    ],
)
def test_a_call_is_written_in_many_ways(header: str) -> None:
    """Behind a thought, behind words that explain it, or first."""
    said = "<|channel|>commentary<|message|>I look it up."
    expected = [("look_up", CALL)]
    for pieces in cuts(f"{THOUGHT}{RESTART}{said}{RESTART}{header}{CALL}"):
        assert read(pieces, CALLING) == Answer("I look it up.", "Hm, <|so|> be it.", expected)
    for pieces in cuts(f"{header}{CALL}"):
        assert read(pieces, CALLING) == Answer("", "", expected)


def test_thoughts_may_come_again() -> None:
    text = f"{THOUGHT}{RESTART}{SPEECH.start}One.{RESTART}{THOUGHT}{RESTART}{SPEECH.start}Two."
    for pieces in cuts(text):
        assert read(pieces, CALLING) == Answer("One.Two.", "Hm, <|so|> be it." * 2, [])


def test_a_call_where_no_functions_were_offered_is_said() -> None:
    text = f"<|channel|>commentary to=functions.look_up <|constrain|>json<|message|>{CALL}"
    assert read([text], PLAIN) == Answer(CALL, "", [])


@pytest.mark.parametrize("text", ["plain", "<|channel|>fi", "<|channel|>" + "x" * 600, "a<|b|>"])
def test_what_is_no_header_is_text(text: str) -> None:
    for pieces in cuts(text):
        assert read(pieces, CALLING) == Answer(text, "", [])

"""Tests of runtime.text.stops: why less than all of an answer came back, in one word."""

import pytest

from registry.checkpoint.chat_format import ChatFormat
from runtime.text.call_syntax import HERMES
from runtime.text.stops import stop_of
from runtime.text_messages import Spliced, Stop

_CALLING = '<tool_call>\n{"name": "look_up", "arguments": {"town": '
THINKING = ChatFormat(thinking=("<think>\n", "\n</think>"), calls=HERMES)


def told(before: str, known: str, asked: str) -> Spliced:
    return Spliced(stopped="differs", before=before, known=known, asked=asked)


@pytest.mark.parametrize(
    ("spliced", "said", "stop"),
    [
        (told("assistant\n", "<think>\nHm", "Hello"), "", "thought"),
        (told("assistant\n", "<thi", "Hello"), "", "thought"),
        (told("assistant\n<th", "ink>\nHm", "e>Hello"), "<th", "thought"),
        (told("assistant\n", "Hello", "<think>\n\n</think>"), "", "thought"),
        (told("Hm, she ", "wants", "asked"), "<think>\nHm, she ", "thought"),
        (told("Hello ", "you", "there"), "<think>\nHm\n</think>\n\nHello ", "differs"),
        (told("\n", "<tool_call>\n{", "<call>"), "", "call"),
        (told('"town": ', '"Köln"', '"Rome"'), _CALLING, "call"),
        (told("\n", "Bye", "Ok"), "<tool_call>\n{}\n</tool_call>\n", "differs"),
        (told("assistant\n", "\n\nHello", "Hello"), "", "white_space"),
        (told("Hello", " \n", "<|end|>"), "Hello", "white_space"),
        (told("Hello", " \n", "\n"), "Hello", "white_space"),
        (told('{"town":', ' "Köln"', '"Köln"'), '<tool_call>\n{"town":', "white_space"),
        (told("Hello ", "you", "YOU"), "Hello ", "differs"),
    ],
)
def test_the_cause_is_named(spliced: Spliced, said: str, stop: Stop) -> None:
    assert stop_of(spliced, said, THINKING) == stop


def test_what_did_not_stop_stays_so() -> None:
    assert stop_of(Spliced(stopped=""), "Hello", THINKING) == ""
    assert stop_of(Spliced(), "", ChatFormat()) == "new"
    assert stop_of(told("a", "b", "c"), "", ChatFormat()) == "differs"

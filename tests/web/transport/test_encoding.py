"""Tests of web.transport.encoding."""

import json

from web.transport import sse
from web.transport.encoding import encode

LINE_ENDS = "a\u2028b\u2029c\u0085d\u2014e\n\u00c5"


def test_no_reader_finds_a_line_end_in_it() -> None:
    """Whatever it splits at, and the text is the same."""
    event = sse.data({"text": LINE_ENDS, LINE_ENDS: [LINE_ENDS]})
    line = event.decode().removesuffix("\n\n")
    assert line.splitlines() == [line]
    assert json.loads(line.removeprefix("data: ")) == {"text": LINE_ENDS, LINE_ENDS: [LINE_ENDS]}


def test_other_characters_stay_as_they_are() -> None:
    text = "\u2014\u2026\u00c5\U0001f600"
    assert encode(text) == f'"{text}"'.encode()

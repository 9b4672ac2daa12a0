"""Tests of engine.answer.calls: calls in whatever way they are written, cut at every place."""

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from registry.checkpoint.call_syntax import CallSyntax, Tags
from runtime.requests import AnswerFormat
from runtime.text.call_syntax import written
from tests.runtime.engine.answer.answers import HERMES, PARAMETERS, SYNTAXES, Answer, cuts, read

ARGUMENTS: dict[str, Any] = {
    "town": 'Zürich "x"\n\t\\d {a}, [b]: (c)',
    "days": 3,
    "rate": -1.5,
    "deep": True,
    "tags": ["a", "b, c"],
    "near": {"x": {"y": [1, 2.5, "z"]}},
    "word": "5",
}
CALLS: list[tuple[str, Any]] = [("look_up", ARGUMENTS), ("stop", {}), ("look_up", {"town": "Rome"})]


def form_of(syntax: CallSyntax) -> AnswerFormat:
    return AnswerFormat(calls=syntax, parameters=PARAMETERS)


def calls_for(syntax: CallSyntax) -> list[tuple[str, Any]]:
    return CALLS if syntax.between is not None else CALLS[:1]


@pytest.mark.parametrize("name", SYNTAXES)
def test_calls_as_the_model_writes_them(name: str) -> None:
    """Text before and behind them is told, and the blanks around them are not."""
    syntax = SYNTAXES[name]
    calls = calls_for(syntax)
    said = "" if syntax.is_unmarked else "Let me < look."
    text = f"{said}\n\n{written(syntax, calls)}\n Done."
    for pieces in cuts(text):
        answer = read(pieces, form_of(syntax))
        assert answer.parsed == calls
        assert answer.text.split() == [*said.split(), "Done."]


@pytest.mark.parametrize("name", SYNTAXES)
def test_a_call_that_is_cut_tells_what_came(name: str) -> None:
    """The arguments begin as those of the whole call do; nothing fails, wherever it ends."""
    syntax = SYNTAXES[name]
    text = written(syntax, calls_for(syntax)[:1])
    whole = read([text], form_of(syntax)).calls
    for end in range(len(text)):
        answer = read(list(text[:end]), form_of(syntax))
        assert answer == read([text[:end]], form_of(syntax))
        if answer.calls and syntax.style == "json":
            assert whole[0][1].startswith(answer.calls[0][1])
        if not answer.calls:
            assert answer.text == text[:end]


def test_arguments_come_as_they_are_written() -> None:
    """Of JSON every character at once, of strings between tags too."""
    syntax = SYNTAXES["tags on lines of their own"]
    text = written(syntax, [("look_up", {"town": "a very long text"})])
    for end in ("long", "a very"):
        so_far = read([text[: text.index(end)]], form_of(syntax)).calls[0][1]
        assert so_far == json.dumps({"town": "a very long text"})[: len(so_far)]
        assert len(so_far) > len('{"town": ')
    (call,) = read(['<tool_call>{"name": "stop", "arguments": {"a": "b'], form_of(HERMES)).calls
    assert call == ("stop", '{"a": "b')


@pytest.mark.parametrize(
    "text",
    [
        '<tool_call>{"name":"stop","arguments":{}}</tool_call>',
        '<tool_call>\n\n{ "arguments" : {} , "name" : "stop" }\n</tool_call>',
        '<tool_call>{"id": "x", "name": "stop", "parameters": {}, "type": [1, {}]}</tool_call>',
        '<tool_call>{"name": "stop"}</tool_call>',
        '<tool_call>{"name": "stop", "arguments": null}</tool_call>',
        '<tool_call>{"name": "stop", "arguments": "{}"}</tool_call>',
        '<tool_call>{"name": "stop", "arguments": {}}',
    ],
)
def test_models_are_not_as_exact_as_templates(text: str) -> None:
    for pieces in cuts(text):
        assert read(pieces, form_of(HERMES)) == Answer("", "", [("stop", "{}")])


@pytest.mark.parametrize(
    "text",
    [
        "<tool_call>",
        "<tool_call> is how it begins",
        "<tool_call>\n{}\n</tool_call>",
        '<tool_call>\n{"arguments": {}}\n</tool_call>',
        '<tool_call>\n{"name": 5, "arguments": {}}\n</tool_call>',
        '<tool_call>\n{"name": "other", "arguments": {"a": 1}',
        '<tool_call>\n{"name": "\\ud800", "arguments": {}}',
        '<tool_call>\n{"name": "two words", "arguments": {}}\n</tool_call>',
        "a < b and <tool_cal",
    ],
)
def test_what_is_no_call_is_text(text: str) -> None:
    """All of it, as it came."""
    for pieces in cuts(text):
        assert read(pieces, form_of(HERMES)) == Answer(text, "", [])


def test_a_function_that_was_not_offered_is_told_when_it_is_whole() -> None:
    text = '<tool_call>\n{"name": "other", "arguments": {"a": 1}}\n</tool_call>'
    for pieces in cuts(text):
        assert read(pieces, form_of(HERMES)).calls == [("other", '{"a": 1}')]
    syntax = SYNTAXES["tags in a row"]
    text = "<call>other<key>a</key><value>1</value>"
    assert read([text], form_of(syntax)) == Answer(text, "", [])
    assert read([text + "</call>"], form_of(syntax)).calls == [("other", '{"a": 1}')]


def test_json_without_a_mark_is_a_call_only_where_the_answer_begins() -> None:
    """And only of a function that was offered: answers are JSON, too."""
    syntax = SYNTAXES["objects alone"]
    call = '{"name": "stop", "parameters": {}}'
    for text in (f"See: {call}", '{"name": "Bob", "parameters": {}}', '{"a": {"name": "stop"}}'):
        for pieces in cuts(text):
            assert read(pieces, form_of(syntax)) == Answer(text, "", [])
    assert read([f" {call}; {call}"], form_of(syntax)).calls == [("stop", "{}")] * 2


def test_values_between_tags_are_of_the_types_that_the_function_wants() -> None:
    syntax = SYNTAXES["tags in a row"]

    def value(key: str, text: str) -> Any:
        answer = f"<call>look_up<key>{key}</key><value>{text}</value></call>"
        ((_, arguments),) = read([answer], form_of(syntax)).parsed
        return arguments[key]

    assert value("town", "5") == "5"
    assert value("days", "5") == 5
    assert value("days", "soon") == "soon"
    assert value("deep", "True") is True
    assert value("word", "null") is None
    assert value("near", "{'x': None}") == {"x": None}
    assert value("unknown", '["a"]') == ["a"]
    assert value("unknown", "NaN") == "NaN"


def test_json_where_tags_should_be() -> None:
    """Models know that better, and Kimi's have marks for it."""
    form = form_of(SYNTAXES["tags on lines of their own"])
    for mark in ("", "<json>"):
        text = f'<call>\n<function=look_up>\n{mark}{{"town": "Rome"}}{mark}</function></call> Ok.'
        for pieces in cuts(text):
            answer = read(pieces, form)
            assert (answer.text, answer.parsed) == ("Ok.", [("look_up", {"town": "Rome"})])


def test_strings_with_markup_in_cdata() -> None:
    tags = Tags("<p ", ">", "</p>", cdata=True)
    form = form_of(CallSyntax("", "<f ", ">", "</f>", "", "\n", "tagged", tags))
    text = "<f look_up><p town><![CDATA[<b>\n</p>]]></p><p days><![CDATA[3]]></p></f>"
    for pieces in cuts(text):
        assert read(pieces, form).parsed == [("look_up", {"town": "<b>\n</p>", "days": 3})]


def test_python_as_models_write_it() -> None:
    """Values by their place, escapes, and strings that hold their own quotes."""
    form = form_of(SYNTAXES["Python"])
    text = r"<|start|>[look_up('a\'b', 3, near={'x': (1, None)}, word='it's'), stop()]<|end|>"
    wanted = {"town": "a'b", "days": 3, "near": {"x": [1, None]}, "word": "it's"}
    for pieces in cuts(text):
        assert read(pieces, form).parsed == [("look_up", wanted), ("stop", {})]
    half = read(["<|start|>[look_up(town='\\ud83d')]<|end|>"], form).calls[0][1]
    assert half.isascii() and json.loads(half) == {"town": "\ud83d"}


_FRAGMENTS = [
    "text", " ", "\n", "{", "}", '"', "'", ",", ":", "(", ")", "[", "]", "=", "<", "\\", "look_up",
    "stop", "town", "days", "🙂", "ü", "null", "5", '{"a": 1}', '"name": "stop"', '"arguments": {}',
]  # fmt: skip


def _marks(syntax: CallSyntax) -> list[str]:
    tags = syntax.tags
    parts = [syntax.section_open, syntax.call_open, syntax.name_close, syntax.call_close,
             syntax.section_close, syntax.between or "", syntax.quote]  # fmt: skip
    if tags is not None:
        parts += [tags.key_open, tags.key_close, tags.value_close]
    whole = written(syntax, [("look_up", {"town": "Rome"})])
    return [part for part in parts if part] + [whole, whole[: len(whole) // 2]]


@pytest.mark.parametrize("name", SYNTAXES)
@settings(max_examples=60, deadline=None, derandomize=True)
@given(data=st.data())
def test_any_text_in_any_pieces(name: str, data: st.DataObject) -> None:
    """What is told does not depend on the pieces; without a call it is the text itself."""
    syntax = SYNTAXES[name]
    fragments = st.sampled_from(_FRAGMENTS + _marks(syntax))
    text = "".join(data.draw(st.lists(fragments, max_size=12)))
    places = data.draw(st.lists(st.integers(0, len(text)), max_size=4))
    bounds = [0, *sorted(places), len(text)]
    pieces = [text[start:end] for start, end in zip(bounds, bounds[1:], strict=False)]
    answer = read(pieces, form_of(syntax))
    assert answer == read(list(text), form_of(syntax))
    if not answer.calls:
        assert answer.text == text
    for _, arguments in answer.calls:
        arguments.encode()


def test_what_does_not_end_is_read_in_time() -> None:
    """The work for a token does not grow with the answer."""
    long = "x" * 20_000
    for name, syntax in SYNTAXES.items():
        text = written(syntax, [("look_up", {"town": long})])
        answer = read([text[at : at + 3] for at in range(0, len(text), 3)], form_of(syntax))
        assert answer.parsed == [("look_up", {"town": long})], name

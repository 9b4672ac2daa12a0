"""Tests of runtime.text.tool_turns: calls and results as the template takes them."""

from typing import Any

import pytest

from registry.checkpoint.chat_format import ChatFormat
from runtime.text.tool_turns import ConversationRefused, with_tools

Message = dict[str, Any]


def call(name: str, arguments: Any = "{}", **fields: Any) -> Message:
    return {"type": "function", "function": {"name": name, "arguments": arguments}, **fields}


def calling(*calls: Message, content: str | None = None) -> Message:
    return {"role": "assistant", "content": content, "tool_calls": list(calls)}


def result(content: str, **fields: Any) -> Message:
    return {"role": "tool", "content": content, **fields}


def told(messages: list[Message], **form: Any) -> list[Message]:
    return [message for _, message in with_tools(messages, ChatFormat(**form))[0]]


@pytest.mark.parametrize(
    ("sent", "expected"),
    [
        ('{"a": 1}', {"a": 1}),
        ("", {}),
        ("  ", {}),
        (None, {}),
        ("null", {}),
        ({"a": 1}, {"a": 1}),
        ('{"a": ', {"arguments": '{"a": '}),
        ("[1]", {"arguments": [1]}),
        ("[" * 100_000, {"arguments": "[" * 100_000}),
    ],
)
def test_arguments_as_an_object(sent: Any, expected: Any) -> None:
    """JSON is read; what is none is kept as one argument, for a model wrote it."""
    form = {"tool_arguments": "object", "string_arguments": False}
    message = told([calling(call("f", sent))], **form)[0]
    assert message["tool_calls"][0]["function"]["arguments"] == expected


def test_arguments_that_are_no_json_may_stay() -> None:
    """Where a string comes out too, if oddly spelled."""
    message = told([calling(call("f", '{"a": '))], tool_arguments="object")[0]
    assert message["tool_calls"][0]["function"]["arguments"] == '{"a": '


def test_arguments_as_a_string() -> None:
    """An object is written as JSON; a string stays as it is, to the blank."""
    calls = [call("f", {"ä": 1}), call("g", '{ "b":2}'), call("h", None)]
    messages = told([calling(*calls)], object_arguments=False)
    arguments = [c["function"]["arguments"] for c in messages[0]["tool_calls"]]
    assert arguments == ['{"ä": 1}', '{ "b":2}', "{}"]


@pytest.mark.parametrize(
    ("sent", "expected"),
    [
        ('{ "a": 1}', '{ "a": 1}'),
        ("", "{}"),
        ("null", "{}"),
        (None, "{}"),
        ('{"a": ', '{"arguments": "{\\"a\\": "}'),
    ],
)
def test_a_string_that_is_read_as_json(sent: Any, expected: str) -> None:
    """By a template in Python: then it is JSON in any case."""
    form = {"string_arguments": False, "object_arguments": False}
    message = told([calling(call("f", sent))], **form)[0]
    assert message["tool_calls"][0]["function"]["arguments"] == expected


def test_an_object_may_stay() -> None:
    """Where both are taken, arguments are as the client has them."""
    assert told([calling(call("f", {"a": 1}))]) == [calling(call("f", {"a": 1}))]


def test_ids_of_nine_letters() -> None:
    """Call and result get the same; the mapping says which was which."""
    messages = [
        calling(call("f", id="call_1"), call("g", id="abcdefghi")),
        result("x", tool_call_id="abcdefghi"),
        result("y", tool_call_id="call_1"),
    ]
    turns, ids = with_tools(messages, ChatFormat(call_ids="nine"))
    first, second, third = (message for _, message in turns)
    assert first["tool_calls"][0]["id"] == third["tool_call_id"]
    assert first["tool_calls"][1]["id"] == second["tool_call_id"] == "abcdefghi"
    assert ids == {first["tool_calls"][0]["id"]: "call_1"}


def test_ids_of_functions() -> None:
    """As Kimi's templates want them."""
    messages = [calling(call("f", id="call_1"), call("g")), result("x", tool_call_id="call_1"),
                result("y")]  # fmt: skip
    first, second, third = told(messages, call_ids="function")
    assert [c["id"] for c in first["tool_calls"]] == ["functions.f:0", "functions.g:1"]
    assert [second["tool_call_id"], third["tool_call_id"]] == ["functions.f:0", "functions.g:1"]


@pytest.mark.parametrize("form", ["nine", "function"])
def test_ids_that_are_used_again(form: Any) -> None:
    """Small servers begin anew in every turn: a result is of the nearest call before it."""
    messages = [calling(call("f", id="call_0")), result("x", tool_call_id="call_0"),
                calling(call("g", id="call_0")), result("y", tool_call_id="call_0")]  # fmt: skip
    turns, ids = with_tools(messages, ChatFormat(call_ids=form))
    shown = [message for _, message in turns]
    for calls, answer in (shown[:2], shown[2:]):
        assert calls["tool_calls"][0]["id"] == answer["tool_call_id"]
    if form == "function":
        assert ids == {"functions.f:0": "call_0", "functions.g:1": "call_0"}


def test_ids_that_nobody_sent() -> None:
    """A result belongs to the next call that has none yet."""
    messages = [calling(call("f"), call("g")), result("x"), result("y")]
    first, second, third = told(messages, call_ids="nine")
    ids = [c["id"] for c in first["tool_calls"]]
    assert [second["tool_call_id"], third["tool_call_id"]] == ids and len(set(ids)) == 2


def test_names_of_results() -> None:
    """Where a template wants them."""
    messages = [calling(call("f", id="1"), call("g", id="2")), result("x", tool_call_id="2"),
                result("y", tool_call_id="1")]  # fmt: skip
    assert [m.get("name") for m in told(messages, named_results=True)[1:]] == ["g", "f"]
    assert [m.get("name") for m in told(messages)[1:]] == [None, None]


def test_one_call_at_a_time() -> None:
    """Each with its result behind it; no result is lost."""
    messages = [calling(call("f", id="1"), call("g", id="2"), content="words"),
                result("x", tool_call_id="2"), result("y", tool_call_id="1"),
                result("z", tool_call_id="3")]  # fmt: skip
    told_ = told(messages, parallel_tool_calls=False)
    names = [m["tool_calls"][0]["function"]["name"] if m.get("tool_calls") else m["content"]
             for m in told_]  # fmt: skip
    assert names == ["f", "y", "g", "x", "z"]
    assert [m["content"] for m in told_ if m.get("tool_calls")] == ["words", None]


def test_in_words() -> None:
    """A template without tools gets calls as it is asked to write them; nothing is missing."""
    call_text = '<tool_call>\n{"name": "f", "arguments": {"a": 1}}\n</tool_call>'
    messages = [calling(call("f", '{"a": 1}', id="1"), content="Well."),
                result("ok", tool_call_id="1")]  # fmt: skip
    assert told(messages, tool_calls=False, tool_results=False) == [
        {"role": "assistant", "content": f"Well.\n\n{call_text}"},
        {"role": "user", "content": "Tool result of f: ok"},
    ]


@pytest.mark.parametrize(
    "before", [[], [calling(call("f", id="1")), result("x", tool_call_id="1")]]
)
def test_a_result_without_its_call(before: list[Message]) -> None:
    """It is refused by its number, where the template needs the call."""
    messages = [{"role": "user", "content": "hi"}, *before, result("x", tool_call_id="9")]
    with pytest.raises(ConversationRefused, match=rf"messages\[{len(messages) - 1}\] .*the call"):
        told(messages, lone_results=False)
    assert told(messages)[-1] == messages[-1]


def test_calls_that_are_no_calls() -> None:
    """Strangers send anything; the template tells what it makes of it."""
    odd: list[Message] = [{}, {"function": None}, {"id": 7, "function": {"name": None}}]
    for form in (
        {},
        {"tool_calls": False},
        {"call_ids": "nine"},
        {"tool_arguments": "object"},
    ):
        assert told([calling(*odd), result("x")], **form)

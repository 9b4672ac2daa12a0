"""Tests of runtime.text.conversation: shaped to what a template takes, and no text lost."""

import copy
from typing import Any

import pytest

from registry.checkpoint.chat_format import ChatFormat
from runtime.text.conversation import shaped

STRICT = ChatFormat(
    system_repeated=False,
    system_between=False,
    system_last=False,
    repeats_user=False,
    repeats_assistant=False,
    starts_with_assistant=False,
    user_after_result=False,
)
NONE = ChatFormat(
    system_first=False, system_repeated=False, system_between=False, system_last=False
)


def said(text: str) -> list[dict[str, Any]]:
    """`s`, `u`, `a`, `c`, `t` for the role (c: calls), then what is said: "u:hi a:hello"."""
    roles = {"s": "system", "u": "user", "a": "assistant", "c": "assistant", "t": "tool"}
    messages: list[dict[str, Any]] = []
    for word in text.split():
        letter, _, content = word.partition(":")
        message: dict[str, Any] = {"role": roles[letter], "content": content.replace("+", "\n\n")}
        if letter == "c":
            call = {"id": "1", "type": "function", "function": {"name": "f", "arguments": "{}"}}
            message |= {"tool_calls": [call], "content": message["content"] or None}
        if letter == "t":
            message["tool_call_id"] = "1"
        messages.append(message)
    return messages


@pytest.mark.parametrize(
    "text", ["s:a u:b", "u:a a:b u:c s:d", "s:a s:b u:c u:d a:e a:f", "a:a c:b t:c u:d t:e"]
)
def test_what_fits_stays(text: str) -> None:
    """A template that takes everything is given what the client sent."""
    assert shaped(said(text), ChatFormat()).messages == said(text)


@pytest.mark.parametrize(
    ("text", "form", "expected"),
    [
        ("s:a s:b u:c", STRICT, "s:a+b u:c"),
        ("s:a u:b a:c s:d u:e", STRICT, "s:a u:b a:c u:d+e"),
        ("s:a u:b s:c a:d u:e", STRICT, "s:a u:b+c a:d u:e"),
        ("s:a u:b a:c s:d", STRICT, "s:a u:b a:c u:d"),
        ("u:a s:b s:c", STRICT, "u:a+b+c"),
        ("u:a a:b s:c a:d u:e", STRICT, "u:a a:b u:c a:d u:e"),
        ("s:a u:b", NONE, "u:a+b"),
        ("s:a s:b u:c a:d", NONE, "u:a+b+c a:d"),
        ("s:a a:b u:c", NONE, "u:a a:b u:c"),
        ("s:a", NONE, "u:a"),
        ("u:a c: s:b t:c a:d", STRICT, "u:a c: t:c a: u:b a:d"),
        ("u:a c: s:b t:c u:d", NONE, "u:a c: t:c u:b+d"),
    ],
)
def test_a_system_message_without_a_place(text: str, form: ChatFormat, expected: str) -> None:
    """It goes to the user's turn behind it, or before it, or is one; its order is kept."""
    assert shaped(said(text), form).messages == said(expected)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("u:a u:b u:c", "u:a+b+c"),
        ("u:a a:b a:c u:d", "u:a a:b+c u:d"),
        ("a:a u:b", "u: a:a u:b"),
        ("s:a a:b u:c", "s:a u: a:b u:c"),
        ("u:a c: t:b u:c", "u:a c: t:b a: u:c"),
        ("u:a a:b c: t:c", "u:a c:b t:c"),
        ("u:a c: t:b c: t:c a:d", "u:a c: t:b c: t:c a:d"),
    ],
)
def test_turns_that_must_alternate(text: str, expected: str) -> None:
    """Neighbours of one role become one turn; where they cannot, an empty one stands between."""
    assert shaped(said(text), STRICT).messages == said(expected)


def test_words_and_calls_that_may_not_share_a_turn() -> None:
    """The words come first, then the calls; where turns alternate, an empty one between."""
    apart = ChatFormat(content_with_calls=False)
    expected = said("u:a a:b c: t:c")
    assert shaped(said("u:a c:b t:c"), apart).messages == expected
    strict = ChatFormat(content_with_calls=False, repeats_assistant=False)
    assert shaped(said("u:a c:b t:c"), strict).messages == said("u:a a:b u: c: t:c")


def test_content_as_parts() -> None:
    """For the roles that have it so."""
    messages = shaped(said("s:a u:b"), ChatFormat(parts=("user",))).messages
    assert messages[0]["content"] == "a"
    assert messages[1]["content"] == [{"type": "text", "text": "b"}]


def test_no_words_as_parts() -> None:
    """An empty text is a part all the same; beside calls there is none."""
    form = ChatFormat(parts=("user", "assistant"))
    messages = shaped(said("u: a: u:b c:"), form).messages
    expected = [_part(""), _part(""), _part("b"), None]
    assert [message["content"] for message in messages] == expected


def _part(text: str) -> list[dict[str, str]]:
    return [{"type": "text", "text": text}]


@pytest.mark.parametrize(
    ("taken", "expected"),
    [
        (("null", "empty", "absent"), {"content": None}),
        (("empty", "absent"), {"content": ""}),
        (("absent",), {}),
    ],
)
def test_no_content(taken: tuple[Any, ...], expected: dict[str, Any]) -> None:
    """A turn of calls alone says nothing in the way that the template takes."""
    calling = shaped(said("u:a c: t:b"), ChatFormat(no_content=taken)).messages[1]
    assert {key: value for key, value in calling.items() if key == "content"} == expected


def test_an_answer_that_says_nothing() -> None:
    """It was stopped, or was reasoning alone: it says as little as the template takes."""
    messages = shaped(said("u:a a: u:b"), ChatFormat(filler=" ")).messages
    assert [message["content"] for message in messages] == ["a", " ", "b"]


def test_joined_turns_keep_everything() -> None:
    """Reasoning, calls, and the mark of a turn to go on with."""
    calls = said("c:")[0]["tool_calls"]
    messages: list[dict[str, Any]] = [
        {"role": "user", "content": "q"},
        {"role": "assistant", "content": "a", "reasoning_content": "r"},
        {"role": "assistant", "content": "b", "reasoning_content": "s", "tool_calls": calls},
        {"role": "assistant", "content": "c", "prefix": True},
    ]
    told = shaped(messages, STRICT).messages
    assert told[1] == messages[1] | {
        "content": "a\n\nb", "reasoning_content": "r\n\ns", "tool_calls": calls,
    }  # fmt: skip
    assert told[3]["prefix"] and told[3]["content"] == "c"


def test_the_clients_messages_are_left_alone() -> None:
    """And each message for the template says which one it came from."""
    messages = said("s:a s:b u:c u:d c:e t:f u:g")
    before = copy.deepcopy(messages)
    form = ChatFormat(system_repeated=False, repeats_user=False, tool_arguments="object",
                      call_ids="nine", content_with_calls=False)  # fmt: skip
    conversation = shaped(messages, form)
    assert messages == before
    assert conversation.numbers == [0, 2, 4, 4, 5, 6]

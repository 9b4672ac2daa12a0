"""Tests of openai.chat_messages: what a message may hold, and how the last one ends the prompt."""

import json
from typing import Any

import pytest
from werkzeug.datastructures import Headers

from runtime.requests import ChatMessage
from web.api.openai.chat_body import ChatBody, generation_request
from web.door.body import decode
from web.errors import ApiError

USER: dict[str, Any] = {"role": "user", "content": "hi"}
ANSWER: dict[str, Any] = {"role": "assistant", "content": "Sure"}
CALLS = [{"id": "1", "type": "function", "function": {"name": "f", "arguments": "{}"}}]
CALLING: dict[str, Any] = {"role": "assistant", "content": None, "tool_calls": CALLS}


def parse(*messages: dict[str, Any], **fields: Any) -> Any:
    body = {"model": "m", "messages": messages, **fields}
    return generation_request(decode(json.dumps(body).encode(), ChatBody), Headers())


def last(*messages: dict[str, Any]) -> ChatMessage:
    message = parse(*messages).input.messages[-1]
    assert isinstance(message, ChatMessage)
    return message


def refused(*messages: dict[str, Any], **fields: Any) -> ApiError:
    with pytest.raises(ApiError) as caught:
        parse(*messages, **fields)
    assert caught.value.status == 400
    return caught.value


def test_a_function_call_of_old() -> None:
    """It is a tool call; its result, of the role "function", is a tool's."""
    call = {"name": "f", "arguments": '{"a": 1}'}
    calling = {"role": "assistant", "content": None, "function_call": call}
    messages = parse(
        USER, calling, {"role": "function", "name": "f", "content": "ok"}
    ).input.messages
    assert messages[1].content is None
    assert messages[1].tool_calls == [{"id": "call_1", "type": "function", "function": call}]
    assert (messages[2].role, messages[2].name, messages[2].content) == ("tool", "f", "ok")
    assert last(USER, ANSWER | {"function_call": None}).tool_calls is None


@pytest.mark.parametrize(
    "fields",
    [
        {"content": None, "refusal": "No."},
        {"refusal": "No."},
        {"content": [{"type": "refusal", "refusal": "No."}]},
        {"content": [{"type": "text", "text": "N"}, {"type": "refusal", "refusal": "o."}]},
    ],
)
def test_a_refusal_is_what_was_said(fields: dict[str, Any]) -> None:
    """In a field of its own, or as a part."""
    assert last(USER, {"role": "assistant", **fields}).content == "No."


def test_no_words_beside_calls() -> None:
    """That there are none is told to the template as it was sent."""
    assert last(USER, CALLING).content is None
    assert last(USER, CALLING | {"content": ""}).content == ""


def test_reasoning_has_two_names() -> None:
    """vLLM's newer one too; where others mean an object by it, it passes."""
    assert last(USER, ANSWER | {"reasoning": "why"}).reasoning_content == "why"
    assert last(USER, ANSWER | {"reasoning": {"effort": "low"}}).reasoning_content is None


@pytest.mark.parametrize(
    ("message", "name"),
    [
        ({"role": "assistant"}, "messages[1]"),
        ({"role": "user", "content": None, "refusal": "x"}, "messages[1]"),
        ({"role": "user", "content": [{"type": "refusal", "refusal": "x"}]}, "messages[1]"),
        ({"role": "user", "content": [{"type": "input_text", "text": "x"}]}, "input_text"),
        ({"role": "user", "content": [{"type": "image_url", "image_url": {}}]}, "image_url"),
        ({"role": "user", "content": [{"text": "x"}]}, "content[0]"),
        ({"role": "user", "content": [{"type": "text", "text": 5}]}, "content[0]"),
        ({"role": "user", "content": [{"type": {}, "text": "x"}]}, "content[0]"),
        ({"role": "assistant", "function_call": {"arguments": "{}"}}, "function_call"),
        ({"role": "user", "content": "x", "prefix": True}, "messages[1]"),
        ({"role": "tool", "content": None}, "messages[1]"),
    ],
)
def test_what_is_wrong_is_named(message: dict[str, Any], name: str) -> None:
    """The message by its number, or the value that is none."""
    assert name in str(refused(USER, message))


@pytest.mark.parametrize(
    ("message", "fields", "turn"),
    [
        (USER, {}, "new"),
        (USER, {"add_generation_prompt": True}, "new"),
        (USER, {"add_generation_prompt": False}, "none"),
        (USER, {"continue_final_message": False}, "new"),
        (ANSWER, {}, "continued"),
        (ANSWER, {"continue_final_message": True}, "continued"),
        (ANSWER, {"add_generation_prompt": False}, "continued"),
        (ANSWER, {"continue_final_message": True, "add_generation_prompt": False}, "continued"),
        (ANSWER | {"prefix": True}, {}, "continued"),
        (ANSWER | {"prefix": True}, {"continue_final_message": True}, "continued"),
        (ANSWER | {"prefix": True}, {"add_generation_prompt": False}, "continued"),
        (ANSWER | {"prefix": False}, {}, "continued"),
        (ANSWER, {"add_generation_prompt": True}, "new"),
        (ANSWER, {"continue_final_message": False}, "new"),
        (ANSWER, {"continue_final_message": False, "add_generation_prompt": True}, "new"),
        (ANSWER, {"continue_final_message": False, "add_generation_prompt": False}, "none"),
        (CALLING, {}, "new"),
        (CALLING, {"add_generation_prompt": False}, "none"),
        (CALLING | {"content": "words"}, {}, "new"),
    ],
)
def test_how_the_last_message_ends_the_prompt(
    message: dict[str, Any], fields: dict[str, Any], turn: str
) -> None:
    """An assistant's words are gone on with, unless an answer behind them is asked for."""
    assert parse(USER, message, **fields).input.turn == turn


@pytest.mark.parametrize(
    ("message", "fields", "names"),
    [
        (ANSWER, {"continue_final_message": True, "add_generation_prompt": True},
         ("add_generation_prompt", "continue_final_message")),
        (ANSWER | {"prefix": True}, {"add_generation_prompt": True},
         ("add_generation_prompt", "prefix", "messages[1]")),
        (ANSWER | {"prefix": True}, {"continue_final_message": False},
         ("continue_final_message", "prefix", "messages[1]")),
        (USER, {"continue_final_message": True}, ("messages[1]", "continue_final_message")),
        (CALLING, {"continue_final_message": True}, ("messages[1]", "continue_final_message")),
        (CALLING | {"prefix": True}, {}, ("messages[1]", "prefix")),
        (ANSWER, {"continue_final_message": "yes"}, ("continue_final_message",)),
        (ANSWER, {"add_generation_prompt": 1}, ("add_generation_prompt",)),
    ],
)  # fmt: skip
def test_what_contradicts_itself(
    message: dict[str, Any], fields: dict[str, Any], names: tuple[str, ...]
) -> None:
    """Both are named."""
    error = refused(USER, message, **fields)
    assert all(name in str(error) for name in names)


def test_only_the_last_message_has_a_prefix() -> None:
    """Another one is finished."""
    assert "messages[1]" in str(refused(USER, ANSWER | {"prefix": True}, USER))


RESULT: dict[str, Any] = {"role": "tool", "tool_call_id": "1", "content": "ok"}


@pytest.mark.parametrize(
    "messages",
    [
        (USER, CALLING, RESULT),
        (USER, CALLING, USER, RESULT, RESULT),
        (USER, CALLING, RESULT | {"tool_call_id": None}),
        (USER, CALLING, {"role": "function", "name": "f", "content": "ok"}),
        (USER, ANSWER | {"tool_calls": [CALLS[0] | {"id": None}]}, RESULT),
    ],
)
def test_a_result_is_of_a_call_before_it(messages: tuple[dict[str, Any], ...]) -> None:
    assert last(*messages).role == "tool"


@pytest.mark.parametrize(
    ("messages", "number"),
    [
        ((USER, RESULT), 1),
        ((RESULT, USER), 0),
        ((USER, ANSWER, {"role": "function", "name": "f", "content": "ok"}), 2),
        ((USER, RESULT, CALLING), 1),
        ((USER, CALLING, RESULT, RESULT | {"tool_call_id": "2"}), 3),
    ],
)
def test_a_result_without_a_call_is_refused(
    messages: tuple[dict[str, Any], ...], number: int
) -> None:
    error = refused(*messages)
    assert error.param == "messages" and str(error).startswith(f"messages[{number}] is a result")

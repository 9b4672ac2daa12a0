"""Tools and messages that are none: a 400 that names the field."""

from typing import Any

import pytest

from tests.serving import ServerProcess

from .ways import CHATS, COMPLETIONS, MESSAGES, USER, body_of, refused


def tools_of(way: str, *names: str, parameters: Any = None) -> list[dict[str, Any]]:
    parameters = parameters or {"type": "object"}
    if way == MESSAGES:
        return [{"name": name, "input_schema": parameters} for name in names]
    told = [{"name": name, "parameters": parameters} for name in names]
    return [{"type": "function", "function": function} for function in told]


@pytest.mark.parametrize(
    "names",
    [[f"f{i}" for i in range(10_000)], ["f", "f"]]
    + [[name] for name in ("", "a b", "ü", "x" * 200, "a\n", "\0", '"', "<tool_call>", "{{ 1 }}")],
    ids=lambda names: ascii(names)[:20],
)
def test_tools_that_are_too_many_or_of_odd_names(server: ServerProcess, names: list[str]) -> None:
    for way in (*CHATS, MESSAGES):
        refused(server, way, body_of(way, tools=tools_of(way, *names)), "tools")


def test_schemas_of_tools_that_cannot_be_enforced(server: ServerProcess) -> None:
    """Which function it is, where a call has to be enforced."""
    parameters = {"type": "object", "properties": {"a": {"type": "banana"}}}
    for way in (*CHATS, MESSAGES):
        choice: Any = {"type": "any"} if way == MESSAGES else "required"
        tools = tools_of(way, "good") + tools_of(way, "bad", parameters=parameters)
        body = body_of(way, tools=tools, tool_choice=choice)
        assert '"bad"' in refused(server, way, body, "tools[1]")


_CALL = {"id": "1", "type": "function", "function": {"name": "f", "arguments": "{}"}}
_CALLING = {"role": "assistant", "content": None, "tool_calls": [_CALL]}
_IMAGE = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}


@pytest.mark.parametrize(
    "messages",
    [
        [USER, {"role": "tool", "tool_call_id": "1", "content": "x"}],
        [{"role": "tool", "tool_call_id": "1", "content": "x"}, _CALLING],
        [USER, _CALLING, {"role": "tool", "tool_call_id": "2", "content": "x"}],
        [USER, {"role": "function", "name": "f", "content": "x"}],
        [USER, {"role": "king", "content": "x"}],
        [{"role": "assistant", "content": "x", "prefix": True}, USER],
        [{"role": "user", "content": [_IMAGE]}],
        [{"role": "user", "content": [{"type": "input_audio", "input_audio": {}}]}],
        [{"role": "user", "content": None}],
        [{"role": "user", "content": 1e308}],
        [],
    ],
)
def test_chats_that_are_none(server: ServerProcess, messages: list[Any]) -> None:
    for way in CHATS:
        refused(server, way, body_of(way, messages=messages), "messages")


@pytest.mark.parametrize(
    "messages",
    [
        [{"role": "user", "content": [{"type": "tool_result", "tool_use_id": "1"}]}],
        [{"role": "tool", "content": "x"}],
        [{"role": "user", "content": [{"type": "image", "source": {"type": "url", "url": "x"}}]}],
        [{"role": "user", "content": [{"type": "document", "source": {"type": "base64"}}]}],
        [{"role": "user", "content": None}],
        [{"role": "user", "content": [5]}],
        [USER, {"role": "assistant", "content": [{"type": "tool_use", "id": 1, "name": "f"}]}],
        [USER, {"role": "assistant", "content": [{"type": "tool_use", "id": "1", "input": []}]}],
        [],
    ],
)
def test_messages_that_are_none(server: ServerProcess, messages: list[Any]) -> None:
    refused(server, MESSAGES, body_of(MESSAGES, messages=messages), "messages")


@pytest.mark.parametrize("prompt", [[], [""], None, {}, ["a", 1], [[-1]], [2**31], [10**6], 5])
def test_prompts_that_are_none(server: ServerProcess, prompt: Any) -> None:
    refused(server, COMPLETIONS, body_of(COMPLETIONS, prompt=prompt), "prompt")


def test_a_template_that_raises(server: ServerProcess) -> None:
    for way in (*CHATS, MESSAGES):
        assert "No." in refused(server, way, body_of(way, model="raises"), "messages")

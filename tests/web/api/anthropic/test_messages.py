"""Tests of anthropic.messages from outside: the real server, driven by the official SDK."""

import asyncio
import json
from collections.abc import Iterator
from typing import Any

import anthropic
import httpx
import jsonschema
import pytest
from anthropic import Anthropic, AsyncAnthropic
from anthropic.types import TextBlock, ToolUseBlock

from tests.serving import KEY, ServerProcess

HELLO: list[Any] = [{"role": "user", "content": "Hello you"}]
LOOK: dict[str, Any] = {
    "name": "look",
    "description": "Looks somewhere.",
    "input_schema": {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "type": "object",
        "properties": {
            "where": {"enum": ["sky", "sea"]},
            "times": {"type": "integer", "minimum": 0, "maximum": 9},
        },
        "required": ["where", "times"],
        "additionalProperties": False,
    },
}
# The SDK sends no temperature any more; the API takes one.
GREEDY: dict[str, Any] = {"extra_body": {"temperature": 0}}
SETTINGS: dict[str, Any] = {"model": "tiny", "max_tokens": 24, "messages": HELLO, **GREEDY}


@pytest.fixture
def client(server: ServerProcess) -> Iterator[Anthropic]:
    with Anthropic(base_url=server.url, api_key=KEY, max_retries=0) as client:
        yield client


def text_of(message: Any) -> str:
    return "".join(block.text for block in message.content if isinstance(block, TextBlock))


def num_asked(usage: Any) -> int:
    """Tokens of the prompt, read for this or before."""
    asked: int = usage.input_tokens + (usage.cache_read_input_tokens or 0)
    return asked


def test_whole_and_streamed(client: Anthropic) -> None:
    """The same text and the same numbers; blocks are opened and closed in order."""
    whole = client.messages.create(**SETTINGS)
    assert whole.type == "message" and whole.role == "assistant" and whole.model == "tiny"
    assert whole.stop_reason == "max_tokens" and whole.stop_sequence is None
    assert whole.usage.output_tokens == 24 and whole.usage.cache_creation_input_tokens == 0
    assert whole.id.startswith("msg_") and (whole._request_id or "").startswith("req_")
    with client.messages.stream(**SETTINGS) as stream:
        kinds = [event.type for event in stream if event.type != "text"]
        last = stream.get_final_message()
    assert text_of(last) == text_of(whole)
    assert last.usage.output_tokens == 24 and last.stop_reason == "max_tokens"
    assert num_asked(last.usage) == num_asked(whole.usage) > last.usage.input_tokens == 1
    assert kinds[:2] == ["message_start", "content_block_start"]
    assert kinds[-3:] == ["content_block_stop", "message_delta", "message_stop"]
    assert set(kinds[2:-3]) == {"content_block_delta"}


def test_the_events_to_the_field(server: ServerProcess) -> None:
    """Every event is named as its type; a ping comes first, and nothing behind the end."""
    headers = {"x-api-key": KEY, "anthropic-version": "2023-06-01", "anthropic-beta": "a,b"}
    body = {"model": "tiny", "messages": HELLO, "stream": True, "max_tokens": 2}
    url = server.url + "/v1/messages?beta=true"
    reply = httpx.post(url, json=body, headers=headers, timeout=60)
    assert reply.headers["content-type"].startswith("text/event-stream")
    assert reply.headers["request-id"] == reply.headers["x-request-id"]
    events = [event.split("\n") for event in reply.text.strip().split("\n\n")]
    events = [lines for lines in events if not lines[0].startswith(":")]
    names = [lines[0].removeprefix("event: ") for lines in events]
    assert names[:2] == ["message_start", "ping"] and names[-1] == "message_stop"
    for name, (_, data) in zip(names, events, strict=True):
        assert data.startswith(f'data: {{"type":"{name}"')


def test_stop_sequences(client: Anthropic) -> None:
    """The text ends before the sequence, and the answer tells which it was."""
    free = text_of(client.messages.create(**SETTINGS))
    stop = free[8:11]
    answer = client.messages.create(stop_sequences=["\x00", stop], **SETTINGS)
    assert text_of(answer) == free[: free.index(stop)]
    assert answer.stop_reason == "stop_sequence" and answer.stop_sequence == stop


def test_more_tokens_than_the_context_has_are_cut(client: Anthropic) -> None:
    """Agents send 32,000 whatever the model's context is."""
    with client.messages.stream(model="short", max_tokens=32_000, messages=HELLO) as stream:
        answer = stream.get_final_message()
    assert answer.usage.input_tokens + answer.usage.output_tokens <= 64


def test_counting_is_what_an_answer_counts(client: Anthropic) -> None:
    """With a system prompt and tools too; no model is loaded for it."""
    for more in ({}, {"system": "Be brief."}, {"tools": [LOOK]}):
        counted = client.messages.count_tokens(model="tiny", messages=HELLO, **more)
        answer = client.messages.create(**SETTINGS | {"max_tokens": 1}, **more)
        assert counted.input_tokens == num_asked(answer.usage)


@pytest.mark.parametrize("choice", [{"type": "any"}, {"type": "tool", "name": "look"}])
def test_a_forced_call_goes_round(client: Anthropic, choice: dict[str, Any]) -> None:
    """Whole and streamed; the arguments follow the schema though the weights are random, and the
    result is taken back."""
    choice = choice | {"disable_parallel_tool_use": True}  # random weights would go on calling
    settings = SETTINGS | {"tools": [LOOK], "tool_choice": choice, "max_tokens": 400}
    whole = client.messages.create(**settings)
    with client.messages.stream(**settings) as stream:
        pieces = [event.partial_json for event in stream if event.type == "input_json"]
        streamed = stream.get_final_message()
    assert pieces
    for answer in (whole, streamed):
        calls = [block for block in answer.content if isinstance(block, ToolUseBlock)]
        assert calls and answer.stop_reason == "tool_use"
        for call in calls:
            assert call.name == "look" and call.id.startswith("toolu_")
            jsonschema.validate(call.input, LOOK["input_schema"])
        assert len({call.id for call in calls}) == len(calls)
        results = [
            {"type": "tool_result", "tool_use_id": call.id, "content": "blue"} for call in calls
        ]
        content = [block.model_dump(exclude_none=True) for block in answer.content]
        history: list[Any] = [
            *HELLO, {"role": "assistant", "content": content}, {"role": "user", "content": results},
        ]  # fmt: skip
        assert client.messages.create(**SETTINGS | {"messages": history, "tools": [LOOK]}).content


def test_a_text_that_follows_a_schema(client: Anthropic) -> None:
    """`output_config.format`, enforced."""
    config: Any = {"format": {"type": "json_schema", "schema": LOOK["input_schema"]}}
    answer = client.messages.create(**SETTINGS | {"output_config": config, "max_tokens": 400})
    jsonschema.validate(json.loads(text_of(answer)), LOOK["input_schema"])
    assert answer.stop_reason == "end_turn"


def test_what_agents_send_beside(client: Anthropic) -> None:
    """Fields of betas that change nothing here; of edits of the context it is told that none was
    made."""
    answer = client.messages.create(
        model="tiny",
        max_tokens=4,
        messages=HELLO,
        metadata={"user_id": "u"},
        system=[{"type": "text", "text": "Be brief.", "cache_control": {"type": "ephemeral"}}],
        thinking={"type": "adaptive"},
        output_config={"effort": "high"},
        extra_body={"context_management": {"edits": [{"type": "clear_thinking_20251015"}]}},
    )
    assert answer.content
    assert answer.model_dump()["context_management"] == {"applied_edits": []}


def test_errors_are_anthropics(server: ServerProcess, client: Anthropic) -> None:
    """In their shape, so that the SDK raises its own exceptions."""
    with pytest.raises(anthropic.NotFoundError) as missing:
        client.messages.create(**SETTINGS | {"model": "nope"})
    assert missing.value.body == {
        "type": "error",
        "error": {"type": "not_found_error", "message": "Model 'nope' not found in store"},
    }
    with pytest.raises(anthropic.BadRequestError, match="max_tokens"):
        client.messages.create(**SETTINGS | {"max_tokens": 0})
    with pytest.raises(anthropic.BadRequestError, match="web_search"):
        client.messages.create(
            **SETTINGS, tools=[{"type": "web_search_20250305", "name": "web_search"}]
        )
    with Anthropic(base_url=server.url, api_key="wrong", max_retries=0) as stranger:
        with pytest.raises(anthropic.AuthenticationError):
            stranger.messages.create(**SETTINGS)


def test_both_ways_to_send_the_key(server: ServerProcess) -> None:
    """`ANTHROPIC_AUTH_TOKEN` is a bearer token."""
    with Anthropic(base_url=server.url, auth_token=KEY, api_key=None, max_retries=0) as client:
        assert client.messages.create(**SETTINGS).content
    assert httpx.head(server.url).status_code == 200


def test_many_at_once(server: ServerProcess) -> None:
    """Each answer is what it is alone."""

    async def run() -> None:
        async with AsyncAnthropic(base_url=server.url, api_key=KEY, max_retries=0) as client:

            async def ask(number: int) -> str:
                messages: Any = [{"role": "user", "content": f"number {number}"}]
                return text_of(await client.messages.create(**SETTINGS | {"messages": messages}))

            alone = [await ask(number) for number in range(4)]
            assert await asyncio.gather(*(ask(number) for number in range(4))) == alone

    asyncio.run(run())

"""The official SDK, unmodified: one conversation in every way that it knows."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from typing import Any

import jsonschema
import pytest
from openai import AsyncOpenAI, OpenAI

from .asking import COLOURS, FORMAT, LAST, LOOK, SCHEMA

Ask = Callable[[dict[str, Any]], Awaitable[Any]]

# Of the client that the SDK is built on.
pytestmark = pytest.mark.filterwarnings("ignore:connect.. must be used:DeprecationWarning")


async def converse(ask: Ask, *, stores: bool) -> list[Any]:
    """Text, thoughts and a structured answer, a call and its result, each behind the one before."""
    settings: dict[str, Any] = {"temperature": 0, "store": stores, "instructions": "Be kind."}
    call = {"tools": [LOOK], "tool_choice": "required", "parallel_tool_calls": False}
    told: list[Any] = []

    async def go_on(**body: Any) -> Any:
        previous = {"previous_response_id": told[-1].id} if told else {}
        told.append(await ask(settings | previous | body))
        return told[-1]

    await go_on(model="tiny", input="hello", max_output_tokens=16)
    budget = {"reasoning": {"max_tokens": 12}}
    await go_on(model="thinking", input="a colour?", text=FORMAT, extra_body=budget)
    calling = await go_on(model="tiny", input="look!", max_output_tokens=300, **call)
    output = {"type": "function_call_output", "call_id": calling.output[0].call_id}
    result = [output | {"output": "blue"}]
    await go_on(model="tiny", input=result, tools=[LOOK], max_output_tokens=16)
    return told


def check(told: list[Any]) -> None:
    text, thought, called, result = told
    assert text.status == "incomplete" and text.output_text
    assert [item.type for item in thought.output] == ["reasoning", "message"]
    assert thought.output[0].content[0].text
    answer = json.loads(thought.output_text)
    jsonschema.validate(answer, SCHEMA)
    assert answer["colour"] in COLOURS and thought.status == "completed"
    assert thought.usage.output_tokens_details.reasoning_tokens >= 12
    (call,) = called.output
    assert call.name == "look" and json.loads(call.arguments)["at"] in ("sky", "sea")
    assert result.usage.input_tokens > called.usage.input_tokens


def over_http(client: OpenAI) -> Ask:
    async def ask(body: dict[str, Any]) -> Any:
        create: Callable[..., Any] = client.responses.create
        return await asyncio.to_thread(create, **body)

    return ask


def as_a_stream(client: OpenAI) -> Ask:
    def read(body: dict[str, Any]) -> Any:
        told: Any = None
        for event in client.responses.create(**body, stream=True):
            told = event
        assert told.type in LAST
        return told.response

    async def ask(body: dict[str, Any]) -> Any:
        return await asyncio.to_thread(read, body)

    return ask


def as_an_async_stream(client: AsyncOpenAI) -> Ask:
    async def ask(body: dict[str, Any]) -> Any:
        told: Any = None
        async for event in await client.responses.create(**body, stream=True):
            told = event
        assert told.type in LAST
        return told.response

    return ask


def flat(body: dict[str, Any]) -> dict[str, Any]:
    """On a socket a message is the body."""
    extra = body.pop("extra_body", {})
    return {"type": "response.create", **body, **extra}


async def test_every_way_comes_to_the_same(client: OpenAI, async_client: AsyncOpenAI) -> None:
    ways: list[list[Any]] = [
        await converse(over_http(client), stores=True),
        await converse(as_a_stream(client), stores=True),
        await converse(as_an_async_stream(async_client), stores=True),
    ]
    with client.responses.connect() as connection:

        def talk(body: dict[str, Any]) -> Any:
            connection.send(flat(body))  # type: ignore[arg-type]
            for event in connection:
                assert event.type != "error", event
                if event.type in LAST:
                    return event.response  # type: ignore[union-attr]

        async def ask(body: dict[str, Any]) -> Any:
            return await asyncio.to_thread(talk, body)

        ways.append(await converse(ask, stores=False))
    async with async_client.responses.connect() as async_connection:

        async def ask_async(body: dict[str, Any]) -> Any:
            await async_connection.send(flat(body))  # type: ignore[arg-type]
            async for event in async_connection:
                assert event.type != "error", event
                if event.type in LAST:
                    return event.response  # type: ignore[union-attr]

        ways.append(await converse(ask_async, stores=False))
    for told in ways:
        check(told)
        said = [[item.to_dict() for item in response.output] for response in told]
        first = [[item.to_dict() for item in response.output] for response in ways[0]]
        for items in (said, first):
            for item in (item for output in items for item in output):
                del item["id"]
                item.pop("call_id", None)
        assert said == first

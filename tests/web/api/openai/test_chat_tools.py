"""Tests of tools in chats, by the official SDK: what is enforced holds for random weights too."""

import json
from collections.abc import Iterator
from typing import Any

import jsonschema
import pytest
from openai import OpenAI, pydantic_function_tool
from pydantic import BaseModel, Field

from tests.serving import KEY, ServerProcess

ASK: list[Any] = [{"role": "user", "content": "How is the weather in Rome?"}]


def function(name: str, **properties: Any) -> Any:
    parameters = {
        "type": "object",
        "properties": properties,
        "required": list(properties),
        "additionalProperties": False,
    }
    told = {"name": name, "description": f"Does {name}.", "parameters": parameters}
    return {"type": "function", "function": told}


TOOLS = [
    function("weather", city={"enum": ["Rome", "Oslo"]}, days={"type": "integer", "maximum": 9}),
    function("time", zone={"type": "string", "maxLength": 5}),
]
SCHEMAS = {tool["function"]["name"]: tool["function"]["parameters"] for tool in TOOLS}
SETTINGS: dict[str, Any] = {
    "model": "tiny",
    "messages": ASK,
    "tools": TOOLS,
    "tool_choice": "required",
    "parallel_tool_calls": False,
    "max_tokens": 800,
    "seed": 3,
}


@pytest.fixture
def client(server: ServerProcess) -> Iterator[OpenAI]:
    with OpenAI(base_url=server.url + "/v1", api_key=KEY, max_retries=0) as client:
        yield client


def check(calls: Any) -> None:
    """Each names a function and validates; no two have the same id."""
    assert calls
    for call in calls:
        assert call.type == "function" and call.id.startswith("call_")
        jsonschema.validate(json.loads(call.function.arguments), SCHEMAS[call.function.name])
    assert len({call.id for call in calls}) == len(calls)


@pytest.mark.parametrize("seed", range(5))
def test_a_call_is_required(client: OpenAI, seed: int) -> None:
    """Whole and streamed it is the same one call, and nothing is said."""
    settings = SETTINGS | {"seed": seed}
    answer = client.chat.completions.create(**settings).choices[0]
    assert answer.finish_reason == "tool_calls" and answer.message.content is None
    check(answer.message.tool_calls)
    assert len(answer.message.tool_calls or ()) == 1
    with client.chat.completions.stream(**settings) as stream:
        streamed = stream.get_final_completion().choices[0]
    assert streamed.finish_reason == "tool_calls"
    check(streamed.message.tool_calls)
    told = [
        [(call.function.name, call.function.arguments) for call in choice.message.tool_calls or ()]
        for choice in (answer, streamed)
    ]
    assert told[0] == told[1]


def test_deltas_to_the_field(client: OpenAI) -> None:
    """Index in each; id, type and name in the first only; the arguments come piece by piece."""
    deltas = [
        call
        for chunk in client.chat.completions.create(stream=True, **SETTINGS)
        for call in chunk.choices[0].delta.tool_calls or ()
    ]
    first, *rest = deltas
    assert first.id and first.type == "function" and first.function and first.function.name
    assert len(rest) > 1
    for call in rest:
        assert call.index == 0 and call.id is None and call.type is None
        assert call.function and call.function.name is None and call.function.arguments


@pytest.mark.parametrize("name", SCHEMAS)
def test_a_named_function(client: OpenAI, name: str) -> None:
    choice: Any = {"type": "function", "function": {"name": name}}
    for seed in range(3):
        settings = SETTINGS | {"tool_choice": choice, "seed": seed}
        calls = client.chat.completions.create(**settings).choices[0].message.tool_calls
        check(calls)
        assert {call.function.name for call in calls or () if call.type == "function"} == {name}


def test_allowed_functions(client: OpenAI) -> None:
    """Of all that are sent, some may be called."""
    named = {"type": "function", "function": {"name": "time"}}
    choice: Any = {"type": "allowed_tools", "allowed_tools": {"mode": "required", "tools": [named]}}
    calls = client.chat.completions.create(**SETTINGS | {"tool_choice": choice}).choices[0]
    check(calls.message.tool_calls)


def test_several_calls_have_their_own_ids(client: OpenAI) -> None:
    """Random weights call more than once for some seed of these."""
    numbers = []
    for seed in range(4):
        settings = SETTINGS | {"parallel_tool_calls": True, "seed": seed, "max_tokens": 2000}
        choice = client.chat.completions.create(**settings).choices[0]
        if choice.finish_reason == "tool_calls":
            check(choice.message.tool_calls)
            numbers.append(len(choice.message.tool_calls or ()))
    assert numbers


def test_none_calls_nothing(client: OpenAI) -> None:
    """And what would look like a call is text."""
    settings = SETTINGS | {"tool_choice": "none", "max_tokens": 30}
    answer = client.chat.completions.create(**settings).choices[0]
    assert answer.message.tool_calls is None and answer.message.content


def test_results_go_back(client: OpenAI) -> None:
    """The SDK's own objects, as they came; a result of nobody's call is refused."""
    message = client.chat.completions.create(**SETTINGS).choices[0].message
    (call,) = message.tool_calls or [None]
    assert call is not None
    result: Any = {"role": "tool", "tool_call_id": call.id, "content": "Sunny."}
    history: Any = [*ASK, message, result]
    answer = client.chat.completions.create(
        model="tiny", messages=history, max_tokens=5, tools=TOOLS
    )
    assert answer.usage and answer.usage.prompt_tokens > 0


def test_parsed_arguments(client: OpenAI) -> None:
    """The SDK's helper for functions that are pydantic's models, which are strict."""

    class Weather(BaseModel):
        """Tells the weather."""

        city: str = Field(max_length=4)
        days: int = Field(ge=0, le=9)

    completion = client.chat.completions.parse(
        **SETTINGS | {"tools": [pydantic_function_tool(Weather)]}
    )
    (call,) = list(completion.choices[0].message.tool_calls or ())
    assert isinstance(call.function.parsed_arguments, Weather)


def test_each_of_several_answers_calls(client: OpenAI) -> None:
    settings = SETTINGS | {"n": 3}
    choices = client.chat.completions.create(**settings).choices
    assert [choice.index for choice in choices] == [0, 1, 2]
    for choice in choices:
        check(choice.message.tool_calls)
    ids = [call.id for choice in choices for call in choice.message.tool_calls or ()]
    assert len(set(ids)) == len(ids)

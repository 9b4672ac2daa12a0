"""Tests of tools on the starter, the real SmolLM2-135M: every call parses, names a function that
there is, and validates. Its weights are fetched by name.

Of fifty questions two are asked, for on a CPU that has no fast product of packed weights one takes
half a minute: MLX_EDGE_AGENTS=1 asks all.
"""

import asyncio
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from anthropic import Anthropic
from anthropic.types import ToolUseBlock
from openai import AsyncOpenAI

from tests.models import smollm2
from tests.serving import KEY, ServerProcess

pytestmark = pytest.mark.slow

CITIES = "Rome Oslo Lima Cairo Tokyo Quito Berlin Dakar Perth Boston".split()
QUESTIONS = [
    question.format(city)
    for city in CITIES
    for question in (
        "What is the weather in {}?",
        "How late is it in {} now?",
        "Book me a table for four in {} tonight.",
        "Will I need an umbrella in {} for the next three days?",
        "Remind me to call {} at noon.",
    )
]

ASKED = QUESTIONS if os.environ.get("MLX_EDGE_AGENTS") == "1" else QUESTIONS[::25]


def function(name: str, required: list[str], **properties: Any) -> Any:
    schema: dict[str, Any] = {"type": "object", "properties": properties, "required": required}
    schema["additionalProperties"] = False
    told = {"name": name, "description": f"{name} of a place.", "parameters": schema}
    return {"type": "function", "function": told}


PLACE = {"type": "string", "maxLength": 30}
TOOLS = [
    function("weather", ["city"], city=PLACE, days={"type": "integer", "minimum": 1, "maximum": 9}),
    function("local_time", ["city"], city=PLACE, format={"enum": ["12h", "24h"]}),
    function(
        "book",
        ["city", "guests"],
        city=PLACE,
        guests={"type": "integer", "minimum": 1, "maximum": 20},
        outside={"type": "boolean"},
    ),
]
SCHEMAS = {tool["function"]["name"]: tool["function"]["parameters"] for tool in TOOLS}


@pytest.fixture(scope="module")
def starter(smollm2_home: Path) -> Iterator[ServerProcess]:
    with ServerProcess(smollm2_home) as process:
        yield process


def check(call: Any) -> str:
    """Returns the name of the function."""
    name: str = call.function.name
    jsonschema.validate(json.loads(call.function.arguments), SCHEMAS[name])
    return name


@pytest.mark.parametrize(("named", "questions"), [(None, ASKED[::2]), ("book", ASKED[1::2])])
async def test_what_is_called(
    starter: ServerProcess, named: str | None, questions: list[str]
) -> None:
    choice: Any = "required"
    if named is not None:
        choice = {"type": "function", "function": {"name": named}}
    async with AsyncOpenAI(base_url=starter.url + "/v1", api_key=KEY, timeout=600) as client:
        places = asyncio.Semaphore(16)

        async def ask(question: str) -> Any:
            async with places:
                return await client.chat.completions.create(
                    model=smollm2.MODEL_ID,
                    messages=[{"role": "user", "content": question}],
                    tools=TOOLS,
                    tool_choice=choice,
                    parallel_tool_calls=False,
                    max_tokens=200,
                    temperature=0,
                )

        answers = await asyncio.gather(*map(ask, questions))
    names = set()
    for answer in answers:
        assert answer.choices[0].finish_reason == "tool_calls"
        (call,) = answer.choices[0].message.tool_calls
        names.add(check(call))
    assert names == {named} if named else names


def test_a_forced_call_goes_round(starter: ServerProcess) -> None:
    """As an agent asks for it, in Anthropic's words: called, run, told, answered."""
    tools: list[Any] = [
        {"name": name, "description": f"{name} of a place.", "input_schema": schema}
        for name, schema in SCHEMAS.items()
    ]
    settings: dict[str, Any] = {
        "model": smollm2.MODEL_ID,
        "max_tokens": 200,
        "system": "You help with travel. Call a function, then answer in a sentence.",
        "tools": tools,
        "extra_body": {"temperature": 0},
    }
    messages: list[Any] = [{"role": "user", "content": "What is the weather in Rome?"}]
    with Anthropic(base_url=starter.url, api_key=KEY, timeout=600) as client:
        choice: Any = {"type": "any", "disable_parallel_tool_use": True}
        called = client.messages.create(**settings, messages=messages, tool_choice=choice)
        (call,) = [block for block in called.content if isinstance(block, ToolUseBlock)]
        jsonschema.validate(call.input, SCHEMAS[call.name])
        result = {"type": "tool_result", "tool_use_id": call.id, "content": "Sunny, 24 degrees."}
        messages += [
            {"role": "assistant", "content": [call.model_dump(exclude_none=True)]},
            {"role": "user", "content": [result]},
        ]
        said = client.messages.create(**settings | {"tools": tools}, messages=messages)
    assert said.content and said.usage.input_tokens > called.usage.input_tokens

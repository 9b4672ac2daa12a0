"""An agent that chooses its tools in plain words, since the starter model was taught no calls.

It describes them in the system message, reads a line `TOOL: name {...}`, runs the tool, and asks
again with its result. A call that `tools` require is enforced.
"""

import json
import re
from collections.abc import Callable
from typing import Any

import pytest
from openai import OpenAI

from registry.hub.catalog import STARTER_ID

pytestmark = pytest.mark.slow

SYSTEM = "Use a tool when one helps: clock(city) or calculator(expression)."
EXAMPLE = [
    {"role": "user", "content": "What time is it in Rome?"},
    {"role": "assistant", "content": 'TOOL: clock {"city": "Rome"}'},
    {"role": "user", "content": "RESULT: 09:15"},
    {"role": "assistant", "content": "It is 09:15 in Rome."},
]
LINE = re.compile(r"TOOL: (\w+) (\{.*\})")
CLOCK = {
    "type": "function",
    "function": {
        "name": "clock",
        "description": "The time in a city.",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}},
    },
}
OSLO = "What time is it in Oslo?"
Tool = Callable[..., str]


def complete(client: OpenAI, messages: list[Any], **fields: Any) -> Any:
    settings = {"temperature": 0, "max_tokens": 24} | fields
    return client.chat.completions.create(model=STARTER_ID, messages=messages, **settings)


def run(client: OpenAI, question: str, tools: dict[str, Tool]) -> list[Any]:
    """The conversation up to the first answer that calls nothing, at most three rounds."""
    messages = [{"role": "system", "content": SYSTEM}, *EXAMPLE]
    messages.append({"role": "user", "content": question})
    for _ in range(3):
        said = complete(client, messages).choices[0].message.content or ""
        messages.append({"role": "assistant", "content": said})
        if (call := LINE.search(said)) is None:
            break
        result = tools[call[1]](**json.loads(call[2]))
        messages.append({"role": "user", "content": f"RESULT: {result}"})
    return messages[1 + len(EXAMPLE) :]


def test_a_tool_is_chosen_run_and_answered_from(client: OpenAI) -> None:
    """The call in the form that was shown, with the city asked for; then its result in words."""
    asked: list[str] = []

    def clock(city: str) -> str:
        asked.append(city)
        return "14:30"

    conversation = run(client, OSLO, {"clock": clock})
    assert asked == ["Oslo"]
    assert [message["role"] for message in conversation] == ["user", "assistant"] * 2
    assert "14:30" in conversation[-1]["content"]


def test_native_tools_are_called(client: OpenAI) -> None:
    """By a template that knows none of them, where a call is required."""
    messages = [{"role": "user", "content": OSLO}]
    answer = complete(client, messages, tools=[CLOCK], tool_choice="required", max_tokens=200)
    function = answer.choices[0].message.tool_calls[0].function
    assert function.name == "clock" and isinstance(json.loads(function.arguments), dict)


@pytest.mark.parametrize("content", [None, ""])
def test_a_history_with_calls_is_answered(client: OpenAI, content: str | None) -> None:
    """Calls with their arguments in a string, results in the role `tool`, by a template without."""
    function = {"name": "clock", "arguments": '{"city":"Oslo"}'}
    call = {"id": "tool_0", "type": "function", "function": function}
    history = [
        {"role": "system", "content": SYSTEM},
        {"role": "user", "content": OSLO},
        {"role": "assistant", "content": content, "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "tool_0", "content": "It is 14:30 in Oslo."},
    ]
    answer = complete(client, history, max_tokens=4)
    assert answer.choices[0].message.content
    shorter = complete(client, history[:2], max_tokens=1)
    assert shorter.usage.prompt_tokens < answer.usage.prompt_tokens


def test_the_answer_object_of_the_sdk_goes_back_as_it_is(client: OpenAI) -> None:
    """With `tool_calls`, `refusal`, `audio` and whatever else it has, all null."""
    messages: list[Any] = [{"role": "user", "content": "Hello."}]
    messages.append(complete(client, messages, max_tokens=2).choices[0].message)
    messages.append({"role": "user", "content": "And?"})
    assert complete(client, messages, max_tokens=2).choices[0].message.content

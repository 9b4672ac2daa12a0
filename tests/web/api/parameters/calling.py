"""What shows that functions are called, or not."""

import re
from typing import Any

from .asked_apis import Api, Messages, Responses
from .drawing import EOS

_PARAMETERS = {
    "type": "object",
    "properties": {"is_on": {"type": "boolean"}},
    "required": ["is_on"],
    "additionalProperties": False,
}
NAMES = ("lamp", "heater")
SHOUT: dict[str, Any] = {
    "type": "custom",
    "name": "shout",
    "format": {"type": "grammar", "syntax": "regex", "definition": "[a-c]{3}"},
}


def functions(api: Api) -> list[dict[str, Any]]:
    """Two, in the words of the API."""
    if isinstance(api, Messages):
        return [{"name": name, "input_schema": _PARAMETERS} for name in NAMES]
    told = [{"name": name, "parameters": _PARAMETERS} for name in NAMES]
    if isinstance(api, Responses):
        return [{"type": "function"} | function for function in told]
    return [{"type": "function", "function": function} for function in told]


def _called(api: Api, wish: float = 100, **fields: Any) -> list[str]:
    """The functions of an answer's calls, whose arguments are what they have to be.

    With that wish to end the answer, which is heard where it may end.
    """
    bias = {"logit_bias": {str(EOS): wish}}
    reply = api.ask(model="plain", max_tokens=400, tools=functions(api), **bias, **fields)
    for name, arguments in reply.calls:
        assert name in NAMES and isinstance(arguments.pop("is_on"), bool) and not arguments
    assert reply.reason == api.ending["call"] or wish < 0
    return [name for name, _ in reply.calls]


def tools(api: Api) -> None:
    assert api.ask(tools=functions(api)).num_prompt_tokens > api.ask().num_prompt_tokens
    assert _called(api, tool_choice={"type": "any"} if isinstance(api, Messages) else "required")


def response_tools(api: Api) -> None:
    """Custom ones too; what a service runs is left out, or refused."""
    tools(api)
    offered = [*functions(api), {"type": "web_search"}, {"type": "image_generation"}]
    told = api.ask(tools=offered)
    assert [tool["name"] for tool in told.body["tools"]] == [*NAMES]
    assert told.content() == api.ask(tools=functions(api)).content()
    ends = {"logit_bias": {str(EOS): 100}, "max_tokens": 400}
    choice = {"type": "custom", "name": SHOUT["name"]}
    calls = api.ask(model="plain", **ends, tools=[SHOUT], tool_choice=choice).calls
    assert calls and {name for name, _ in calls} == {SHOUT["name"]}
    assert all(re.fullmatch("[a-c]{3}", text) for _, text in calls)
    lark = {"type": "grammar", "syntax": "lark", "definition": 'start: "a"'}
    api.refused(tools=[SHOUT | {"format": lark}])
    api.refused(tools=[{"type": "mcp", "server_label": "x", "server_url": "http://x"}])


def tool_choice(api: Api) -> None:
    is_flat = isinstance(api, Responses)
    for name in NAMES:
        named = {"name": name}
        asked = {"type": "function"} | (named if is_flat else {"function": named})
        assert set(_called(api, tool_choice=asked)) == {name}
        allowed = {"mode": "required", "tools": [asked]}
        choice = {"type": "allowed_tools"} | (allowed if is_flat else {"allowed_tools": allowed})
        assert set(_called(api, tool_choice=choice)) == {name}
    assert set(_called(api, tool_choice="required")) <= set(NAMES)
    api.ask(tools=functions(api), tool_choice="auto")
    assert not api.ask(tools=functions(api), tool_choice="none").calls
    api.refused(tools=functions(api), tool_choice="oven")
    api.refused(tool_choice="required")  # of no tools


def message_tool_choice(api: Api) -> None:
    for name in NAMES:
        assert set(_called(api, tool_choice={"type": "tool", "name": name})) == {name}
    assert set(_called(api, tool_choice={"type": "any"})) <= set(NAMES)
    for is_one in (True, False):
        choice = {"type": "any", "disable_parallel_tool_use": is_one}
        assert (len(_called(api, -100, tool_choice=choice)) == 1) == is_one
    assert not api.ask(tools=functions(api), tool_choice={"type": "none"}).calls
    api.ask(tools=functions(api), tool_choice={"type": "auto"})
    api.refused(tools=functions(api), tool_choice={"type": "tool", "name": "oven"})


def parallel_tool_calls(api: Api) -> None:
    """One call at most, whatever the model wishes."""
    for is_parallel in (True, False):
        names = _called(api, -100, tool_choice="required", parallel_tool_calls=is_parallel)
        assert (len(names) > 1) == is_parallel

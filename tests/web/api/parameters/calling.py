"""What shows that functions are called, or not."""

from typing import Any

from .asked_apis import Api, Messages
from .drawing import EOS

_PARAMETERS = {
    "type": "object",
    "properties": {"is_on": {"type": "boolean"}},
    "required": ["is_on"],
    "additionalProperties": False,
}
NAMES = ("lamp", "heater")


def functions(api: Api) -> list[dict[str, Any]]:
    """Two, in the words of the API."""
    if isinstance(api, Messages):
        return [{"name": name, "input_schema": _PARAMETERS} for name in NAMES]
    told = [{"name": name, "parameters": _PARAMETERS} for name in NAMES]
    return [{"type": "function", "function": function} for function in told]


def _called(api: Api, wish: float = 100, **fields: Any) -> list[str]:
    """The functions of an answer's calls, whose arguments are what they have to be.

    With that wish to end the answer, which is heard where it may end.
    """
    bias = {"logit_bias": {str(EOS): wish}}
    reply = api.ask(model="plain", max_tokens=400, tools=functions(api), **bias, **fields)
    for name, arguments in reply.calls:
        assert name in NAMES and isinstance(arguments.pop("is_on"), bool) and not arguments
    assert reply.reason in ("tool_calls", "tool_use") or wish < 0
    return [name for name, _ in reply.calls]


def tools(api: Api) -> None:
    assert api.ask(tools=functions(api)).num_prompt_tokens > api.ask().num_prompt_tokens
    assert _called(api, tool_choice={"type": "any"} if isinstance(api, Messages) else "required")


def tool_choice(api: Api) -> None:
    for name in NAMES:
        asked = {"type": "function", "function": {"name": name}}
        assert set(_called(api, tool_choice=asked)) == {name}
        allowed = {"mode": "required", "tools": [asked]}
        choice = {"type": "allowed_tools", "allowed_tools": allowed}
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

"""The functions of a chat request, and which of them is to be called: `tools`, `tool_choice`."""

from typing import Any, Literal

import msgspec

from runtime.requests import Tool, ToolUse
from web.api.functions import check_functions, parameters_of
from web.errors import ApiError


class FunctionDefinition(msgspec.Struct):
    """A function as clients send it."""

    name: str
    description: str | None = None
    parameters: dict[str, Any] | None = None
    strict: bool | None = None


class ToolDefinition(msgspec.Struct):
    """A tool; of OpenAI's kinds a model here can call functions."""

    type: str
    function: FunctionDefinition | None = None


class _Named(msgspec.Struct):
    name: str


class _Choice(msgspec.Struct):
    """One function; in the words of chats, or as of the Responses API."""

    type: Literal["function", "allowed_tools"]
    function: _Named | None = None
    name: str | None = None
    allowed_tools: "_Allowed | None" = None


class _Allowed(msgspec.Struct):
    mode: Literal["auto", "required"]
    tools: list[_Choice]


def tool_use_of(
    tools: list[ToolDefinition] | None, choice: str | dict[str, Any] | None, parallel: bool | None
) -> ToolUse:
    """Raises ApiError that names what cannot be honoured."""
    functions = tuple(_function(number, tool) for number, tool in enumerate(tools or ()))
    return tool_use(functions, choice, parallel)


def tool_use(
    functions: tuple[Tool, ...], choice: str | dict[str, Any] | None, parallel: bool | None
) -> ToolUse:
    """The same of functions that were read."""
    check_functions(functions)
    use = ToolUse(functions, is_parallel=parallel is not False)
    match choice:
        case None | "auto":
            return use
        case "none":
            return msgspec.structs.replace(use, choice="none")
        case "required" | "any":
            _check_known((), functions)
            return msgspec.structs.replace(use, choice="required")
        case str():
            raise _wrong_choice(f"is {choice[:100]!r}; it may be none, auto, required or a tool")
    sent = _choice(choice)
    if sent.allowed_tools is None:
        name = _name(sent)
        _check_known((name,), functions)
        return msgspec.structs.replace(use, choice="required", name=name)
    names = tuple(_name(tool) for tool in sent.allowed_tools.tools)
    _check_known(names, functions)
    allowed = tuple(tool for tool in functions if tool.name in names)
    return msgspec.structs.replace(use, tools=allowed, choice=sent.allowed_tools.mode)


def _choice(sent: dict[str, Any]) -> _Choice:
    try:
        choice = msgspec.convert(sent, _Choice)
    except msgspec.ValidationError as error:
        raise _wrong_choice(f"is not understood: {error}") from None
    if choice.type == "allowed_tools" and not (choice.allowed_tools and choice.allowed_tools.tools):
        raise _wrong_choice("allows no tools")
    return choice


def _check_known(names: tuple[str, ...], functions: tuple[Tool, ...]) -> None:
    if not functions:
        raise _wrong_choice("asks for a call, but there are no tools")
    known = {tool.name for tool in functions}
    for name in names:
        if name not in known:
            raise _wrong_choice(f"names {name[:100]!r}, which is none of the tools")


def _name(choice: _Choice) -> str:
    name = choice.function.name if choice.function is not None else choice.name
    if name is None:
        raise _wrong_choice("names no function")
    return name


def _function(number: int, tool: ToolDefinition) -> Tool:
    if tool.type != "function":
        raise _wrong(f"has one of the type {tool.type[:100]!r} at {number}; it may be function")
    if tool.function is None:
        raise _wrong(f"has no 'function' at {number}")
    function = tool.function
    whose = f"'tools' has {function.name[:100]!r}, whose parameters"
    parameters = parameters_of(function.parameters, whose)
    return Tool(function.name, function.description, parameters, bool(function.strict))


def _wrong(what: str) -> ApiError:
    return ApiError(400, f"'tools' {what}.", param="tools")


def _wrong_choice(what: str) -> ApiError:
    return ApiError(400, f"'tool_choice' {what}.", param="tool_choice")

"""The tools of a Responses request: functions, and custom ones, which take a text.

To a model a custom tool is a function with one argument, and one of a namespace has that before its
name. Tools that OpenAI's service runs beside the model are not here. Those that agents offer by the
way are left out, and `tools` of the response shows what is in effect; a request for any other is
refused, since its user counts on it.
"""

import re
from dataclasses import dataclass
from typing import Any, Literal

import msgspec

from registry.checkpoint.config import Json
from runtime.requests import Tool, ToolUse
from web.api.functions import MAX_TOOLS, parameters_of
from web.api.openai.tools import tool_use
from web.errors import ApiError

from .items import CUSTOM_INPUT

# With the versions that some have behind them, as in web_search_2025_08_26.
_LEFT_OUT = re.compile(r"(web_search|web_search_preview|image_generation)(_\d{4}(_\d\d)*)?")


class Format(msgspec.Struct):
    """What the input of a custom tool has to be."""

    type: Literal["text", "grammar"] = "text"
    syntax: Literal["lark", "regex"] | None = None
    definition: str | None = None


class ToolDefinition(msgspec.Struct):
    """A tool as clients send it, of any type."""

    type: str
    name: str | None = None
    description: str | None = None
    parameters: dict[str, Any] | None = None
    strict: bool | None = None
    format: Format | None = None
    tools: "list[ToolDefinition] | None" = None  # of a namespace


@dataclass(frozen=True, slots=True)
class Callee:
    """What a client knows a function of the model by."""

    name: str
    namespace: str | None = None
    is_custom: bool = False


class Tools:
    """Raises ApiError that names what cannot be honoured."""

    def __init__(
        self,
        sent: list[ToolDefinition] | None,
        choice: str | dict[str, Any] | None,
        is_parallel: bool | None,
    ) -> None:
        self.callees: dict[str, Callee] = {}  # by the name that the model calls
        self.told: list[Json] = []
        functions: list[Tool] = []
        for number, tool in enumerate(sent or ()):
            if _LEFT_OUT.fullmatch(tool.type):
                continue
            self.told.append(_told(tool))
            if tool.type == "namespace":
                functions += self._spread(number, tool)
            else:
                functions.append(self._function(number, tool))
        if len(functions) > MAX_TOOLS:
            raise _wrong(f"has {len(functions)} functions; it may have {MAX_TOOLS}")
        self.use: ToolUse = tool_use(tuple(functions), _choice(choice), is_parallel)

    def _spread(self, number: int, space: ToolDefinition) -> list[Tool]:
        """The tools of a namespace; what it is for is said with the first."""
        if space.name is None or not space.tools:
            raise _wrong(f"has a namespace without 'name' or 'tools' at {number}")
        inner = [self._function(number, tool, space.name) for tool in space.tools]
        said = filter(None, (space.description, inner[0].description))
        first = msgspec.structs.replace(inner[0], description="\n\n".join(said) or None)
        return [first, *inner[1:]]

    def _function(self, number: int, tool: ToolDefinition, namespace: str | None = None) -> Tool:
        function = _function(number, tool, namespace)
        name = tool.name or ""
        self.callees[function.name] = Callee(name, namespace, tool.type == "custom")
        return function


def full_name(name: str, namespace: str | None) -> str:
    """What a model calls a function by."""
    return name if namespace is None else f"{namespace}.{name}"


def _function(number: int, tool: ToolDefinition, namespace: str | None) -> Tool:
    if tool.type not in ("function", "custom"):
        raise _wrong(
            f"has one of the type {tool.type[:100]!r} at {number}, which needs a service that is "
            "not here; it may be function, custom or namespace"
        )
    if tool.name is None:
        raise _wrong(f"has no 'name' at {number}")
    name = full_name(tool.name, namespace)
    if tool.type == "custom":
        return _custom(name, tool)
    whose = f"'tools' has {name[:100]!r}, whose parameters"
    parameters = parameters_of(tool.parameters, whose)
    return Tool(name, tool.description, parameters, bool(tool.strict))


def _custom(name: str, tool: ToolDefinition) -> Tool:
    """A pattern is enforced; what a grammar allows cannot be said of a text within JSON."""
    text: dict[str, Json] = {"type": "string"}
    form = tool.format or Format()
    if form.type == "grammar":
        if form.syntax != "regex" or not form.definition:
            raise _wrong(
                f"has {name[:100]!r}, whose format is a grammar of the syntax {form.syntax!r}: "
                "it could not be enforced here. Send the syntax regex, or the type text"
            )
        text["pattern"] = f"^(?:{form.definition})$"
    parameters: dict[str, Json] = {
        "type": "object",
        "properties": {CUSTOM_INPUT: text},
        "required": [CUSTOM_INPUT],
        "additionalProperties": False,
    }
    return Tool(name, tool.description, parameters, form.type == "grammar")


def _choice(sent: str | dict[str, Any] | None) -> str | dict[str, Any] | None:
    """In the words of chats."""
    if not isinstance(sent, dict):
        return sent
    match sent.get("type"):
        case "function" | "custom":
            name, namespace = sent.get("name"), sent.get("namespace")
            if isinstance(name, str) and isinstance(namespace, str):
                name = full_name(name, namespace)
            return {**sent, "type": "function", "name": name}
        case "allowed_tools" if "allowed_tools" not in sent:
            tools = sent.get("tools")
            if isinstance(tools, list):
                tools = [_choice(tool) for tool in tools]
            allowed = {"mode": sent.get("mode", "auto"), "tools": tools}
            return {"type": "allowed_tools", "allowed_tools": allowed}
    return sent


def _told(tool: ToolDefinition) -> dict[str, Json]:
    """With all the keys that the API shows of it."""
    told: dict[str, Json] = {
        "type": tool.type, "name": tool.name, "description": tool.description
    }  # fmt: skip
    if tool.type == "namespace":
        return told | {"tools": [_told(inner) for inner in tool.tools or ()]}
    if tool.type == "custom":
        form = tool.format or Format()
        return told | {"format": msgspec.to_builtins(_without_null(form))}
    return told | {"parameters": tool.parameters, "strict": bool(tool.strict)}


def _without_null(form: Format) -> dict[str, Json]:
    return {name: value for name, value in msgspec.structs.asdict(form).items() if value}


def _wrong(what: str) -> ApiError:
    return ApiError(400, f"'tools' {what}.", param="tools")

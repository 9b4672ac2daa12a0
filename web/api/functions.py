"""Functions that a model may call: what every API checks of them."""

import re

from registry.checkpoint.config import Json
from runtime.requests import Tool
from web.errors import ApiError

MAX_TOOLS = 1000  # as many as a grammar of calls may have
# OpenAI takes letters, digits, - and _; names of MCP's servers have dots, slashes and colons too.
_NAME = re.compile(r"[a-zA-Z0-9_.:/-]{1,128}")


def check_functions(functions: tuple[Tool, ...]) -> None:
    """Raises ApiError for names that are none, or that no model can tell apart."""
    seen: set[str] = set()
    for number, tool in enumerate(functions):
        if not _NAME.fullmatch(tool.name):
            raise _wrong(
                f"has {tool.name[:100]!r} at {number}, which is no name of a function: send 1 to "
                "128 of A-Z a-z 0-9 _ - . : /"
            )
        if tool.name in seen:
            raise _wrong(f"has two functions of the name {tool.name!r}")
        seen.add(tool.name)


def parameters_of(schema: dict[str, Json] | None, whose: str) -> dict[str, Json]:
    """The schema of a function's arguments, which are an object; without one, an empty object."""
    schema = schema or {}
    if schema.get("type", "object") != "object":
        raise ApiError(400, f"{whose} are not of the type object.", param="tools")
    empty: dict[str, Json] = {"type": "object", "properties": {}}
    return empty | schema


def _wrong(what: str) -> ApiError:
    return ApiError(400, f"'tools' {what}.", param="tools")

"""Tests of responses.tools: what a model may call, and what the response shows of it."""

from typing import Any

import msgspec
import pytest

from web.api.openai.responses.tools import Callee, ToolDefinition, Tools
from web.errors import ApiError

LOOK = {"type": "function", "name": "look", "parameters": {"type": "object", "properties": {}}}
RUN = {"type": "custom", "name": "run", "description": "runs it"}


def tools(*sent: dict[str, Any], choice: Any = None) -> Tools:
    return Tools(msgspec.convert(list(sent), list[ToolDefinition]), choice, None)


def test_functions_and_custom_tools() -> None:
    both = tools(LOOK | {"strict": True}, RUN)
    look, run = both.use.tools
    assert (look.name, look.strict) == ("look", True)
    assert both.callees == {"look": Callee("look"), "run": Callee("run", is_custom=True)}
    assert run.description == "runs it"
    assert run.parameters["properties"] == {"input": {"type": "string"}}
    assert both.told == [
        {**LOOK, "description": None, "strict": True},
        {**RUN, "format": {"type": "text"}},
    ]


def test_strict_is_told_where_nobody_said_it() -> None:
    """With all keys that clients read."""
    assert tools({"type": "function", "name": "x"}).told == [
        {"type": "function", "name": "x", "description": None, "parameters": None, "strict": False}
    ]


def test_a_pattern_is_enforced() -> None:
    form = {"type": "grammar", "syntax": "regex", "definition": "a|b"}
    run = tools(RUN | {"format": form})
    assert run.use.tools[0].strict
    properties = run.use.tools[0].parameters["properties"]
    assert properties == {"input": {"type": "string", "pattern": "^(?:a|b)$"}}
    assert run.told == [{**RUN, "format": form}]


def test_a_namespace_stands_before_the_names_of_its_tools() -> None:
    """As agents send their own; what it is for is said once."""
    space = {"type": "namespace", "name": "agents", "description": "Others.", "tools": [LOOK, RUN]}
    spread = tools(LOOK, space, choice={"type": "custom", "name": "run", "namespace": "agents"})
    assert [tool.name for tool in spread.use.tools] == ["look", "agents.look", "agents.run"]
    assert spread.use.name == "agents.run"
    assert spread.callees["agents.run"] == Callee("run", "agents", is_custom=True)
    assert [tool.description for tool in spread.use.tools] == [None, "Others.", "runs it"]
    (_, told) = spread.told
    assert isinstance(told, dict) and told["type"] == "namespace" and told["name"] == "agents"
    assert told["tools"] == tools(LOOK, RUN).told


@pytest.mark.parametrize("kind", ["web_search", "web_search_preview_2025", "image_generation"])
def test_what_agents_offer_by_the_way_is_left_out_and_not_shown(kind: str) -> None:
    both = tools({"type": kind, "search_context_size": "low"}, LOOK)
    assert [tool.name for tool in both.use.tools] == ["look"]
    assert len(both.told) == 1


@pytest.mark.parametrize(
    ("sent", "what"),
    [
        ({"type": "file_search", "vector_store_ids": ["x"]}, "'file_search'"),
        ({"type": "mcp", "server_label": "x"}, "'mcp'"),
        ({"type": "local_shell"}, "'local_shell'"),
        ({"type": "function"}, "no 'name' at 0"),
        ({"type": "namespace", "name": "x", "tools": []}, "a namespace without"),
        ({"type": "namespace", "name": "x", "tools": [{"type": "mcp"}]}, "'mcp'"),
        ({"type": "namespace", "name": "x", "tools": [LOOK, LOOK]}, "two functions"),
        ({"type": "namespace", "name": "x", "tools": [LOOK] * 1001}, "1001 functions"),
        ({"type": "custom", "name": "a b"}, "no name of a function"),
        (
            RUN | {"format": {"type": "grammar", "syntax": "lark", "definition": "start: X"}},
            "could not be enforced",
        ),
        (RUN | {"format": {"type": "grammar", "syntax": "regex"}}, "could not be enforced"),
    ],
)
def test_what_cannot_be_honoured_is_named(sent: dict[str, Any], what: str) -> None:
    with pytest.raises(ApiError, match=what) as raised:
        tools(sent)
    assert raised.value.param == "tools"


@pytest.mark.parametrize(
    ("choice", "mode", "name", "offered"),
    [
        ("auto", "auto", None, ["look", "run"]),
        ("required", "required", None, ["look", "run"]),
        ({"type": "function", "name": "look"}, "required", "look", ["look", "run"]),
        ({"type": "custom", "name": "run"}, "required", "run", ["look", "run"]),
        (
            {"type": "allowed_tools", "mode": "required",
             "tools": [{"type": "custom", "name": "run"}]},
            "required", None, ["run"],
        ),
    ],
)  # fmt: skip
def test_choices(choice: Any, mode: str, name: str | None, offered: list[str]) -> None:
    use = tools(LOOK, RUN, choice=choice).use
    assert (use.choice, use.name, [tool.name for tool in use.tools]) == (mode, name, offered)


@pytest.mark.parametrize(
    "choice",
    [
        "sometimes", {"type": "web_search"}, {"type": "function", "name": "no"},
        {"type": "allowed_tools", "mode": "auto", "tools": []},
        {"type": "allowed_tools", "mode": "auto", "tools": ["look"]},
        {"type": "allowed_tools", "mode": "auto", "tools": 5}, {"type": "mcp"}, {},
    ],
)  # fmt: skip
def test_choices_of_what_is_not_there(choice: Any) -> None:
    with pytest.raises(ApiError) as raised:
        tools(LOOK, choice=choice)
    assert raised.value.param == "tool_choice"

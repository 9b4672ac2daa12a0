"""Schemas, patterns and grammars that are hostile or absurd: a 400 that names the field, or an
answer; and the server goes on."""

import json
from typing import Any

import pytest

from tests.serving import ServerProcess

from .ways import CHATS, COMPLETIONS, MESSAGES, SAID, body_of, nested, refused, sent, status_of

_NODE: dict[str, Any] = {"$ref": "#/$defs/node"}
_CHOICES = [
    {"anyOf": [{"properties": {f"{i}_{j}": {}}, "required": [f"{i}_{j}"]} for j in range(10)]}
    for i in range(10)
]
BAD_SCHEMAS: dict[str, Any] = {
    "refers to itself": {"$ref": "#"},
    "goes round": {"$defs": {"node": {"$ref": "#/$defs/b"}, "b": _NODE}, **_NODE},
    "explodes": {"allOf": _CHOICES},
    "nothing satisfies it": {"type": "integer", "minimum": 5, "maximum": 4},
    "from elsewhere": {"$ref": "http://example.com/schema"},
    "no type": {"type": "banana"},
    "deep": json.loads(nested(100)),
    "many properties": {"properties": {f"p{i}": {} for i in range(10_000)}},
    "long": {"enum": [f"x{i}" for i in range(100_000)]},
    "huge number": {"type": "integer", "minimum": 10**30},
    "a pattern that is none": {"type": "string", "pattern": "("},
}
_LINKS = {"type": "object", "properties": {"next": _NODE}, "required": ["next"]}
_LETTERS = "abcdefghij"
_LEVELS: dict[str, Any] = {
    f"l{level}": {
        "type": "object",
        "properties": {key: {"$ref": f"#/$defs/l{level + 1}"} for key in _LETTERS},
        "required": list(_LETTERS),
    }
    for level in range(8)
}
# Strange, but there are answers, or beginnings of one.
STRANGE_SCHEMAS: dict[str, Any] = {
    "endless": {"$defs": {"node": _LINKS}, **_NODE},
    "ten to the eighth parts": {"$defs": _LEVELS | {"l8": {"type": "null"}}, "$ref": "#/$defs/l0"},
    "a billion letters": {"type": "string", "minLength": 10**9},
    "a billion items": {"type": "array", "minItems": 10**9},
    "a slow pattern": {"type": "string", "pattern": "^((a|aa)+)+$"},
    "counts of counts": {"type": "string", "pattern": "((a{1,1000}){1,1000}){1,1000}"},
}


def with_schema(way: str, schema: Any) -> tuple[str, str]:
    """The body, and the field that it is in."""
    if way == MESSAGES:
        format = {"type": "json_schema", "schema": schema}
        return body_of(way, output_config={"format": format}), "output_config"
    told = {"type": "json_schema", "json_schema": {"name": "x", "schema": schema}}
    return body_of(way, response_format=told), "response_format"


@pytest.mark.parametrize("name", BAD_SCHEMAS)
def test_schemas_that_cannot_be_enforced(server: ServerProcess, name: str) -> None:
    for way in SAID:
        refused(server, way, *with_schema(way, BAD_SCHEMAS[name]))


@pytest.mark.parametrize("name", STRANGE_SCHEMAS)
def test_schemas_that_are_strange(server: ServerProcess, name: str) -> None:
    for way in SAID:
        assert sent(server, way, with_schema(way, STRANGE_SCHEMAS[name])[0])[0] == 200


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("guided_regex", "("),
        ("guided_regex", "(?=a)b"),
        ("guided_regex", r"(a)\1"),
        ("guided_regex", "a" * 300_000),
        ("guided_choice", [f"x{i}" for i in range(100_000)]),
        ("grammar", "start: start"),
        ("grammar", "start: nothing"),
        ("grammar", "root ::= nothing"),
        ("grammar", "start: " + "(" * 5000 + '"a"' + ")" * 5000),
    ],
    ids=str,
)
def test_patterns_and_grammars_that_cannot_be_enforced(
    server: ServerProcess, field: str, value: Any
) -> None:
    for way in (*CHATS, COMPLETIONS):
        refused(server, way, body_of(way, **{field: value}), field)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("guided_regex", "(a+)+$"),
        ("guided_regex", "((a|a)*)*b"),
        ("guided_regex", "((a{1,1000}){1,1000}){1,1000}"),
        ("guided_regex", "(a|b)*a(a|b){30}"),
        ("grammar", 'start: start "a" | "b"'),
        ("grammar", 'start: (("a"*)*)* "b"'),
    ],
    ids=str,
)
def test_patterns_and_grammars_that_others_choke_on(
    server: ServerProcess, field: str, value: Any
) -> None:
    for way in (*CHATS, COMPLETIONS):
        assert status_of(server, way, **{field: value}) == 200

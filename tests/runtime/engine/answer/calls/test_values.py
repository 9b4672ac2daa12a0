"""Tests of engine.answer.values: text to JSON, by the schema."""

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from registry.checkpoint.config import Json
from runtime.engine.answer.calls.values import (
    json_of,
    json_of_bare,
    json_of_nested,
    json_of_python,
    types_of,
)
from runtime.text.call_syntax import _bare


@pytest.mark.parametrize(
    ("schema", "types"),
    [
        ({"type": "string"}, {"string"}),
        ({"type": ["integer", "null"]}, {"integer", "null"}),
        ({"anyOf": [{"type": "string"}, {"oneOf": [{"type": "array"}]}]}, {"string", "array"}),
        ({"enum": ["a", 5, None, True]}, {"string", "integer", "null", "boolean"}),
        ({"const": 1.5}, {"number"}),
        ({"$ref": "#/$defs/x"}, {"object"}),
        ({"$ref": "#/$defs/loop"}, set()),
        ({"$ref": "elsewhere"}, set()),
        ({}, set()),
        (True, set()),
        (None, set()),
    ],
)
def test_types_of_an_argument(schema: Json, types: set[str]) -> None:
    defs: Json = {"x": {"type": "object"}, "loop": {"$ref": "#/$defs/loop"}}
    assert types_of({"properties": {"key": schema}, "$defs": defs}, "key") == types


@pytest.mark.parametrize("parameters", [None, True, {}, {"properties": []}])
def test_a_schema_that_says_nothing(parameters: Json) -> None:
    assert types_of(parameters, "key") == set()


@pytest.mark.parametrize(
    ("text", "types", "value"),
    [
        ("5", "string", "5"),
        (" 5 ", "integer", 5),
        ("5", "string integer", 5),
        ("five", "string integer", "five"),
        ("5.5", "string number", 5.5),
        ("5", "string number", 5),
        ("null", "string null", None),
        ("null", "string", "null"),
        ("True", "boolean", True),
        ("None", "null", None),
        ("{'a': (1, None)}", "object", {"a": [1, None]}),
        ("{a}", "object", "{a}"),
        ('{"a": [1]}', "", {"a": [1]}),
        ("Infinity", "number", "Infinity"),
        ("[" * 100_000, "array", "[" * 100_000),
    ],
)
def test_text_to_json(text: str, types: str, value: Any) -> None:
    assert json.loads(json_of(text, frozenset(types.split()))) == value


@pytest.mark.parametrize(
    ("text", "value"),
    [
        (r"'it\'s'", "it's"),
        ("'it's'", "it's"),
        ("true", True),
        ("{1: 'a'}", {"1": "a"}),
        ("{1, 2}", "{1, 2}"),
        ("1e999", "1e999"),
        (r"'\d'", r"\d"),
        ("f(x)", "f(x)"),
        ("", ""),
    ],
)
def test_python_to_json(text: str, value: Any) -> None:
    assert json.loads(json_of_python(text)) == value


_PLAIN = st.none() | st.booleans() | st.integers() | st.text(alphabet="ab {}[]:,\"'<|ü", max_size=6)
_OBJECTS = st.dictionaries(
    st.text(alphabet="abc_", min_size=1, max_size=4),
    st.recursive(_PLAIN, lambda inner: st.lists(inner) | st.dictionaries(st.just("k"), inner)),
    max_size=4,
)


@settings(max_examples=100, deadline=None, derandomize=True)
@given(_OBJECTS)
def test_bare_words(value: dict[str, Any]) -> None:
    """Any object comes back, whatever its strings hold."""
    told = json_of_bare(_bare(value, "<|q|>"), "<|q|>")
    assert told is not None and json.loads(told) == value


@pytest.mark.parametrize("text", ["", "{", "{a:<|q|>b}", "{a:[}", "[1]"])
def test_bare_words_that_are_none(text: str) -> None:
    assert json_of_bare(text, "<|q|>") is None


def test_tags_within_tags() -> None:
    """As MiniMax-M3 writes lists and objects."""

    def nested(text: str) -> Any:
        return json.loads(json_of_nested(text, "~<", ">", "~</{key}>"))

    assert nested("~<item>a~</item>~<item>5~</item>") == ["a", 5]
    assert nested("~<x>~<y>a~</y>~</x>\n~<z>true~</z>") == {"x": {"y": "a"}, "z": True}
    assert nested("~<x>a") == "~<x>a"
    deep = "".join(f"~<k{n}>" for n in range(9_000))
    assert isinstance(nested(deep + "".join(f"~</k{n}>" for n in reversed(range(9_000)))), dict)

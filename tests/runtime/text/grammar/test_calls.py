"""Tests of runtime.text.grammar.calls: whatever a grammar lets through is read as right calls."""

import random
from typing import Any

import jsonschema
import numpy as np
import pytest

from registry.checkpoint.config import Json
from runtime.grammar import compile
from runtime.requests import AnswerFormat, Tool, ToolUse
from runtime.text.call_syntax import written
from runtime.text.grammar.answer import grammar_of
from runtime.text.grammar.trial import Trial
from tests.runtime.engine.answer.answers import HARMONY, SYNTAXES, read

TRIAL = Trial({})
STYLES = {**SYNTAXES, "channels": HARMONY}
PARAMETERS: dict[str, Any] = {
    "look_up": {
        "type": "object",
        "properties": {
            "town": {"type": "string", "maxLength": 6},
            "code": {"type": "string", "pattern": "^[A-Z]{2}[0-9]$"},
            "days": {"type": "integer", "minimum": -20, "maximum": 200},
            "rate": {"type": "number", "minimum": 0, "maximum": 5},
            "deep": {"type": "boolean"},
            "tags": {"type": "array", "items": {"type": "string", "maxLength": 3}, "maxItems": 2},
            "near": {"$ref": "#/$defs/place"},
            "word": {"type": ["string", "null"], "maxLength": 5},
            "kind": {"enum": ["a", "b c", 7, None]},
            "either": {"anyOf": [{"type": "integer", "maximum": 9}, {"type": "boolean"}]},
        },
        "required": ["town", "deep"],
        "$defs": {
            "place": {
                "type": "object",
                "properties": {"x": {"const": 1}, "in": {"$ref": "#/$defs/place"}},
                "required": ["x"],
                "additionalProperties": False,
            }
        },
    },
    "stop": {"type": "object", "properties": {}},
}
USE = ToolUse(
    tuple(Tool(name, parameters=schema, strict=True) for name, schema in PARAMETERS.items()),
    "required",
)


def random_answer(grammar: str, seed: int) -> str:
    """Letters by chance, among those that may come; it ends where it can, now and then."""
    matcher, draw, answer = compile(grammar, TRIAL._vocabulary), random.Random(seed), bytearray()
    while not matcher.is_stopped():
        mask = np.frombuffer(matcher.compute_bitmask(), dtype=np.uint8)[:32]
        allowed = np.flatnonzero(np.unpackbits(mask, bitorder="little")).tolist()
        plain = [byte for byte in allowed if 32 <= byte < 127]
        if matcher.is_accepting() and draw.random() < 0.3:
            break
        byte = draw.choice(plain if plain and draw.random() < 0.9 else allowed)
        matcher.consume_token(byte)
        answer.append(byte)
    return answer.decode()


@pytest.mark.parametrize("name", STYLES)
def test_what_a_grammar_lets_through_is_read_as_calls(name: str) -> None:
    """Of functions that exist, with arguments that validate, and nothing beside them."""
    syntax = STYLES[name]
    grammar = grammar_of(None, None, syntax, USE, None, TRIAL)
    assert grammar is not None
    form = AnswerFormat(calls=syntax, parameters=PARAMETERS)
    for seed in range(8):
        text = random_answer(grammar, seed)
        answer = read([text], form)
        assert answer.calls and not answer.text.strip(), text
        for called, arguments in answer.parsed:
            jsonschema.validate(arguments, PARAMETERS[called])


@pytest.mark.parametrize("name", STYLES)
def test_calls_as_templates_write_them_are_let_through(name: str) -> None:
    syntax = STYLES[name]
    calls: list[tuple[str, dict[str, Json]]] = [
        ("look_up", {"town": "Rome", "deep": True}),
        ("stop", {}),
    ]
    text = written(syntax, calls if syntax.between is not None else calls[:1])
    for use in (USE, ToolUse(USE.tools)):
        grammar = grammar_of(None, None, syntax, use, None, TRIAL)
        assert grammar is not None
        matcher = compile(grammar, TRIAL._vocabulary)
        num_taken = matcher.try_consume_tokens(list(text.encode()))
        assert text.encode()[:num_taken].decode() == text and matcher.is_accepting()

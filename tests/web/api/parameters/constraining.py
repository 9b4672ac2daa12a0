"""What shows that answers are what they have to be: `response_format` and its other names."""

import json
import re
from collections.abc import Callable
from typing import Any

import jsonschema

from .asked_apis import Api
from .drawing import Honoured, token

SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {"size": {"type": "integer", "minimum": 10, "maximum": 99}},
    "required": ["size"],
    "additionalProperties": False,
}
PATTERN = "[a-c]{3}-[0-9]{2}"
WORDS = ["perhaps", "never"]
LARK = 'start: "perhaps" | "never"'
PLAIN: dict[str, Any] = {"model": "plain", "max_tokens": 64}  # which does not think first
GBNF = 'root ::= "perhaps" | "never"'


def fits_schema(text: str) -> None:
    jsonschema.validate(json.loads(text), SCHEMA)


def fits_pattern(text: str) -> None:
    assert re.fullmatch(PATTERN, text)


def is_word(text: str) -> None:
    assert text in WORDS


def _each(name: str, *sent: tuple[Any, Callable[[str], None]]) -> Callable[[Api], None]:
    """Greedily, and as it may come."""

    def show(api: Api) -> None:
        for value, check in sent:
            for options in ({}, {"temperature": 2, "seed": 1}):
                reply = api.ask(**PLAIN | options | {name: value})
                check(reply.text)
                assert reply.reason == api.ending["stop"]

    return show


_FORMAT = {"type": "json_schema", "json_schema": {"name": "x", "schema": SCHEMA, "strict": True}}
_response_format = _each(
    "response_format",
    (_FORMAT, fits_schema),
    ({"type": "json_object", "schema": SCHEMA}, fits_schema),
    ({"type": "regex", "regex": PATTERN}, fits_pattern),
    ({"type": "choice", "choice": WORDS}, is_word),
    ({"type": "grammar", "grammar": LARK}, is_word),
)


def response_format(api: Api) -> None:
    _response_format(api)
    brace = {"logit_bias": {str(token(api, "}")): 100}}  # it need not be long
    assert api.ask(**PLAIN | brace, response_format={"type": "json_object"}).text == "{}"
    free = api.ask(**PLAIN, response_format={"type": "text"})
    assert free.content() == api.ask(**PLAIN).content()
    api.refused(response_format={"type": "json_object"}, guided_regex="a")


def text(api: Api) -> None:
    """The format of a response; its verbosity is ignored."""
    _each(
        "text",
        ({"format": {"type": "json_schema", "name": "x", "schema": SCHEMA}}, fits_schema),
        ({"format": {"type": "json_object", "schema": SCHEMA}}, fits_schema),
    )(api)
    brace = {"logit_bias": {str(token(api, "}")): 100}}
    assert api.ask(**PLAIN | brace, text={"format": {"type": "json_object"}}).text == "{}"
    free = api.ask(**PLAIN, text={"format": {"type": "text"}, "verbosity": "low"})
    assert free.content() == api.ask(**PLAIN).content()
    assert free.body["text"] == {"format": {"type": "text"}, "verbosity": "low"}
    api.refused(text={"verbosity": "much"})


CONSTRAINING: dict[str, Honoured] = {
    "response_format": Honoured(response_format, {"type": "xml"}),
    "structured_outputs": Honoured(
        _each(
            "structured_outputs",
            ({"json": SCHEMA}, fits_schema),
            ({"regex": PATTERN}, fits_pattern),
            ({"choice": WORDS}, is_word),
            ({"grammar": LARK}, is_word),
        ),
        {"sorted": True},
    ),
    "guided_json": Honoured(
        _each("guided_json", (SCHEMA, fits_schema), (json.dumps(SCHEMA), fits_schema)), "{"
    ),
    "guided_regex": Honoured(_each("guided_regex", (PATTERN, fits_pattern)), "("),
    "guided_choice": Honoured(_each("guided_choice", (WORDS, is_word)), [""]),
    "guided_grammar": Honoured(_each("guided_grammar", (LARK, is_word), (GBNF, is_word)), "start"),
    "grammar": Honoured(_each("grammar", (GBNF, is_word), (LARK, is_word)), "root ::= nothing"),
    "json_schema": Honoured(_each("json_schema", (SCHEMA, fits_schema)), "[]"),
    "regex": Honoured(_each("regex", (PATTERN, fits_pattern)), "[a"),
    "ebnf": Honoured(_each("ebnf", (GBNF, is_word)), "root ::= ("),
}

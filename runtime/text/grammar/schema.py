"""JSON Schemas as llguidance enforces them: what it cannot is refused, never passed over."""

import json
from collections.abc import Iterator
from typing import Any

from registry.checkpoint.config import Json

from .numeric import Numbers
from .refused import ConstraintRefused

_MAX_CHARS = 500_000
_MAX_DEPTH = 60
_MAX_PROPERTIES = 1_000
# Between two tokens of JSON: a few blanks, or a line's end and an indentation. Small models would
# go on with white space for ever.
_WHITE_SPACE = r"[ ]{1,4}|\n[ ]{0,16}"
# Without \uXXXX: a key that may be anything but "a" could be "\u0061".
_ESCAPES = 'nrbtf\\"'
_HIGHEST, _FINEST = 9e18, 1e-10  # of numbers
_ELSEWHERE = frozenset(
    ["enum", "const", "allOf", "anyOf", "oneOf", "$ref"]
)  # says more of a number
# Of JSON Schema's formats those that cannot be enforced. Others are names that somebody made up,
# which mean nothing to a validator.
_UNENFORCED = frozenset(
    ["idn-email", "idn-hostname", "iri", "iri-reference", "uri-reference", "uri-template"]
    + ["json-pointer", "relative-json-pointer", "regex"]
)
_ENFORCED = frozenset(
    ["date-time", "time", "date", "duration", "email", "hostname", "ipv4", "ipv6", "uuid", "uri"]
)
_ONE: tuple[str, ...] = (
    *("items", "additionalItems", "additionalProperties", "not", "if", "then", "else"),
    *("contains", "propertyNames", "unevaluatedItems", "unevaluatedProperties"),
)
_MANY = ("anyOf", "allOf", "oneOf", "prefixItems", "items")
_NAMED = ("properties", "patternProperties", "$defs", "definitions", "dependentSchemas")


def embedded(schema: Json, param: str, *, lenient: bool = False) -> str:
    """The schema as a rule's body. `lenient` passes over what cannot be enforced.

    Raises ConstraintRefused for what no grammar should be tried with.
    """
    if schema is True:
        schema = {}
    if not isinstance(schema, dict):
        raise ConstraintRefused("The schema has to be an object.", param)
    if _is_deep(schema):
        raise ConstraintRefused(f"The schema is nested more than {_MAX_DEPTH} levels deep.", param)
    text = json.dumps(schema)
    if len(text) > _MAX_CHARS:
        raise ConstraintRefused(
            f"The schema has {len(text)} characters, more than the {_MAX_CHARS} that are read.",
            param,
        )
    copy: dict[str, Any] = json.loads(text)
    parts, num_properties = list(_parts(copy)), 0
    numbers = Numbers(parts)
    for part in parts:
        num_properties += len(_dict(part.get("properties")))
        if num_properties > _MAX_PROPERTIES:
            raise ConstraintRefused(
                f"The schema has {num_properties} properties, more than the {_MAX_PROPERTIES} that "
                "are read.",
                param,
            )
        _check_format(part, param, lenient=lenient)
        _check_counts(part, param, lenient=lenient)
        numbers.bound(part)
        if "prefixItems" in part:
            part.pop("additionalItems", None)  # of older drafts: llguidance would take the other
    if numbers.definitions:
        copy["$defs"] = {**_dict(copy.get("$defs")), **numbers.definitions}
    copy["x-guidance"] = {
        "whitespace_pattern": _WHITE_SPACE,
        "json_allowed_escapes": _ESCAPES,
        "lenient": lenient,
    }
    return f"%json {json.dumps(copy)}"


def _is_deep(value: Json, left: int = _MAX_DEPTH) -> bool:
    if not isinstance(value, dict | list):
        return False
    inner = value.values() if isinstance(value, dict) else value
    return left == 0 or any(_is_deep(item, left - 1) for item in inner)


def _parts(schema: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """The schema and all schemas in it."""
    yield schema
    inner: list[Any] = [schema.get(key) for key in _ONE]
    for key in _MANY:
        value = schema.get(key)
        inner += value if isinstance(value, list) else []
    for key in _NAMED:
        inner += _dict(schema.get(key)).values()
    for part in inner:
        if isinstance(part, dict):
            yield from _parts(part)


def _check_format(part: dict[str, Any], param: str, *, lenient: bool) -> None:
    name = part.get("format")
    if not isinstance(name, str) or name in _ENFORCED:
        return
    if name in _UNENFORCED and not lenient:
        raise ConstraintRefused(f'The format "{name}" of the schema cannot be enforced.', param)
    del part["format"]


def _check_counts(part: dict[str, Any], param: str, *, lenient: bool) -> None:
    """A grammar does not keep a map's keys apart, so it cannot count them: two may be the same."""
    least = part.get("minProperties")
    if not isinstance(least, int) or lenient:
        return
    required = part.get("required")
    if least > max(1, len(required) if isinstance(required, list) else 0):
        raise ConstraintRefused(
            "The minProperties of the schema cannot be enforced: only those that are required can "
            "be counted.",
            param,
        )


def _dict(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}

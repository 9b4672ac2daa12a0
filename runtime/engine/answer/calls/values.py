"""Values of arguments as models write them, to JSON, by the function's parameter schema."""

import ast
import json
import math
import warnings
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from registry.checkpoint.config import Json

_MAX_DEPTH = 64  # of tags within tags
_PYTHON = {"True": "true", "False": "false", "None": "null"}
_WORDS = {"true": "true", "false": "false", "null": "null", "none": "null"}


def types_of(parameters: Json, key: str) -> frozenset[str]:
    """The JSON types that an argument may have; none where the schema does not say."""
    if not isinstance(parameters, dict):
        return frozenset()
    properties = parameters.get("properties")
    schema = properties.get(key) if isinstance(properties, dict) else None
    return frozenset(_types(schema, parameters, 0))


def _types(schema: Json, root: Mapping[str, Json], depth: int) -> Iterator[str]:
    if not isinstance(schema, dict) or depth > 8:
        return
    kind = schema.get("type")
    if isinstance(kind, str):
        yield kind
    elif isinstance(kind, list):
        yield from (each for each in kind if isinstance(each, str))
    else:
        constants = schema.get("enum", [schema["const"]] if "const" in schema else None)
        if isinstance(constants, list):
            yield from map(_type_of, constants)
        for name in ("anyOf", "oneOf", "allOf"):
            options = schema.get(name)
            for option in options if isinstance(options, list) else ():
                yield from _types(option, root, depth + 1)
        yield from _types(_referred(schema.get("$ref"), root), root, depth + 1)


def _referred(reference: Json, root: Mapping[str, Json]) -> Json:
    if not isinstance(reference, str) or not reference.startswith("#/"):
        return None
    found: Json = dict(root)
    for name in reference[2:].split("/"):
        found = found.get(name) if isinstance(found, dict) else None
    return found


def _type_of(value: object) -> str:
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "boolean"
    if isinstance(value, str):
        return "string"
    if isinstance(value, int | float):
        return "integer" if isinstance(value, int) else "number"
    return "array" if isinstance(value, list) else "object"


def is_string(types: frozenset[str]) -> bool:
    """Whether nothing but a string is meant, so that it stands as it is."""
    return "string" in types and types <= {"string", "null"}


def json_of(text: str, types: frozenset[str]) -> str:
    """The JSON of a value that stands as text. What is not of the schema's types stays what it
    says; what is no JSON is a string."""
    raw = text.strip()
    if "string" in types and (is_string(types) or not _kinds_of(raw) & types):
        return "null" if raw == "null" and "null" in types else _dumped(text)
    if _kind_of(raw) is not None:
        return raw
    if (word := _WORDS.get(raw.lower())) is not None and types & {"boolean", "null"}:
        return word
    return json_of_python(raw) if types & {"object", "array"} else _dumped(text)


def _kind_of(raw: str) -> str | None:
    """The type of a JSON text; None if it is none."""
    try:
        value = json.loads(raw, parse_constant=_refused)
    except (ValueError, RecursionError):
        return None
    kind = _type_of(value)
    return "integer" if kind == "number" and _is_whole(value) else kind


def _kinds_of(raw: str) -> frozenset[str]:
    kind = _kind_of(raw)
    return frozenset(("integer", "number") if kind == "integer" else (kind,) if kind else ())


def _is_whole(value: float) -> bool:
    return math.isfinite(value) and value.is_integer()


def _refused(name: str) -> None:
    raise ValueError(f"{name} is no JSON")


def json_of_python(text: str) -> str:
    """The JSON of a Python literal; JSON as it is; of anything else, a string."""
    raw = text.strip()
    for read in (ast.literal_eval, _loaded):
        if (told := _told(read, raw)) is not None:
            return told
    is_quoted = len(raw) > 1 and raw[0] in "'\"" and raw[0] == raw[-1]  # and its own not escaped
    return _dumped(raw[1:-1] if is_quoted else raw)


def _told(read: Callable[[str], Any], text: str) -> str | None:
    try:
        with warnings.catch_warnings(action="ignore"):  # of Python, about escapes it does not know
            told = json.dumps(read(text), ensure_ascii=False, allow_nan=False)
            # Half a character, as Python's escapes allow, can be sent as an escape only.
            return told if is_sound(told) else json.dumps(read(text), allow_nan=False)
    except (ValueError, TypeError, SyntaxError, RecursionError, MemoryError):
        return None


def is_sound(text: str) -> bool:
    """Whether it has whole characters only."""
    return not any("\ud800" <= character <= "\udfff" for character in text)


def _loaded(text: str) -> Any:
    return json.loads(text, parse_constant=_refused)


def _dumped(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)


def escaped(text: str) -> str:
    """Some of a string, as it stands within JSON's quotes."""
    return _dumped(text)[1:-1]


def json_of_nested(
    text: str, key_open: str, key_close: str, value_close: str, depth: int = 0
) -> str:
    """The JSON of a value that is made of tags itself: elements of a list are called `item`."""
    elements: list[tuple[str, str]] = []
    rest = text.strip()
    while depth < _MAX_DEPTH and rest.startswith(key_open):
        key, closed, behind = rest.removeprefix(key_open).partition(key_close)
        value, ended, rest = behind.partition(value_close.replace("{key}", key))
        if not (closed and ended):
            break
        inner = json_of_nested(value, key_open, key_close, value_close, depth + 1)
        elements.append((key, inner))
        rest = rest.strip()
    if rest or not elements:
        return json_of(text, frozenset())
    if all(key == "item" for key, _ in elements):
        return f"[{', '.join(value for _, value in elements)}]"
    return f"{{{', '.join(f'{_dumped(key)}: {value}' for key, value in elements)}}}"


def json_of_bare(text: str, quote: str) -> str | None:
    """The JSON of an object of bare words, whose strings stand between quotes; None if it is
    none."""
    pieces = text.split(quote)
    if len(pieces) % 2 == 0:
        return None
    # What stands between quotes is a string, anything else is told apart by its punctuation.
    told = [
        _dumped(piece) if place % 2 else _with_keys(piece) for place, piece in enumerate(pieces)
    ]
    joined = "".join(told)
    return joined if _kind_of(joined) == "object" else None


def _with_keys(text: str) -> str:
    """Names in front of colons, in JSON's quotes."""
    told, start = "", 0
    for place, character in enumerate(text):
        if character in "{},[]:":
            word = text[start:place].strip()
            if word and (character == ":" or _kind_of(word) is None):
                word = _PYTHON.get(word) or _dumped(word.strip('"'))
            told += word + character
            start = place + 1
    return told + text[start:]

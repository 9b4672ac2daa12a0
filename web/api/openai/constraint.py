"""What the text of an answer has to be: `response_format`, and the words of other servers for it.

OpenAI's `json_object` and `json_schema`; beside them `regex`, `grammar` and `choice`, and the
fields of vLLM (`structured_outputs`, `guided_*`), SGLang (`regex`, `ebnf`) and llama.cpp
(`grammar`, `json_schema`). All mean the same here, and at most one may be sent.
"""

from typing import Any

import msgspec

from registry.checkpoint.config import Json
from runtime.requests import Constraint, ConstraintKind
from web.api.generating import GeneratingBody
from web.errors import ApiError

_KEYS: dict[str, ConstraintKind] = {
    "json": "json_schema",
    "json_schema": "json_schema",
    "json_object": "json_object",
    "regex": "regex",
    "choice": "choice",
    "grammar": "lark",
    "ebnf": "lark",
}
_MAX_CHOICES = 1024


class ConstrainedBody(GeneratingBody, kw_only=True):
    """Whose text may have to be something."""

    response_format: dict[str, Any] | None = None
    structured_outputs: dict[str, Any] | None = None
    guided_json: dict[str, Any] | str | None = None
    guided_regex: str | None = None
    guided_choice: list[str] | None = None
    guided_grammar: str | None = None
    grammar: str | None = None
    json_schema: dict[str, Any] | str | None = None
    regex: str | None = None
    ebnf: str | None = None


def constraint_of(fields: ConstrainedBody) -> Constraint | None:
    """The one that was sent. Raises ApiError for several, and for what is none."""
    found: list[Constraint] = []
    if fields.response_format is not None:
        if (constraint := _response_format(fields.response_format)) is not None:
            found.append(constraint)
    for name, value in (fields.structured_outputs or {}).items():
        if value is not None and value is not False:
            kind = _KEYS.get(name)
            if kind is None:
                raise _wrong("structured_outputs", f"has {name[:100]!r}, which is not known here")
            found.append(_checked(kind, value, "structured_outputs"))
    for name in ("json", "regex", "choice", "grammar"):
        if (value := getattr(fields, f"guided_{name}")) not in (None, "", []):
            found.append(_checked(_KEYS[name], value, f"guided_{name}"))
    for name in ("grammar", "json_schema", "regex", "ebnf"):
        if (value := getattr(fields, name)) not in (None, ""):
            found.append(_checked(_KEYS[name], value, name))
    if len(found) > 1:
        names = " and ".join(f"'{constraint.param}'" for constraint in found)
        raise _wrong(found[1].param, f"is one of several: {names}; send one of them")
    return found[0] if found else None


def _response_format(sent: dict[str, Any]) -> Constraint | None:
    param = "response_format"
    match sent.get("type"):
        case "text":
            return None
        case "json_object":
            if sent.get("schema") is not None:  # as llama.cpp and Together have it
                return _checked("json_schema", sent["schema"], param)
            return Constraint("json_object", None, param)
        case "json_schema":
            told = sent.get("json_schema")
            if not isinstance(told, dict):
                raise _wrong(param, "has no object 'json_schema'")
            if told.get("schema") is None:
                raise _wrong(param, "has no 'schema' in its 'json_schema'")
            if not isinstance(told.get("strict"), bool | None):
                raise _wrong(param, "has a 'strict' that is neither true nor false")
            return _checked("json_schema", told["schema"], param)
        case "regex" | "grammar" | "choice" as kind:
            value = sent.get(kind, sent.get("pattern", sent.get("value")))
            return _checked(_KEYS[kind], value, param)
        case kind:
            raise _wrong(
                param,
                f"has the type {kind!r:.100}; it may be text, json_object, json_schema, regex, "
                "grammar or choice",
            )


def _checked(kind: ConstraintKind, value: Json, param: str) -> Constraint:
    match kind:
        case "json_object":
            return Constraint(kind, None, param)
        case "json_schema":
            return Constraint(kind, _schema(value, param), param)
        case "choice":
            is_right = isinstance(value, list) and 0 < len(value) <= _MAX_CHOICES
            if not is_right or not all(isinstance(text, str) and text for text in value):  # type: ignore[union-attr]
                raise _wrong(param, f"is no list of 1 to {_MAX_CHOICES} texts")
        case _:
            if not isinstance(value, str) or not value:
                raise _wrong(param, "is no text")
            if kind == "lark" and "::=" in value:  # which Lark does not have
                kind = "gbnf"
    return Constraint(kind, value, param)


def _schema(value: Json, param: str) -> Json:
    """An object, or true for anything; some clients send it as a text."""
    if isinstance(value, str):
        try:
            value = msgspec.json.decode(value)
        except msgspec.DecodeError as error:
            raise _wrong(param, f"is a text that is no JSON: {error}") from None
    if not isinstance(value, dict | bool):
        raise _wrong(param, "has a schema that is no JSON object")
    return value


def _wrong(param: str, what: str) -> ApiError:
    return ApiError(400, f"'{param}' {what}.", param=param)

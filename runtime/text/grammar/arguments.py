"""The arguments of a call as rules, in the style in which the model writes them."""

from collections.abc import Sequence
from typing import Any

from registry.checkpoint.call_syntax import CallSyntax, Tags
from runtime.requests import Tool

from .lark import Rules, quoted
from .schema import embedded
from .values import Values, is_text

_PYTHON = Tags("", "=", "", ", ")


def rule_of(rules: Rules, tool: Tool, syntax: CallSyntax, param: str, *, is_strict: bool) -> str:
    """The name of a rule. Raises ConstraintRefused.

    `is_strict` refuses what cannot be enforced; else it is passed over.
    """
    schema: dict[str, Any] = {"type": "object", **tool.parameters}
    if syntax.style == "json":
        return rules.add(embedded(_closed(schema), param, lenient=not is_strict))
    values = Values(rules, schema, param, is_strict=is_strict)
    if syntax.style == "bare":
        return _Bare(rules, values, syntax.quote).object(schema)
    return _by_themselves(rules, values, schema, syntax)


def _closed(schema: dict[str, Any]) -> dict[str, Any]:
    """A function takes the arguments that it names, unless it says otherwise."""
    says = {"additionalProperties", "patternProperties", "allOf", "anyOf", "oneOf", "$ref", "not"}
    if schema.get("properties") is None or says & schema.keys():
        return schema
    return {**schema, "additionalProperties": False}


def _by_themselves(rules: Rules, values: Values, schema: dict[str, Any], syntax: CallSyntax) -> str:
    """Each argument between tags, or as one of Python's keywords."""
    tags = syntax.tags or _PYTHON
    items: list[tuple[str, bool]] = []
    for key, value, is_required in _properties(schema):
        options = values.options(value)
        opening, closing = tags.key_open + key + tags.key_close, tags.value_close
        closing = closing.replace("{key}", key)
        if syntax.style == "python":
            body = f"{rules.literal(opening)} {values.python(options)} {rules.literal(closing)}"
        elif "{is_string}" in opening or "{type}" in opening:
            told: dict[str, list[dict[str, Any]]] = {}
            for option in options:
                told.setdefault(_typed(opening, option), []).append(option)
            body = " | ".join(
                f"{rules.literal(typed)} {values.plain(some, closing)}"
                for typed, some in told.items()
            )
        else:
            body = f"{rules.literal(opening)} {values.plain(options, closing)}"
        items.append((rules.add(body), is_required))
    return _sequence(rules, items, rules.literal(tags.between))


def _typed(opening: str, option: dict[str, Any]) -> str:
    """What stands before a value, where that says of which type it is."""
    kind = "string" if is_text(option) else str(option.get("type", "object"))
    kind = "number" if kind == "integer" else kind
    opening = opening.replace("{is_string}", "true" if kind == "string" else "false")
    return opening.replace("{type}", kind)


def _sequence(rules: Rules, items: Sequence[tuple[str, bool]], between: str) -> str:
    """Items in their order, with something between two of them; some may be missing."""
    after = start = rules.add('""')  # what may follow behind an item, and where none stands yet
    for item, is_required in reversed(items):
        alone = f"{item} {after}"
        start = rules.add(alone if is_required else f"{alone} | {start}")
        after = rules.add(f"({between} {item}){'' if is_required else '?'} {after}")
    return start


def _properties(schema: dict[str, Any]) -> list[tuple[str, dict[str, Any], bool]]:
    """Each with its name, and whether it is required."""
    required, properties = schema.get("required"), schema.get("properties")
    names = required if isinstance(required, list) else []
    return [
        (key, value if isinstance(value, dict) else {}, key in names)
        for key, value in (properties.items() if isinstance(properties, dict) else ())
    ]


class _Bare:
    """Objects of bare words, whose strings stand between quotes of their own."""

    _KEY = "/[^\\x00-\\x20\"'<>=:,{}()\\[\\]]+/"  # where none is named

    def __init__(self, rules: Rules, values: Values, quote: str) -> None:
        self._rules = rules
        self._values = values
        self._quote = quote
        self._anything: str | None = None
        self._known: dict[str, str] = {}  # rules of what is referred to, which may hold itself

    def object(self, schema: dict[str, Any]) -> str:
        if "properties" not in schema:
            pair = f'{self._KEY} ":" {self._any()}'
            return self._rules.add(f'"{{" ({pair} ("," {pair})*)? "}}"')
        items = [
            (self._rules.add(f"{quoted(key + ':')} {self._value(value)}"), is_required)
            for key, value, is_required in _properties(schema)
        ]
        return self._rules.add(f'"{{" {_sequence(self._rules, items, quoted(","))} "}}"')

    def _value(self, schema: dict[str, Any]) -> str:
        reference = schema.get("$ref")
        if not isinstance(reference, str):
            return self._rules.add(self._body(schema))
        if reference not in self._known:
            self._known[reference] = self._rules.reserve()
            body = self._body(self._values.resolved(reference))
            self._rules.define(self._known[reference], body)
        return self._known[reference]

    def _body(self, schema: dict[str, Any]) -> str:
        for several in ("anyOf", "oneOf"):
            if isinstance(schema.get(several), list):
                return " | ".join(map(self._value, schema[several]))
        return " | ".join(map(self._of_one_type, self._values.options(schema)))

    def _of_one_type(self, schema: dict[str, Any]) -> str:
        match schema.get("type"):
            case "string":
                opening = self._rules.literal(self._quote)
                return f"{opening} {self._values.string(schema, self._quote)}"
            case "number" | "integer" | "boolean" | "null":
                return self._values.json(schema)
            case "object":
                return self.object(schema)
            case "array":
                return self._array(schema)
            case _ if {"enum", "const"} & schema.keys():
                return self._values.json(schema)
            case _:
                return self._any()

    def _array(self, schema: dict[str, Any]) -> str:
        items, least, most = (schema.get(key) for key in ("items", "minItems", "maxItems"))
        item = self._value(items) if isinstance(items, dict) else self._any()
        fewer = least - 1 if isinstance(least, int) and least > 1 else 0
        more = max(most - 1, 0) if isinstance(most, int) else ""
        some = f'({item} ("," {item}){{{fewer},{more}}})'
        if most == 0:
            return '"[]"'
        return f'"[" {some}{"" if least else "?"} "]"'

    def _any(self) -> str:
        if self._anything is None:
            self._anything = any = self._rules.reserve()
            text = self._of_one_type({"type": "string"})
            plain = self._values.json({"type": ["number", "boolean", "null"]})
            pair = f'{self._KEY} ":" {any}'
            array, object = (
                f'"{begin}" ({one} ("," {one})*)? "{end}"'
                for begin, one, end in (("[", any, "]"), ("{", pair, "}"))
            )
            self._rules.define(any, f"{text} | {plain} | {array} | {object}")
        return self._anything

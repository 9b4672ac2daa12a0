"""The arguments of a call as rules, in the style in which the model writes them."""

from collections.abc import Mapping, Sequence
from typing import Any

from registry.checkpoint.call_syntax import CallSyntax, Tags
from registry.checkpoint.config import Json
from runtime.requests import Tool

from .lark import ANY, Rules, escaped, quoted
from .schema import embedded

_KEY = "/[^\\x00-\\x20\"'<>=:,{}()\\[\\]]+/"  # of an object of bare words, where none is named
_PLAIN = ("number", "integer", "boolean", "null")


def rule_of(rules: Rules, tool: Tool, syntax: CallSyntax, param: str, *, is_strict: bool) -> str:
    """The name of a rule, or nothing for a function without arguments. Raises ConstraintRefused.

    `is_strict` refuses what cannot be enforced; else it is passed over.
    """
    schema = {"type": "object", **tool.parameters}
    if syntax.style == "json":
        closed = _closed(schema)
        return rules.add(embedded(closed, param, lenient=not is_strict))
    values = _Values(rules, schema, syntax, param, is_lenient=not is_strict)
    if syntax.style == "bare":
        return values.bare(schema)
    return values.tagged(syntax.tags or Tags("", "=", "", ", "))


def _closed(schema: dict[str, Json]) -> dict[str, Json]:
    """A function takes the arguments that it names, unless it says otherwise."""
    says = {"additionalProperties", "patternProperties", "allOf", "anyOf", "oneOf", "$ref", "not"}
    if schema.get("properties") is None or says & schema.keys():
        return schema
    return {**schema, "additionalProperties": False}


class _Values:
    def __init__(
        self,
        rules: Rules,
        schema: dict[str, Any],
        syntax: CallSyntax,
        param: str,
        *,
        is_lenient: bool,
    ) -> None:
        self._rules = rules
        self._schema = schema
        self._syntax = syntax
        self._param = param
        self._is_lenient = is_lenient
        self._any: str | None = None

    def tagged(self, tags: Tags) -> str:
        """Each argument by itself."""
        items: list[tuple[str, bool]] = []
        for key, schema, is_required in _properties(self._schema):
            options = self._options(schema)
            is_string = any(option.get("type", "string") == "string" for option in options)
            opening = tags.key_open + key + tags.key_close
            opening = opening.replace("{is_string}", "true" if is_string else "false")
            closing = tags.value_close.replace("{key}", key)
            body = f"{self._rules.literal(opening)} {self._tagged_value(schema, closing)}"
            items.append((self._rules.add(body), is_required))
        return self._sequence(items, self._rules.literal(tags.between))

    def _tagged_value(self, schema: dict[str, Any], closing: str) -> str:
        options = self._options(schema)
        if self._syntax.style == "python":
            return f"{self._python(schema)} {self._rules.literal(closing)}"
        if all(option.get("type") == "string" or _texts(option) for option in options):
            bodies = [self._string(option, closing) for option in options]
            return self._rules.add(" | ".join(bodies))
        if any(option.get("type", "string") == "string" for option in options):
            return self._string({}, closing)
        return f"{self._json(schema)} {self._rules.literal(closing)}"

    def _python(self, schema: dict[str, Any]) -> str:
        bodies: list[str] = []
        for option in self._options(schema):
            match option.get("type"):
                case "boolean":
                    bodies.append('"True" | "False"')
                case "null":
                    bodies.append('"None"')
                case _:
                    bodies.append(self._json(option))
        return self._rules.add(" | ".join(bodies))

    def bare(self, schema: dict[str, Any]) -> str:
        """An object of bare words."""
        comma = quoted(",")
        if "properties" not in schema:
            pair = self._rules.add(f'{_KEY} ":" {self._any_value()}')
            return self._rules.add(f'"{{" ({pair} ({comma} {pair})*)? "}}"')
        items = [
            (self._rules.add(f"{quoted(key + ':')} {self._bare_value(value)}"), is_required)
            for key, value, is_required in _properties(schema)
        ]
        return self._rules.add(f'"{{" {self._sequence(items, comma)} "}}"')

    def _bare_value(self, schema: dict[str, Any]) -> str:
        bodies: list[str] = []
        for option in self._options(schema):
            kind = option.get("type")
            if kind == "string" or _texts(option):
                opening = self._rules.literal(self._syntax.quote)
                bodies.append(f"{opening} {self._string(option, self._syntax.quote)}")
            elif kind in _PLAIN:
                bodies.append(self._json(option))
            elif kind == "object":
                bodies.append(self.bare(option))
            elif kind == "array":
                bodies.append(self._bare_array(option))
            else:
                bodies.append(self._any_value())
        return self._rules.add(" | ".join(bodies))

    def _bare_array(self, schema: dict[str, Any]) -> str:
        items = schema.get("items")
        item = self._bare_value(items) if isinstance(items, dict) else self._any_value()
        return self._rules.add(f'"[" ({item} ("," {item})*)? "]"')

    def _any_value(self) -> str:
        if self._any is None:
            self._any = self._rules.reserve()
            quote = self._rules.literal(self._syntax.quote)
            text = f"{quote} {self._string({}, self._syntax.quote)}"
            plain = self._json({"type": list(_PLAIN)})
            array = f'"[" ({self._any} ("," {self._any})*)? "]"'
            pair = f'{_KEY} ":" {self._any}'
            object = f'"{{" ({pair} ("," {pair})*)? "}}"'
            self._rules.define(self._any, f"{text} | {plain} | {array} | {object}")
        return self._any

    def _sequence(self, items: Sequence[tuple[str, bool]], between: str) -> str:
        """Items in their order, with something between two of them; some may be missing."""
        begun = rest = ""  # what may follow behind an item, and before any
        for item, is_required in reversed(items):
            mark = "" if is_required else "?"
            first = f"{item} {begun}"
            if not is_required and rest:
                first = f"({first} | {rest})"
            elif not is_required:
                first = f"({first})?"
            rest = self._rules.add(first)
            begun = self._rules.add(f"({between} {item}){mark} {begun}")
        return rest

    def _string(self, schema: dict[str, Any], closing: str) -> str:
        """A text that stands as it is, up to where it closes."""
        if texts := _texts(schema):
            choice = self._rules.add(" | ".join(map(quoted, texts)), is_terminal=True)
            return f"{choice} {self._rules.literal(closing)}"
        bounds = ANY
        least, most = schema.get("minLength", 0), schema.get("maxLength", "")
        if least or most != "":
            bounds = f"/(?s:.){{{int(least)},{most}}}/"
        head, rest = self._rules.first(closing)
        if self._rules.is_special(head):
            return f"{self._rules.add(bounds, is_terminal=True)} {self._rules.literal(closing)}"
        text = f"({bounds} & ~/(?s:.*){escaped(head)}(?s:.*)/) {quoted(head)}"
        terminal = self._rules.add(text, is_terminal=True)
        return f"{self._rules.add(terminal, lazy=True)} {self._rules.literal(rest)}"

    def _json(self, schema: Mapping[str, Any]) -> str:
        shared: dict[str, Any] = {
            key: self._schema[key] for key in ("$defs", "definitions") if key in self._schema
        }
        body = embedded({**shared, **schema}, self._param, lenient=self._is_lenient)
        return self._rules.add(body)

    def _options(self, schema: dict[str, Any]) -> list[dict[str, Any]]:
        """The schemas of one type each that it allows, as far as that can be told."""
        reference = schema.get("$ref")
        if isinstance(reference, str) and reference.startswith("#/"):
            found: Any = self._schema
            for part in reference[2:].split("/"):
                found = found.get(part) if isinstance(found, dict) else None
            if isinstance(found, dict) and "$ref" not in found:
                return self._options(found)
        if isinstance(schema.get("type"), list):
            return [{**schema, "type": kind} for kind in schema["type"]]
        for key in ("anyOf", "oneOf"):
            if isinstance(schema.get(key), list):
                return [o for option in schema[key] for o in self._options(_object(option))]
        return [schema]


def _properties(schema: dict[str, Any]) -> list[tuple[str, dict[str, Any], bool]]:
    required = schema.get("required")
    names = required if isinstance(required, list) else []
    properties = _object(schema.get("properties"))
    return [(key, _object(value), key in names) for key, value in properties.items()]


def _texts(schema: dict[str, Any]) -> list[str]:
    """The texts that it lists, if it lists nothing else."""
    listed = [schema["const"]] if "const" in schema else schema.get("enum")
    if not isinstance(listed, list) or not all(isinstance(text, str) for text in listed):
        return []
    return [text for text in listed if text]


def _object(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}

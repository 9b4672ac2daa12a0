"""Single values as rules: as JSON, as Python writes them, as plain text between tags."""

from collections.abc import Sequence
from typing import Any

from llguidance import regex_to_lark

from .lark import ANY, Rules, escaped, quoted
from .schema import embedded

_MAX_DEPTH = 8  # of schemas that refer to schemas
# Characters of a string between single quotes, as Python writes it.
_SINGLE_QUOTED = "([^'\\\\\\x00-\\x1f]|\\\\['\\\\nrt])"


class Values:
    """Of one function's arguments."""

    def __init__(
        self, rules: Rules, schema: dict[str, Any], param: str, *, is_strict: bool
    ) -> None:
        """`schema` is of all arguments, which those of one may refer to."""
        self._rules = rules
        self._schema = schema
        self._param = param
        self._is_strict = is_strict

    def json(self, schema: dict[str, Any]) -> str:
        """The name of a rule. Raises ConstraintRefused."""
        shared: dict[str, Any] = {
            key: self._schema[key] for key in ("$defs", "definitions") if key in self._schema
        }
        body = embedded({**shared, **schema}, self._param, lenient=not self._is_strict)
        return self._rules.add(body)

    def plain(self, options: Sequence[dict[str, Any]], closing: str) -> str:
        """A string stands as it is, anything else as JSON; then it is closed."""
        bodies: list[str] = []
        for option in options:
            if is_text(option):
                bodies.append(self.string(option, closing))
            else:
                bodies.append(f"{self.json(option)} {self._rules.literal(closing)}")
        return self._rules.add(" | ".join(dict.fromkeys(bodies)))

    def python(self, options: Sequence[dict[str, Any]]) -> str:
        bodies: list[str] = []
        for option in options:
            match option.get("type"):
                case "boolean":
                    bodies.append('"True" | "False"')
                case "null":
                    bodies.append('"None"')
                case "string":
                    bodies += [self.json(option), *self._single_quoted(option)]
                case _:
                    bodies.append(self.json(option))
        return self._rules.add(" | ".join(bodies))

    def _single_quoted(self, schema: dict[str, Any]) -> list[str]:
        if {"pattern", "format", "enum", "const"} & schema.keys():
            return []
        return [f"/'{_SINGLE_QUOTED}{_bounds(schema) or '*'}'/"]

    def string(self, schema: dict[str, Any], closing: str) -> str:
        """A text that stands as it is, up to where it closes."""
        listed = [schema["const"]] if "const" in schema else schema.get("enum")
        if isinstance(listed, list):
            texts = [quoted(text) for text in listed if isinstance(text, str)]
            choice = self._rules.add(" | ".join(texts) or '""', is_terminal=True)
            return f"{choice} {self._rules.literal(closing)}"
        text = f"/(?s:.){bounds}/" if (bounds := _bounds(schema)) else ANY
        if self._is_strict and isinstance(pattern := schema.get("pattern"), str):
            text += f" & /{_searched(pattern)}/"
        head, rest = self._rules.first(closing)
        if self._rules.is_special(head):
            return f"{self._rules.add(text, is_terminal=True)} {self._rules.literal(closing)}"
        text = f"({text} & ~/(?s:.*){escaped(head)}(?s:.*)/) {quoted(head)}"
        terminal = self._rules.add(text, is_terminal=True)
        return f"{self._rules.add(terminal, lazy=True)} {self._rules.literal(rest)}"

    def options(self, schema: dict[str, Any], depth: int = 0) -> list[dict[str, Any]]:
        """The schemas of one type each that it allows, as far as that can be told."""
        if depth > _MAX_DEPTH:
            return [schema]
        if isinstance(reference := schema.get("$ref"), str):
            return self.options(self.resolved(reference), depth + 1)
        if isinstance(kinds := schema.get("type"), list):
            return [{**schema, "type": kind} for kind in kinds]
        for several in ("anyOf", "oneOf"):
            if isinstance(inner := schema.get(several), list):
                parts = [option for option in inner if isinstance(option, dict)]
                return [one for option in parts for one in self.options(option, depth + 1)]
        if "type" not in schema and {"enum", "const"} & schema.keys():
            return self._listed(schema)
        return [schema]

    def _listed(self, schema: dict[str, Any]) -> list[dict[str, Any]]:
        listed = [schema["const"]] if "const" in schema else schema["enum"]
        if not isinstance(listed, list):
            return [schema]
        texts = [value for value in listed if isinstance(value, str)]
        others = [value for value in listed if not isinstance(value, str)]
        kinds: list[dict[str, Any]] = [{"type": "string", "enum": texts}] if texts else []
        return [*kinds, {"enum": others}] if others else kinds

    def resolved(self, reference: str) -> dict[str, Any]:
        """What is referred to; nothing that is known, where that cannot be told."""
        found: Any = self._schema if reference.startswith("#") else None
        for part in reference[1:].split("/")[1:]:
            name = part.replace("~1", "/").replace("~0", "~")
            found = found.get(name) if isinstance(found, dict) else None
        return found if isinstance(found, dict) else {}


def is_text(option: dict[str, Any]) -> bool:
    """Whether a value may stand as it is: a string, or where nothing is said of it."""
    return option.get("type") == "string" or not {"type", "enum", "const"} & option.keys()


def _bounds(schema: dict[str, Any]) -> str:
    least, most = schema.get("minLength"), schema.get("maxLength")
    if not isinstance(least, int) and not isinstance(most, int):
        return ""
    return f"{{{least or 0},{'' if most is None else most}}}"


def _searched(pattern: str) -> str:
    """Anywhere in the text, where it is not anchored."""
    begin = "" if pattern.startswith("^") else "(?s:.*)"
    end = "" if pattern.endswith("$") and not pattern.endswith("\\$") else "(?s:.*)"
    inner: str = regex_to_lark(pattern.removeprefix("^").removesuffix("$" if not end else ""), "dw")
    return f"{begin}({inner}){end}"

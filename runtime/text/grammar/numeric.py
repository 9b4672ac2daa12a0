"""Numbers in schemas, brought to what a grammar can say of them, and to an end."""

import json
import math
from collections.abc import Sequence
from typing import Any, TypeGuard

# Small models would go on with digits for ever; few readers could hold what is longer than this.
_HIGHEST, _FINEST = 9e18, 1e-10
_KEYS = ("type", "minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf")
# What says more of a number, so that bounds of ours might contradict it.
_ELSEWHERE = frozenset(["enum", "const", "allOf", "anyOf", "oneOf", "$ref"])


class Numbers:
    """Of one schema. What is alike is defined once: a range is a large regular expression."""

    def __init__(self, parts: Sequence[dict[str, Any]]) -> None:
        """`parts` are all schemas in it."""
        # There the types of options are compared, or references lead elsewhere.
        self._is_shared = not any(
            {"oneOf", "allOf", "$id"} & part.keys() or isinstance(part.get("id"), str)
            for part in parts
        )
        self._names: dict[str, str] = {}
        self.definitions: dict[str, Any] = {}

    def bound(self, part: dict[str, Any]) -> None:
        """Change a schema so that its numbers have an end."""
        _move_bounds(part)
        if part.get("type") not in ("integer", "number") or _ELSEWHERE & part.keys():
            return
        _bound_digits(part)
        if self._is_shared:
            number = {key: part.pop(key) for key in _KEYS if key in part}
            key = json.dumps(number)
            name = self._names.setdefault(key, f"number {len(self._names)} of ours")
            self.definitions[name] = number
            part["$ref"] = f"#/$defs/{name.replace(' ', '%20')}"


def _move_bounds(part: dict[str, Any]) -> None:
    """llguidance lets 1 pass above 1 and below 1.5; an inclusive bound a hair further does not."""
    for side, sign in (("Minimum", 1), ("Maximum", -1)):
        name, other = f"exclusive{side}", side.lower()
        bound, inclusive = part.get(name), part.get(other)
        if part.get("type") == "integer" or not _is_number(bound) or bound != round(bound):
            continue
        moved = bound + sign * max(1e-9, abs(bound) * 1e-12)
        if _is_number(inclusive):
            moved = max(moved, inclusive) if sign > 0 else min(moved, inclusive)
        del part[name]
        part[other] = moved


def _bound_digits(part: dict[str, Any]) -> None:
    bounds = [part.get(key, 0) for key in _KEYS[1:5]]
    if not all(_is_number(bound) and abs(bound) < _HIGHEST for bound in bounds):
        return
    for name, exclusive, bound in (
        ("minimum", "exclusiveMinimum", -_HIGHEST),
        ("maximum", "exclusiveMaximum", _HIGHEST),
    ):
        if exclusive not in part:
            part.setdefault(name, bound)
    highest = part.get("maximum", part.get("exclusiveMaximum", _HIGHEST))
    lowest = part.get("minimum", part.get("exclusiveMinimum", -_HIGHEST))
    if part["type"] == "number" and highest - lowest > 1e-6:
        part.setdefault("multipleOf", _FINEST)


def _is_number(value: Any) -> TypeGuard[int | float]:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return is_number and math.isfinite(value)

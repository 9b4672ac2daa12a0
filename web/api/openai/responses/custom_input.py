"""The input of a custom tool, out of the arguments of the function that it is to a model."""

import json
import re

from .items import CUSTOM_INPUT

_HEAD = re.compile(rf'\s*\{{\s*"{CUSTOM_INPUT}"\s*:\s*"')
# As much of a JSON string as can be read for itself: no part of an escape, and no half of two.
_TEXT = re.compile(
    r'(?:[^"\\]|\\["\\/bfnrt]|\\u(?!d[89ab])[0-9a-f]{4}|\\ud[89ab][0-9a-f]{2}(?:\\u[0-9a-f]{4}))*',
    re.IGNORECASE,
)


class CustomInput:
    """`{"input": "a text"}` comes in pieces, and leaves as pieces of the text."""

    def __init__(self) -> None:
        self._rest = ""
        self._is_inside = False

    def add(self, piece: str) -> str:
        """More of it; what can be told by now."""
        self._rest += piece
        if not self._is_inside:
            head = _HEAD.match(self._rest)
            if head is None:
                return ""
            self._is_inside, self._rest = True, self._rest[head.end() :]
        found = _TEXT.match(self._rest)
        assert found is not None
        self._rest = self._rest[found.end() :]
        return _read(found[0])


def whole(arguments: str) -> str:
    """The input of a call that is over; what is no JSON, of a model that was free, as it is."""
    try:
        value = json.loads(arguments, strict=False)
    except ValueError:
        return arguments
    text = value.get(CUSTOM_INPUT) if isinstance(value, dict) else None
    return text if isinstance(text, str) else arguments


def _read(text: str) -> str:
    try:
        read: str = json.loads(f'"{text}"', strict=False)
    except ValueError:
        return ""
    return read

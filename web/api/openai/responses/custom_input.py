"""The input of a custom tool, out of the arguments of the function that it is to a model."""

import json
import re

from .items import CUSTOM_INPUT

_HEAD = re.compile(rf'\s*\{{\s*"{CUSTOM_INPUT}"\s*:\s*"')
# As much of a JSON string as can be read for itself: no part of an escape, and of a pair that makes
# one character both. Half of a pair stands alone once it is clear what follows.
_TEXT = re.compile(
    r"""(?: [^"\\] | \\["\\/bfnrt]
        | \\u(?!d[89ab])[0-9a-f]{4}
        | \\ud[89ab][0-9a-f]{2} (?: \\ud[c-f][0-9a-f]{2}
                                 | (?= [^\\] | \\[^u] | \\u[^d] | \\ud[^c-f] )) )*""",
    re.IGNORECASE | re.VERBOSE,
)


class CustomInput:
    """`{"input": "a text"}` comes in pieces, and leaves as pieces of the text."""

    def __init__(self) -> None:
        self._rest = ""
        self._told: list[str] | None = None  # once the text has begun

    def add(self, piece: str) -> str:
        """More of it; what can be told by now."""
        self._rest += piece
        if self._told is None:
            head = _HEAD.match(self._rest)
            if head is None:
                return ""
            self._told, self._rest = [], self._rest[head.end() :]
        found = _TEXT.match(self._rest)
        assert found is not None
        self._rest = self._rest[found.end() :]
        self._told.append(_read(found[0]))
        return self._told[-1]

    def whole(self, arguments: str) -> str:
        """The input of a call that is over, by all of its arguments.

        Of one that was cut that is what was told; what is no such object, of a model that was
        free, is told as it is.
        """
        try:
            value = json.loads(arguments, strict=False)
        except ValueError:
            return arguments if self._told is None else "".join(self._told)
        text = value.get(CUSTOM_INPUT) if isinstance(value, dict) else None
        return _sound(text) if isinstance(text, str) else arguments


def _read(text: str) -> str:
    try:
        read: str = json.loads(f'"{text}"', strict=False)
    except ValueError:
        return ""
    return _sound(read)


def _sound(text: str) -> str:
    """Without halves of characters, which nothing can be sent with."""
    return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")

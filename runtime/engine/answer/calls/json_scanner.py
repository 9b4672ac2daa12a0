"""Where a JSON value ends that comes in pieces. What is within is not judged."""

import re

_OUTSIDE = re.compile(r'["{}\[\]]')
_INSIDE = re.compile(r'["\\]')
_BEHIND_SCALAR = re.compile(r"[\s,}\]]")


class JsonScanner:
    """Of one value: an object, a list, a string, or anything else up to a comma or a bracket."""

    def __init__(self) -> None:
        self.is_over = False
        self._depth = 0
        self._is_escaped = False
        self._state = self._begin

    def feed(self, text: str) -> int:
        """How many of the characters belong to it."""
        at = 0
        while at < len(text) and not self.is_over:
            at = self._state(text, at)
        return at

    def _begin(self, text: str, at: int) -> int:
        if text[at].isspace():
            return at + 1
        self._state = self._outside if text[at] in '"{[' else self._scalar
        return at

    def _scalar(self, text: str, at: int) -> int:
        found = _BEHIND_SCALAR.search(text, at)
        self.is_over = found is not None
        return found.start() if found else len(text)

    def _outside(self, text: str, at: int) -> int:
        if (found := _OUTSIDE.search(text, at)) is None:
            return len(text)
        if found[0] == '"':
            self._state = self._string
        else:
            self._depth += 1 if found[0] in "{[" else -1
            self.is_over = self._depth <= 0
        return found.end()

    def _string(self, text: str, at: int) -> int:
        if self._is_escaped:
            self._is_escaped = False
            return at + 1
        if (found := _INSIDE.search(text, at)) is None:
            return len(text)
        if found[0] == "\\":
            self._is_escaped = True
        else:
            self._state = self._outside
            self.is_over = self._depth == 0
        return found.end()

"""An incremental parser of JSON, to the letter of RFC 8259: may this text still become a document?

Shares nothing with what makes the answers, so that it can judge them.
"""

from collections.abc import Callable
from typing import TypeAlias

# What a character leads to; None where it is none that may stand here.
State: TypeAlias = Callable[["JsonPrefix", str], "State | None"]


class JsonPrefix:
    """Reads one document, character by character."""

    def __init__(self) -> None:
        self.longest_blank = 0  # run of white space outside of strings
        self._blank = 0
        self._inside: list[str] = []  # the brackets that are open
        self._state: State | None = value

    def read(self, text: str) -> bool:
        """Whether all that was read so far is the beginning of a document."""
        for char in text:
            self._blank = self._blank + 1 if char in " \n\r\t" and not self._is_text else 0
            self.longest_blank = max(self.longest_blank, self._blank)
            if self._state is None:
                return False
            self._state = self._state(self, char)
        return self._state is not None

    @property
    def is_whole(self) -> bool:
        """Whether nothing has to follow."""
        ends = (after, *(digit for digit in (zero, digits, fraction, exponent)))
        return not self._inside and self._state in ends

    @property
    def _is_text(self) -> bool:
        return getattr(self._state, "is_text", False)

    def open(self, bracket: str) -> None:
        self._inside.append(bracket)

    def close(self, bracket: str) -> bool:
        return bool(self._inside) and self._inside.pop() == bracket

    @property
    def innermost(self) -> str:
        return self._inside[-1] if self._inside else ""


def value(parser: JsonPrefix, char: str) -> State | None:
    if char in " \n\r\t":
        return value
    if char == "{":
        parser.open("{")
        return first_key
    if char == "[":
        parser.open("[")
        return first_item
    if char == '"':
        return string(after)
    if char == "-":
        return minus
    if char == "0":
        return zero
    if char in "123456789":
        return digits
    for name in ("true", "false", "null"):
        if char == name[0]:
            return word(name[1:])
    return None


def first_item(parser: JsonPrefix, char: str) -> State | None:
    if char in " \n\r\t":
        return first_item
    return after(parser, char) if char == "]" else value(parser, char)


def first_key(parser: JsonPrefix, char: str) -> State | None:
    if char in " \n\r\t":
        return first_key
    return after(parser, char) if char == "}" else key(parser, char)


def key(parser: JsonPrefix, char: str) -> State | None:
    if char in " \n\r\t":
        return key
    return string(colon) if char == '"' else None


def colon(parser: JsonPrefix, char: str) -> State | None:
    if char in " \n\r\t":
        return colon
    return value if char == ":" else None


def after(parser: JsonPrefix, char: str) -> State | None:
    """Behind a value."""
    if char in " \n\r\t":
        return after
    if char == ",":
        return {"{": key, "[": value}.get(parser.innermost)
    if char in "}]":
        return after if parser.close({"}": "{", "]": "["}[char]) else None
    return None


def word(rest: str) -> State:
    def state(parser: JsonPrefix, char: str) -> State | None:
        if char != rest[0]:
            return None
        return word(rest[1:]) if len(rest) > 1 else after

    return state


def string(then: State) -> State:
    def text(parser: JsonPrefix, char: str) -> State | None:
        if char == '"':
            return then
        if char == "\\":
            return escape
        return text if char >= " " else None

    def escape(parser: JsonPrefix, char: str) -> State | None:
        if char == "u":
            return hexadecimal(4)
        return text if char in '"\\/bfnrt' else None

    def hexadecimal(left: int) -> State:
        def state(parser: JsonPrefix, char: str) -> State | None:
            if char not in "0123456789abcdefABCDEF":
                return None
            return hexadecimal(left - 1) if left > 1 else text

        state.is_text = True  # type: ignore[attr-defined]
        return state

    text.is_text = escape.is_text = True  # type: ignore[attr-defined]
    return text


def minus(parser: JsonPrefix, char: str) -> State | None:
    if char == "0":
        return zero
    return digits if char in "123456789" else None


def zero(parser: JsonPrefix, char: str) -> State | None:
    if char == ".":
        return point
    return begin_exponent if char in "eE" else after(parser, char)


def digits(parser: JsonPrefix, char: str) -> State | None:
    return digits if char in "0123456789" else zero(parser, char)


def point(parser: JsonPrefix, char: str) -> State | None:
    return fraction if char in "0123456789" else None


def fraction(parser: JsonPrefix, char: str) -> State | None:
    if char in "0123456789":
        return fraction
    return begin_exponent if char in "eE" else after(parser, char)


def begin_exponent(parser: JsonPrefix, char: str) -> State | None:
    return sign if char in "+-" else sign(parser, char)


def sign(parser: JsonPrefix, char: str) -> State | None:
    return exponent if char in "0123456789" else None


def exponent(parser: JsonPrefix, char: str) -> State | None:
    return exponent if char in "0123456789" else after(parser, char)

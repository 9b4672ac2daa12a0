"""JSON as it leaves: compact, and on one line for every reader."""

import re

import msgspec

_encode = msgspec.json.Encoder().encode

# U+0085, U+2028, U+2029: Python's splitlines and JavaScript before 2019 take them for line ends.
_LINE_ENDS = re.compile(rb"\xc2\x85|\xe2\x80[\xa8\xa9]")
_ESCAPED = {
    b"\xc2\x85": b"\\u0085",
    b"\xe2\x80\xa8": b"\\u2028",
    b"\xe2\x80\xa9": b"\\u2029",
}


def encode(value: object) -> bytes:
    """One JSON value on one line, whatever the reader takes for a line's end."""
    text = _encode(value)
    if b"\xc2\x85" in text or b"\xe2\x80" in text:
        return _LINE_ENDS.sub(lambda match: _ESCAPED[match[0]], text)
    return text

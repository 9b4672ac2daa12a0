"""The wire format of Protocol Buffers, as far as a SentencePiece model uses it.

https://protobuf.dev/programming-guides/encoding: a message is a row of fields, each a number and a
value, whose meaning only the schema tells.
"""

import struct
from collections.abc import Iterator
from typing import TypeAlias

Value: TypeAlias = int | bytes  # a varint, or the bytes of anything else

_VARINT, _EIGHT_BYTES, _LENGTH, _FOUR_BYTES = 0, 1, 2, 5
_MAX_VARINT_BYTES = 10


def fields(message: memoryview) -> Iterator[tuple[int, Value | memoryview]]:
    """Each field's number and value, in the order of the file. Raises ValueError if it is none."""
    at = 0
    while at < len(message):
        key, at = _varint(message, at)
        number, kind = key >> 3, key & 7
        if kind == _VARINT:
            value, at = _varint(message, at)
            yield number, value
            continue
        if kind == _LENGTH:
            length, at = _varint(message, at)
        elif kind in (_EIGHT_BYTES, _FOUR_BYTES):
            length = 8 if kind == _EIGHT_BYTES else 4
        else:
            raise ValueError(f"byte {at} begins a field of the unknown kind {kind}")
        if number == 0 or at + length > len(message):
            raise ValueError(f"the field at byte {at} is longer than the rest of the file")
        yield number, message[at : at + length]
        at += length


def float32(value: Value | memoryview) -> float:
    """A field's value as a number. Raises ValueError."""
    if isinstance(value, int) or len(value) != 4:
        raise ValueError("a number of four bytes was expected")
    return float(struct.unpack("<f", value)[0])


def _varint(message: memoryview, at: int) -> tuple[int, int]:
    value = 0
    for place in range(_MAX_VARINT_BYTES):
        if at + place >= len(message):
            break
        byte = message[at + place]
        value |= (byte & 0x7F) << (7 * place)
        if byte < 0x80:
            return value, at + place + 1
    raise ValueError(f"a number that does not end begins at byte {at}")

"""Damage that tests do to files of weights."""

import struct

from hypothesis import strategies as st

# What kills `mx.load` of MLX 0.32.4: a GGUF of 35 bytes that promises a key of 2**62.
KILLER = b"GGUF" + struct.pack("<IQQQ", 3, 0, 1, 1 << 62) + b"abc"


def mutated(valid: bytes) -> st.SearchStrategy[bytes]:
    """Some bytes changed, or the file cut short, or bytes put in."""
    place = st.integers(0, len(valid) - 1)
    changes = st.lists(st.tuples(place, st.integers(0, 255)), min_size=1, max_size=4)

    def change(edits: list[tuple[int, int]]) -> bytes:
        content = bytearray(valid)
        for at, byte in edits:
            content[at] = byte
        return bytes(content)

    return st.one_of(
        changes.map(change),
        place.map(lambda at: valid[:at]),
        st.tuples(place, st.binary(min_size=1, max_size=9)).map(
            lambda edit: valid[: edit[0]] + edit[1] + valid[edit[0] :]
        ),
        st.binary(max_size=200).map(lambda tail: valid[:8] + tail),
    )

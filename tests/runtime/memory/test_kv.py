"""Tests of runtime.memory.kv: the bytes of rows, on tables."""

import pytest

from registry.checkpoint.cache_shape import CacheShape, Window
from runtime.memory import kv

FULL = CacheShape(token_bytes=100)
WINDOWED = CacheShape(token_bytes=10, windows=(Window(512, 100), Window(1024, 1)))
STATE = CacheShape(state_bytes=5000)


@pytest.mark.parametrize(
    ("shape", "lengths", "expected"),
    [
        (FULL, [], 0),
        (FULL, [1], 256 * 100),
        (FULL, [1000], 1255 * 100),
        (FULL, [1000, 10, 10], 3 * 1255 * 100),
        (WINDOWED, [1], 256 * 111),
        (WINDOWED, [4000], 4255 * 10 + 512 * 100 + 1024),
        (STATE, [1], 5000),
        (STATE, [100_000, 1], 10_000),
    ],
)
def test_a_group_takes_its_rows_times_the_longest(
    shape: CacheShape, lengths: list[int], expected: int
) -> None:
    assert kv.group_bytes(shape, lengths) == expected
    if len(lengths) == 1:
        assert kv.row_bytes(shape, lengths[0]) == expected


def test_a_join_is_written_beside_what_it_joins() -> None:
    """One row alone joins nothing."""
    assert kv.join_bytes(FULL, [1000]) == 0
    assert kv.join_bytes(FULL, [1000, 10]) == kv.group_bytes(FULL, [1000, 10])


def test_a_window_holds_the_chunk_that_is_read() -> None:
    assert kv.chunk_bytes(WINDOWED, 512) == 512 * 101
    assert kv.chunk_bytes(FULL, 512) == 0


@pytest.mark.parametrize(("bits", "expected"), [(8, 64 + 4), (4, 32 + 4)])
def test_quantised_numbers_have_scales_and_biases(bits: int, expected: int) -> None:
    """A group of 64 numbers of 2 bytes: what they are packed into, and two of their own width."""
    shape = CacheShape(128 * 3, (Window(8, 16),), 7)
    packed = kv.quantized(shape, bits, number_bytes=2)
    assert packed == CacheShape(3 * expected, shape.windows, 7)

"""Some rows of an array on the device, taken out and put back."""

from collections.abc import Sequence

import mlx.core as mx


def only(array: mx.array, rows: Sequence[int]) -> mx.array:
    """Some rows of an array; all of them without a copy."""
    return array if len(rows) == array.shape[0] else array[mx.array(list(rows))]


def put(array: mx.array, rows: Sequence[int], values: mx.array) -> mx.array:
    """The array with these rows replaced."""
    if len(rows) == array.shape[0]:
        return values.astype(array.dtype)
    replaced = mx.array(array)
    replaced[mx.array(list(rows))] = values.astype(array.dtype)
    return replaced

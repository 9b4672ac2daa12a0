"""Tests of runtime.engine.sampling.top_k: the largest, in falling order, as a sort finds them."""

import mlx.core as mx
import numpy as np
import pytest

from runtime.engine.sampling.top_k import largest


@pytest.mark.parametrize("size", [1, 20, 128, 129, 1000, 5000])
@pytest.mark.parametrize("count", [1, 5, 20, 200])
@pytest.mark.parametrize("step", [0, 0.5], ids=["distinct", "ties"])
def test_the_largest_are_found(size: int, count: int, step: float) -> None:
    """Through blocks or without them, with equals, and with values that are not there at all."""
    values = np.random.default_rng(size + count).normal(0, 2, (3, size)).astype(np.float32)
    if step:
        values = np.round(values / step) * np.float32(step)
    values[1, size // 3 :] = -np.inf
    found, places = (np.array(array) for array in largest(mx.array(values), count))
    expected = -np.sort(-values, axis=-1)[:, :count]
    assert np.array_equal(found, expected)
    assert np.array_equal(np.take_along_axis(values, places, axis=-1), expected)
    assert all(len(set(row)) == len(row) for row in places.tolist())

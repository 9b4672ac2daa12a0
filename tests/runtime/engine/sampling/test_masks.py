"""Tests of runtime.engine.sampling.masks: what a row may not draw, beside rows that may."""

import mlx.core as mx
import numpy as np
import pytest
from numpy.typing import NDArray

from runtime.engine.sampling.masks import Masks


class Only:
    """Allows these tokens."""

    def __init__(self, *tokens: int, is_free: bool = False) -> None:
        self.tokens = tokens
        self.is_free = is_free

    def fill(self, words: NDArray[np.uint32]) -> None:
        if not self.tokens:
            raise ValueError("nothing is allowed")
        words[:] = 0
        for token in self.tokens:
            words[token // 32] |= np.uint32(1 << token % 32)


def allowed(masks: Masks, num_rows: int, size: int = 70) -> list[list[int]]:
    assert masks.compute(size) == {}
    logits = masks.apply(mx.zeros((num_rows, size)))
    return [np.flatnonzero(np.isfinite(np.array(row))).tolist() for row in logits]


EVERY = list(range(70))


def test_each_row_has_its_own_mask() -> None:
    """Beside rows that have none; in words of 32, the last of which is not full."""
    masks = Masks([Only(0, 31, 32, 69), None, Only(5), Only(is_free=True)])
    assert allowed(masks, 4) == [[0, 31, 32, 69], EVERY, [5], EVERY]


def test_rows_come_and_go() -> None:
    masks = Masks([Only(1), None])
    masks.join(Masks([Only(2), None, Only(3)]))
    assert allowed(masks.take([1, 4]), 2) == [EVERY, [3]]
    masks.keep([0, 2, 3])
    assert allowed(masks, 3) == [[1], [2], EVERY]


@pytest.mark.parametrize("dtype", [mx.float32, mx.float16, mx.bfloat16])
def test_what_is_allowed_keeps_its_logit(dtype: mx.Dtype) -> None:
    """To the last bit, in any precision; and what is no number stays none, so that it is seen."""
    masks = Masks([Only(3, 4), None])
    masks.compute(40)
    logits = mx.random.normal((2, 40)).astype(dtype)
    logits[0, 7] = mx.nan
    masked = masks.apply(logits)
    assert masked.dtype == dtype
    assert mx.array_equal(masked[0, 3:5], logits[0, 3:5])
    assert mx.array_equal(masked[1], logits[1])
    assert mx.isnan(masked[0, 7])


def test_a_row_that_fails_fails_alone() -> None:
    """It is told, and draws what it likes until it leaves."""
    masks = Masks([Only(1), Only()])
    assert [str(error) for error in masks.compute(70).values()] == ["nothing is allowed"]
    assert np.isfinite(np.array(masks.apply(mx.zeros((2, 70))))).sum(axis=1).tolist() == [1, 70]


def test_without_masks_nothing_is_computed() -> None:
    masks, logits = Masks([None, Only(is_free=True)]), mx.zeros((2, 70))
    assert masks.compute(70) == {}
    assert masks.apply(logits) is logits

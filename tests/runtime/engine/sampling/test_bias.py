"""Tests of runtime.engine.sampling.bias: what is added, and ends that may not come yet."""

import mlx.core as mx
import numpy as np

from runtime.engine.sampling.bias import Bias
from runtime.requests import SamplingParams

VOCAB_SIZE = 40
PARAMS = [
    SamplingParams(),
    SamplingParams(logit_bias={3: 5.5, 39: -100, 7: 100}),
    SamplingParams(min_tokens=3),
    SamplingParams(logit_bias={4: 50, 8: 1}, min_tokens=2),
]
ENDS = [(4,), (4,), (4, 9), (4, 9)]


def added(bias: Bias, rows: list[int], positions: list[int]) -> None:
    """Check what is added to these of the rows at these positions."""
    logits = np.random.default_rng(1).normal(0, 1, (len(rows), VOCAB_SIZE)).astype(np.float32)
    expected = logits.copy()
    for at, row in enumerate(rows):
        for token, value in PARAMS[row].logit_bias.items():
            expected[at, token] += np.float32(value)
        if positions[at] < PARAMS[row].min_tokens:
            expected[at, list(ENDS[row])] = -np.inf
    assert np.array_equal(np.array(bias.apply(mx.array(logits), positions)), expected)


def test_what_is_added_while_rows_come_and_go() -> None:
    """An end that is favoured may still not come too early; and then it may."""
    bias = Bias.begin(PARAMS[:2], ENDS[:2])
    added(bias, [0, 1], [0, 0])
    bias.join(Bias.begin(PARAMS[2:], ENDS[2:]))
    for position in range(5):
        added(bias, [0, 1, 2, 3], [position] * 4)
    added(bias, [0, 1, 2, 3], [0, 9, 2, 1])
    part = bias.take([1, 3])
    bias.keep([0, 2])
    for position in (0, 2, 4):
        added(part, [1, 3], [position] * 2)
        added(bias, [0, 2], [position] * 2)
    bias.keep([0])
    added(bias, [0], [0])


def test_tokens_beyond_the_vocabulary_are_let_be() -> None:
    """An end that the logits do not have: the device would write beside them."""
    bias = Bias.begin([SamplingParams(min_tokens=1)], [(VOCAB_SIZE, VOCAB_SIZE + 5)])
    logits = mx.zeros((1, VOCAB_SIZE))
    assert np.array_equal(np.array(bias.apply(logits, [0])), np.zeros((1, VOCAB_SIZE)))

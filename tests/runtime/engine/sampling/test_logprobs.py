"""Tests of runtime.engine.sampling.logprobs: likelihoods by definition, while rows come and go."""

import mlx.core as mx
import numpy as np
import pytest

from runtime.engine.sampling.logprobs import Likelihood, Logprobs
from runtime.requests import SamplingParams

VOCAB_SIZE = 700


def check(likelihood: Likelihood | None, logits: np.ndarray, token: int, count: int | None) -> None:
    """Against a softmax in float64."""
    if count is None:
        assert likelihood is None
        return
    exact = logits.astype(np.float64)
    exact = exact - exact.max() - np.log(np.exp(exact - exact.max()).sum())
    assert likelihood is not None and likelihood.logprob == pytest.approx(exact[token], abs=1e-5)
    tokens = [other for other, _ in likelihood.alternatives]
    assert tokens == np.argsort(-exact, kind="stable")[:count].tolist()
    told = [logprob for _, logprob in likelihood.alternatives]
    assert told == pytest.approx(exact[tokens], abs=1e-5)


def test_likelihoods_are_those_of_the_softmax_while_rows_come_and_go() -> None:
    """Each row is told as many alternatives as it asks for, whoever asks for more beside it."""
    counts = [None, 0, 20, 3, None, 5]
    draw = np.random.default_rng(2)
    logits = (draw.normal(0, 4, (6, VOCAB_SIZE))).astype(np.float32)
    tokens = draw.integers(0, VOCAB_SIZE, 6).astype(np.int32)
    columns = [
        Logprobs.begin([SamplingParams(logprobs=count) for count in part])
        for part in (counts[:2], counts[2:])
    ]

    def note(column: Logprobs, rows: list[int]) -> None:
        column.note(mx.array(logits[rows]), mx.array(tokens[rows]))

    def read(column: Logprobs, rows: list[int]) -> None:
        for row, likelihood in zip(rows, column.read(), strict=True):
            check(likelihood, logits[row], int(tokens[row]), counts[row])

    note(columns[0], [0, 1])
    note(columns[1], [2, 3, 4, 5])
    whole, other = columns
    whole.join(other)  # what was noted and not read yet goes along
    read(whole, [0, 1, 2, 3, 4, 5])
    note(whole, [0, 1, 2, 3, 4, 5])
    part = whole.take([1, 2, 4])
    whole.keep([0, 3, 5])
    read(part, [1, 2, 4])
    read(whole, [0, 3, 5])
    note(part, [1, 2, 4])
    read(part, [1, 2, 4])
    whole.keep([0])
    read(whole, [0])


def test_there_may_be_fewer_tokens_than_are_asked_for() -> None:
    column = Logprobs.begin([SamplingParams(logprobs=20)])
    column.note(mx.array([[1.0, 3.0, 2.0]]), mx.array([0]))
    (likelihood,) = column.read()
    assert likelihood is not None
    assert [token for token, _ in likelihood.alternatives] == [1, 2, 0]

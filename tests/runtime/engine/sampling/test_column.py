"""Tests of runtime.engine.sampling.column: columns whose rows came and went equal new ones."""

import mlx.core as mx

from runtime.engine.sampling.column import Values
from runtime.engine.sampling.sampler import Sampler
from runtime.requests import SamplingParams

ROWS = [
    SamplingParams(0, seed=1),
    SamplingParams(1, seed=2),
    SamplingParams(0.7, 0.9, seed=3),
    SamplingParams(1.3, 0.2, seed=-4),
    SamplingParams(1, seed=5),
]


def test_values_join_leave_and_are_taken() -> None:
    """In the order that is asked for; a part leaves the whole as it is."""
    values = Values(mx.array([[1, 2], [3, 4]]))
    values.join(Values(mx.array([[5, 6]])))
    assert values.take([2, 0]).array.tolist() == [[5, 6], [1, 2]]
    values.keep([1, 2])
    assert values.array.tolist() == [[3, 4], [5, 6]]


def test_a_sampler_draws_as_one_that_was_made_for_its_rows() -> None:
    """However its rows came together."""
    mx.random.seed(7)
    logits = mx.random.normal((5, 300)) * 2

    def draw(sampler: Sampler, rows: list[int]) -> list[int]:
        positions = mx.array([10 + row for row in rows])
        drawn: list[int] = sampler.draw(logits[mx.array(rows)], positions).tolist()  # type: ignore[assignment]
        return drawn

    expected = draw(Sampler(ROWS), [0, 1, 2, 3, 4])
    joined = Sampler(ROWS[:2])
    joined.join(Sampler(ROWS[2:]))
    assert draw(joined, [0, 1, 2, 3, 4]) == expected
    part = joined.take([4, 2])
    assert draw(part, [4, 2]) == [expected[4], expected[2]]
    joined.keep([0, 3])
    assert draw(joined, [0, 3]) == [expected[0], expected[3]]
    assert draw(part, [4, 2]) == [expected[4], expected[2]]

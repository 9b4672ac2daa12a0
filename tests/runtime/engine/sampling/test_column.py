"""Tests of runtime.engine.sampling.column: columns whose rows came and went equal new ones."""

import io

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
    """A part leaves the whole as it is."""
    values = Values(mx.array([[1, 2], [3, 4]]))
    values.join(Values(mx.array([[5, 6]])))
    assert values.take([0, 2]).array.tolist() == [[1, 2], [5, 6]]
    values.keep([1, 2])
    assert values.array.tolist() == [[3, 4], [5, 6]]


def test_a_sampler_draws_as_one_that_was_made_for_its_rows() -> None:
    """However its rows came together."""
    mx.random.seed(7)
    logits = mx.random.normal((5, 300)) * 2

    def draw(sampler: Sampler, rows: list[int]) -> list[int]:
        positions = [10 + row for row in rows]
        drawn: list[int] = sampler.draw(logits[mx.array(rows)], positions).tolist()  # type: ignore[assignment]
        return drawn

    expected = draw(Sampler(ROWS), [0, 1, 2, 3, 4])
    joined = Sampler(ROWS[:2])
    joined.join(Sampler(ROWS[2:]))
    assert draw(joined, [0, 1, 2, 3, 4]) == expected
    part = joined.take([2, 4])
    assert draw(part, [2, 4]) == [expected[2], expected[4]]
    joined.keep([0, 3])
    assert draw(joined, [0, 3]) == [expected[0], expected[3]]
    assert draw(part, [2, 4]) == [expected[2], expected[4]]


def test_rows_that_come_and_go_leave_nothing_behind() -> None:
    """A greedy row never computes its key: how the key was made must not pile up behind it."""
    sampler = Sampler(ROWS[:1])
    for _ in range(50):
        sampler.join(Sampler(ROWS[:1]))
        sampler.keep([1])
    graph = io.StringIO()
    mx.eval(sampler.draw(mx.zeros((1, 30)), [0]))
    mx.export_to_dot(graph, *sampler._keys)
    assert graph.getvalue().count("\n") < 10

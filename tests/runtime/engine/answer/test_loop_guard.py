"""Tests of runtime.engine.answer.loop_guard: what repeats itself is found, and nothing else."""

import random
from collections.abc import Sequence

import pytest

from runtime.engine.answer.loop_guard import LoopGuard


def ends_at(tokens: Sequence[int]) -> int | None:
    guard = LoopGuard()
    for number, token in enumerate(tokens, 1):
        guard.add(token)
        if guard.is_looping:
            return number
    return None


@pytest.mark.parametrize("period", [1, 2, 7, 16, 17, 100, 256])
def test_a_piece_that_comes_again_and_again_is_found(period: int) -> None:
    """Soon after its sixth time, and not before 96 tokens; whatever stands before."""
    draw = random.Random(period)
    for num_before in (0, 33):
        before = [draw.randrange(1000) for _ in range(num_before)]
        piece = [1000 + number for number in range(period)]
        at = ends_at([*before, *piece * (600 // period + 7)])
        least = num_before + max(96, 6 * period)
        assert at is not None and least <= at < least + 16 + period


def test_other_answers_go_on() -> None:
    """A table with rows of zeros, five times the same, and a list whose numbers rise."""
    draw = random.Random(1)
    assert ends_at([draw.randrange(50) for _ in range(3000)]) is None
    assert ends_at([*[0] * 95, 1] * 5) is None
    assert ends_at([token for number in range(300) for token in (7, 8, 9, 1000 + number)]) is None
    assert ends_at([*range(300)] * 10) is None  # longer than it looks for

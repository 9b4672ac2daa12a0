"""Tests of the pace on passes that take a told time: (tokens, tokens read before) -> seconds."""

import random
from collections.abc import Callable

import pytest

from runtime.engine.batch.pace import Pace

CHUNK_TOKENS, LIMIT_S, ALONE, BESIDE = 512, 0.25, 4, 0.4


def passes(
    pace: Pace, length: int, seconds: Callable[[int, int], float], share: float
) -> list[tuple[int, float]]:
    """A prompt is read: how many tokens each pass had, and how long it took."""
    read, found = 0, list[tuple[int, float]]()
    while read < length:
        planned = min(CHUNK_TOKENS, pace.budget(share))
        count = min(planned, length - read)
        took = seconds(count, read)
        pace.note(count, planned, took)
        found.append((count, took))
        read += count
    return found


def test_passes_take_the_time_that_they_may() -> None:
    """Where a pass costs nothing of its own, its tokens follow the speed, however that falls."""
    pace = Pace(LIMIT_S)
    found = passes(pace, 16_000, lambda count, read: count * (1 + read / 2000) / 1500, BESIDE)
    took = sorted(seconds for _, seconds in found)
    assert took[-1] < 0.21 and took[-len(took) // 30] < 0.12 and 0.08 < sum(took) / len(took) < 0.11
    assert found[-2][0] < found[9][0] / 4  # and they had a far way to fall


def test_noise_makes_no_pass_longer() -> None:
    chance = random.Random(1)
    pace = Pace(LIMIT_S)
    took = passes(pace, 100_000, lambda count, _: count * chance.uniform(0.7, 1.4) / 1500, BESIDE)
    assert max(seconds for _, seconds in took[9:]) < 0.1 * 2.1


@pytest.mark.parametrize("share", [ALONE, BESIDE])
def test_a_prompt_is_read_though_each_pass_unpacks_all_that_was_read(share: float) -> None:
    """Then the limit cannot be kept; and short passes would take hours for this prompt."""

    def seconds(count: int, read: int) -> float:
        return read / 12_000 + count * 0.005

    found = passes(Pace(LIMIT_S), 16_384, seconds, share)
    whole = sum(seconds(CHUNK_TOKENS, read) for read in range(0, 16_384, CHUNK_TOKENS))
    assert sum(took for _, took in found) < 4 * whole


def test_a_prompt_is_read_where_fetching_the_weights_takes_all_the_time() -> None:
    found = passes(Pace(LIMIT_S), 4000, lambda count, _: 0.15 + count * 0.0056, BESIDE)
    assert sum(took for _, took in found) < 2.5 * 4000 * 0.0056


def test_the_next_prompt_is_read_in_short_passes_again() -> None:
    pace = Pace(LIMIT_S)

    def seconds(count: int, read: int) -> float:
        return read / 12_000 + count * 0.001

    passes(pace, 16_384, seconds, BESIDE)
    took = [seconds for _, seconds in passes(pace, 600, seconds, BESIDE)]
    assert max(took[3:]) < 0.2

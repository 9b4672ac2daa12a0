"""Tests of runtime.power.wake: a sleep is noticed when it is over, and nothing else is."""

import sys
import time
from collections.abc import Callable

import pytest

from runtime.power.wake import continuous, wakes


class Over(Exception):
    """The clocks have shown all that they were to show."""


def clocks(*moments: tuple[float, float]) -> tuple[Callable[[], float], Callable[[], float]]:
    """What the awake and the continuous clock say, look by look."""
    looks = list(moments)

    def going_on() -> float:
        if not looks:
            raise Over
        return looks[0][1]

    def now() -> float:  # asked second
        return looks.pop(0)[0]

    return now, going_on


async def seen(*moments: tuple[float, float]) -> list[float]:
    """For how long it was away, each time."""
    told = []
    with pytest.raises(Over):
        async for away_s in wakes(*clocks(*moments), tick_s=0):
            told.append(away_s)
    return told


@pytest.mark.parametrize("slept_s", [6.0, 60.0, 8 * 3600.0])
async def test_a_sleep_is_told_once_with_its_length(slept_s: float) -> None:
    """The clock of what is awake has stood still, the other one not."""
    moments = (10, 110), (11, 111), (12, 112 + slept_s), (13, 113 + slept_s)
    assert await seen(*moments) == [slept_s]


async def test_each_sleep_is_told() -> None:
    assert await seen((0, 0), (1, 1001), (2, 1002), (3, 3003)) == [1000, 2000]


async def test_a_late_machine_did_not_sleep() -> None:
    """Nor one whose both clocks jump."""
    assert await seen((10, 110), (11, 111), (14, 114), (8000, 8100), (8001, 8105)) == []


@pytest.mark.parametrize(
    ("platform", "clock"), [("linux", "CLOCK_BOOTTIME"), ("darwin", "CLOCK_MONOTONIC")]
)
def test_the_clock_is_one_that_goes_on_in_a_sleep(
    platform: str, clock: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not hasattr(time, clock):
        pytest.skip(f"this system has no {clock}")
    monkeypatch.setattr(sys, "platform", platform)
    monkeypatch.setattr(time, "clock_gettime", lambda asked: asked)
    assert continuous() == getattr(time, clock)

"""Notices that the machine slept, or this process was stopped, when it is over."""

import asyncio
import sys
import time
from collections.abc import AsyncGenerator, Callable

from .awake import now

TICK_S = 1.0
_SLEPT_S = 5.0  # shorter than that nothing is lost


def continuous() -> float:
    """Monotonic seconds of a clock that goes on while the machine sleeps.

    By clock_gettime(2): CLOCK_BOOTTIME on Linux; on macOS CLOCK_MONOTONIC, which other than
    Python's `time.monotonic` "will continue to increment while the system is asleep".
    """
    clock = time.CLOCK_MONOTONIC if sys.platform == "darwin" else time.CLOCK_BOOTTIME
    return time.clock_gettime(clock)


async def wakes(
    awake: Callable[[], float] = now,
    continuous: Callable[[], float] = continuous,
    tick_s: float = TICK_S,
) -> AsyncGenerator[float, None]:
    """For how many seconds it was away, each time that it is back.

    Both clocks are monotonic, so whoever sets the time of day changes nothing.
    """
    away = continuous() - awake()
    while True:
        await asyncio.sleep(tick_s)
        before, away = away, continuous() - awake()
        if away - before > _SLEPT_S:
            yield away - before

"""The time that this process was awake, and an event loop that goes by it.

When a lid is closed for a night, no model was idle for a night, no client was silent, and nothing
is late: all of that is time in which something could have happened. `time.monotonic` stands still
while a machine sleeps (on Linux CLOCK_MONOTONIC, on macOS mach_absolute_time), but goes on while a
process is stopped: in a debugger, by SIGSTOP, by its virtual machine. This clock stands still then,
too.
"""

import asyncio
import selectors
import time
from collections.abc import Callable

_STOPPED_S = 5.0  # late by more, and something stopped the process: no turn of a loop takes so long


class AwakeClock:
    """Seconds, by a clock that only its `stood_still` turns back."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._stopped_s = 0.0

    def now(self) -> float:
        return self._clock() - self._stopped_s

    def stood_still(self, seconds: float) -> None:
        """So much of what has passed was none of ours."""
        self._stopped_s += seconds


_CLOCK = AwakeClock()  # of this process


def now() -> float:
    """Monotonic seconds; without an `AwakeLoop` nobody notices that the process was stopped."""
    return _CLOCK.now()


class AwakeSelector(selectors.DefaultSelector):
    """Waits for descriptors, and notices when that, or what was done in between, took too long.

    How late a wait is can be told where it has an end: somebody on the loop waits for a second
    again and again (`wake.watch` does).
    """

    def __init__(self, clock: AwakeClock) -> None:
        super().__init__()
        self._clock = clock
        self._returned_at = clock.now()

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        began_at = self._noted(self._returned_at, 0.0)
        events = super().select(timeout)
        wanted_s = float("inf") if timeout is None else max(0.0, timeout)
        self._returned_at = self._noted(began_at, wanted_s)
        return events

    def _noted(self, since: float, wanted_s: float) -> float:
        """The time now, behind a span that should have been so long at most."""
        late_s = self._clock.now() - since - wanted_s
        if late_s > _STOPPED_S:
            self._clock.stood_still(late_s)
        return self._clock.now()


class AwakeLoop(asyncio.SelectorEventLoop):
    """An event loop all of whose timers count only the time that this process was awake."""

    def __init__(self, clock: AwakeClock = _CLOCK) -> None:
        super().__init__(AwakeSelector(clock))
        self._awake = clock

    def time(self) -> float:
        return self._awake.now()

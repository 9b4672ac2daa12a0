"""Tests of runtime.tally: how fast tokens are drawn now, by a clock that the test turns."""

from runtime.tally import Tally


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


def test_the_speed_is_of_the_last_seconds_only() -> None:
    """It rises with what is drawn, holds while that goes on, and is nothing two seconds after."""
    clock = Clock()
    tally = Tally(clock)
    assert tally.per_second == 0  # not a moment has passed

    def half_second(count: int) -> None:
        clock.now += 0.5
        tally.total += count
        tally.look()

    half_second(0)
    half_second(50)
    assert tally.per_second == 50  # 50 in the second that it is known
    for _ in range(10):
        half_second(50)
    assert tally.per_second == 100
    clock.now += 0.5
    assert tally.per_second == 80  # a look that is late does not hide that nothing comes
    tally.look()
    for _ in range(4):
        half_second(0)
    assert tally.per_second == 0 and tally.total == 550


def test_a_pause_in_the_looks_is_a_pause_in_the_drawing() -> None:
    """A machine that slept, or a loop that stood still, makes no speed out of nothing."""
    clock = Clock()
    tally = Tally(clock)
    tally.total += 100
    clock.now += 1000
    assert tally.per_second == 0.1

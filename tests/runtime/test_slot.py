"""Tests of runtime.slot: how requests and crashes are counted, and the stats."""

import asyncio

import pytest

from runtime.errors import CrashLoop
from runtime.events import Finished, Timings, Usage
from runtime.slot import CrashHistory, Headcount, RequestStats


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def test_pauses_double_and_a_loop_is_broken() -> None:
    """No pause after the first crash, then 0.5, 1 and 2 s; after the fifth, a minute's rest."""
    clock = Clock()
    crashes = CrashHistory(clock)
    pauses = []
    for _ in range(4):
        crashes.add()
        pauses.append(crashes.backoff_s())
        crashes.check("m")
    assert pauses == [0.0, 0.5, 1.0, 2.0]
    crashes.add()
    with pytest.raises(CrashLoop) as caught:
        crashes.check("m")
    assert caught.value.retry_after_s == 60
    clock.now = 61
    crashes.check("m")
    assert crashes.backoff_s() == 0 and not crashes.is_looping


def test_rare_crashes_are_no_loop() -> None:
    """One crash an hour never adds up."""
    clock = Clock()
    crashes = CrashHistory(clock)
    for hour in range(20):
        clock.now = hour * 3600
        crashes.add()
        assert crashes.backoff_s() == 0
        crashes.check("m")


def test_decode_speed_leaves_out_the_first_token() -> None:
    """The first token is the prefill's; averages weigh by tokens."""
    stats = RequestStats()
    stats.add(Finished(1, "stop", Usage(5, 11), Timings(0, 1, 2)), elapsed_s=3)
    stats.add(Finished(2, "stop", Usage(5, 1), Timings(0, 1, 0)), elapsed_s=1)
    stats.add(Finished(3, "stop", Usage(5, 31), Timings(0, 1, 2)), elapsed_s=3)
    assert stats.tokens_per_second == 15
    assert stats.avg_tokens_per_second == 10
    assert stats.num_requests == 3


def test_prefill_speed_is_of_what_was_read() -> None:
    """What was cached took no time, and few tokens tell nothing."""
    stats = RequestStats()
    stats.add(Finished(1, "stop", Usage(1000, 1), Timings(0, 2, 0)), elapsed_s=2)
    assert stats.prefilled_per_s == 500
    stats.add(Finished(2, "stop", Usage(9000, 1, 8950), Timings(0, 0.1, 0)), elapsed_s=1)
    assert stats.prefilled_per_s == 500
    stats.add(Finished(3, "stop", Usage(9000, 1, 8000), Timings(0, 1, 0)), elapsed_s=1)
    assert stats.prefilled_per_s == 1000


async def test_who_waits_for_nobody_is_told_by_the_last() -> None:
    """At once when nobody is there; one that comes in the same moment is waited for too."""
    users, told = Headcount(), []

    async def wait() -> None:
        await users.nobody()
        told.append(users.number)

    await wait()
    with users.one_more(), users.one_more():
        waiter = asyncio.create_task(wait())
        await asyncio.sleep(0)
    with users.one_more():  # before the waiter had its turn
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert told == [0]
    await waiter
    assert told == [0, 0]

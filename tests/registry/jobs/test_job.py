"""Tests of registry.jobs.job: how a job is followed, and how its speed is told."""

import asyncio

import pytest

from registry.jobs.job import Job, JobState, Speed
from registry.jobs.order import Verify


async def test_followers_are_not_flooded() -> None:
    """A thousand changes at once are a few states, and the last is among them, for each of them."""
    job = Job("a1", Verify("tiny"), 1.0)
    seen: list[list[JobState]] = [[], []]

    async def follow(states: list[JobState]) -> None:
        async for state in job.follow():
            states.append(state)

    following = [asyncio.create_task(follow(states)) for states in seen]
    for done in range(1000):
        job.report("verifying", done, 1000)
        await asyncio.sleep(0)
    job.end("done")
    await asyncio.gather(*following)
    for states in seen:
        assert 2 <= len(states) <= 5
        assert states[-1] == job.state
        assert (job.state.status, job.state.bytes_done) == ("done", 999)


def test_speed_is_that_of_the_last_seconds() -> None:
    """A burst long ago does not count; another stage begins anew; nothing is divided by zero."""
    speed = Speed()
    assert speed.note(100.0, 0) == 0
    assert speed.note(101.0, 10_000) == 10_000
    assert speed.note(101.0, 10_000) == 10_000
    for second in range(2, 20):
        last = speed.note(100.0 + second, 10_000 + 100 * second)
    assert last == pytest.approx(100)
    assert speed.note(120.0, 0) == 0  # it began again
    assert speed.note(121.0, 50) == 50
    speed.restart()
    assert speed.note(121.0, 1_000_000) == 0

"""Tests of jobs.jobs and jobs.job: joined, followed, cancelled, resumed, remembered."""

import asyncio
import os
from collections.abc import AsyncIterator

import pytest

from registry.errors import (
    DownloadFailed,
    InvalidModelId,
    JobNotFound,
    ModelBusy,
    ModelExists,
    ModelNotFound,
)
from registry.jobs.acquire import ProvisionSettings
from registry.jobs.jobs import Jobs
from registry.jobs.order import Convert, Download, Pull, Verify
from registry.store.record import Recipe
from registry.store.store import Store
from tests.provisioning import publish, until
from tests.scripted import PULL, Script, saved


@pytest.fixture
def script() -> Script:
    return Script()


@pytest.fixture
async def jobs(store: Store, script: Script) -> AsyncIterator[Jobs]:
    jobs = Jobs(store, ProvisionSettings(), script)
    yield jobs
    await jobs.close()


async def test_a_job_is_followed_to_its_end(jobs: Jobs, script: Script, store: Store) -> None:
    """The state at once, then changes, then the last one; the order lies on disk meanwhile."""
    job = jobs.start(PULL)
    states = jobs.follow(job.id)
    first = await anext(states)
    assert (first.model_id, first.action, first.status) == ("tiny", "pull", "running")
    await script.started.wait()
    second = await anext(states)
    assert (second.stage, second.bytes_done, second.bytes_total) == ("downloading", 1, 10)
    assert saved(store) == [f"{job.id}.json"]
    script.go.set()
    *_, last = [state async for state in states]
    assert last.status == "done" and last.error is None and last.finished_at is not None
    assert jobs.get(job.id).state == last == await job.wait()
    assert saved(store) == [] and not store.partial("tiny").exists()
    assert [state async for state in jobs.follow(job.id)] == [last]
    script.reports[0]("late", 9, 9)
    assert job.state == last


async def test_the_same_order_joins_and_others_wait(jobs: Jobs, script: Script) -> None:
    """One job per model: the very same request joins it, another is told who is at work."""
    job = jobs.start(PULL)
    assert jobs.start(Pull("tiny", "org/tiny", recipe=Recipe(bits=4))) is job
    for other in (Pull("tiny", "org/other"), Download("tiny", "https://x.org/a.gguf")):
        with pytest.raises(ModelBusy, match="pull"):
            jobs.start(other)
    second = jobs.start(Pull("other", "org/tiny"))
    assert jobs.running("tiny") is job and jobs.running("other") is second
    script.go.set()
    await job.wait()
    await second.wait()
    assert jobs.running("tiny") is None and len(script.orders) == 2
    assert [job.id for job in jobs.list()] == [job.id, second.id]


async def test_of_two_servers_one_works_on_a_model(jobs: Jobs, store: Store) -> None:
    """The other one's job is a busy model here, and is not resumed while it runs."""
    job = jobs.start(PULL)
    await until(job, lambda _: saved(store) != [])
    script = Script()
    other = Jobs(Store(store.home), ProvisionSettings(), script)
    with pytest.raises(ModelBusy, match="pull"):
        other.start(PULL)
    await other.resume()
    assert other.list() == [] and saved(store) == [f"{job.id}.json"]
    await jobs.cancel(job.id)
    joined = other.start(PULL)
    script.go.set()
    assert (await joined.wait()).status == "done"


async def test_a_cancelled_job_leaves_its_parts(jobs: Jobs, script: Script, store: Store) -> None:
    """It ends at once, is not resumed, and what it acquired is there for the next try."""
    job = jobs.start(PULL)
    await script.started.wait()
    state = await jobs.cancel(job.id)
    assert (state.status, state.error) == ("cancelled", None)
    assert saved(store) == []
    assert (store.partial("tiny") / "part").read_text() == "kept"
    assert await jobs.cancel(job.id) == state
    again = jobs.start(PULL)
    assert again.id != job.id
    assert (await jobs.cancel(again.id)).status == "cancelled"  # before its first step
    again = jobs.start(PULL)
    await asyncio.sleep(0)
    assert (await jobs.cancel(again.id)).status == "cancelled"  # while its order is written
    assert saved(store) == []
    script.go.set()
    assert (await jobs.start(PULL).wait()).status == "done"


async def test_a_failed_job_says_why(
    jobs: Jobs, script: Script, store: Store, caplog: pytest.LogCaptureFixture
) -> None:
    """Its error's text, and the error itself; the next try works without a restart."""
    script.go.set()
    script.failure = DownloadFailed("It broke at 5 of 10 bytes.")
    job = jobs.start(PULL)
    state = await job.wait()
    assert (state.status, state.error) == ("failed", "It broke at 5 of 10 bytes.")
    assert [(r.levelname, r.exc_info) for r in caplog.records] == [("WARNING", None)]
    assert job.error is script.failure and saved(store) == []
    script.failure = OSError(28, "No space left on device", "model.gguf")
    state = await jobs.start(PULL).wait()
    assert state.error == "No space left on device (model.gguf)."
    script.failure = None
    assert (await jobs.start(PULL).wait()).status == "done"


async def test_an_unexpected_error_is_logged(
    jobs: Jobs, script: Script, caplog: pytest.LogCaptureFixture
) -> None:
    """It fails its job and nothing else; the log has the traceback."""
    script.go.set()
    script.failure = ZeroDivisionError("oh")
    state = await jobs.start(PULL).wait()
    assert state.status == "failed" and "ZeroDivisionError" in str(state.error)
    assert [record.exc_info is not None for record in caplog.records] == [True]


async def test_what_cannot_come_to_an_end_is_refused_at_once(jobs: Jobs, store: Store) -> None:
    """A bad id, an id that is taken by a ready model, a model that is not here; no job is made."""
    publish(store, "ready")
    for order, error in (
        (Pull("../x", "org/tiny"), InvalidModelId),
        (Pull("ready", "org/tiny"), ModelExists),
        (Verify("gone"), ModelNotFound),
        (Convert("new", "gone"), ModelNotFound),
    ):
        with pytest.raises(error):
            jobs.start(order)
    for ask in (jobs.get, jobs.follow):
        with pytest.raises(JobNotFound):
            ask("../jobs")
    assert jobs.list() == [] and saved(store) == []
    assert not (store.home / "partial").exists() or os.listdir(store.home / "partial") == []


async def test_the_last_hundred_are_remembered(jobs: Jobs, script: Script) -> None:
    """Older ones are forgotten; a running one never is."""
    running = jobs.start(Pull("running", "org/tiny"))
    await script.started.wait()
    for number in range(105):
        job = jobs.start(Pull(f"m{number}", "org/tiny"))
        await jobs.cancel(job.id)
    assert len(jobs.list()) == 101 and jobs.list()[0] is running


async def test_orders_on_disk_are_for_the_user_alone(
    jobs: Jobs, store: Store, script: Script
) -> None:
    """And hold no token: the hub's is never part of an order."""
    job = jobs.start(PULL)
    await script.started.wait()
    path = store.home / "jobs" / f"{job.id}.json"
    assert path.stat().st_mode & 0o777 == 0o600
    assert b"token" not in path.read_bytes()

"""Tests of jobs.jobs across restarts: what goes on, what has ended, and what cannot go on."""

import asyncio
import os

import msgspec
import pytest

from registry.errors import RegistryError
from registry.jobs.acquire import ProvisionSettings
from registry.jobs.jobs import Jobs
from registry.jobs.order import Upload
from registry.store.ownership import Ownership
from registry.store.store import Store
from tests.provisioning import publish, until
from tests.scripted import PULL, Script, saved


async def test_a_restart_goes_on(store: Store) -> None:
    """A closed server's job is not over: the next one runs it under its id, an upload excepted."""
    first = Jobs(store, ProvisionSettings(), Script())
    job, upload = first.start(PULL), first.start(Upload("sent", "a.gguf"))
    following = asyncio.create_task(job.wait())
    await until(upload, lambda _: len(saved(store)) == 2)
    await first.close()
    assert (await following).status == "running" and job.is_over
    assert saved(store) == sorted([f"{job.id}.json", f"{upload.id}.json"])
    with pytest.raises(RegistryError, match="shutting down"):
        first.start(PULL)

    (store.home / "jobs" / "torn.json").write_text('{"id":')
    script = Script()
    script.go.set()
    second = Jobs(Store(store.home), ProvisionSettings(), script)
    await second.resume()
    assert (await second.get(job.id).wait()).status == "done"
    assert second.get(job.id).state.created_at == job.state.created_at
    assert PULL in script.orders
    await second.get(upload.id).wait()
    assert saved(store) == []
    await second.close()


async def test_a_restart_knows_what_was_published(store: Store) -> None:
    """Killed between the last step and the tidying: the job is done, and its parts go."""
    first = Jobs(store, ProvisionSettings(), Script())
    job = first.start(PULL)
    await until(job, lambda _: saved(store) != [])
    await first.close()
    publish(store, "tiny")
    script = Script()
    second = Jobs(Store(store.home), ProvisionSettings(), script)
    await second.resume()
    assert second.get(job.id).state.status == "done" and script.orders == []
    assert saved(store) == [] and os.listdir(store.home / "partial") == []


async def test_a_restart_fails_what_is_refused_now(store: Store) -> None:
    """The job is listed with the reason, and is not tried at every start."""
    folder = store.home / "jobs"
    folder.mkdir(parents=True)
    order = {"action": "verify", "model_id": "gone"}
    content = msgspec.json.encode({"id": "a1", "created_at": 1.0, "order": order})
    (folder / "a1.json").write_bytes(content)
    jobs = Jobs(store, ProvisionSettings(), Script())
    await jobs.resume()
    state = jobs.get("a1").state
    assert state.status == "failed" and "not found" in str(state.error)
    assert saved(store) == [] and os.listdir(store.home / "partial") == []


async def test_a_restart_leaves_what_ended_meanwhile(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An order that the other server has finished since its file was read is not begun again."""
    folder = store.home / "jobs"
    folder.mkdir(parents=True)
    content = msgspec.json.encode({"id": "a1", "created_at": 1.0, "order": PULL})
    (folder / "a1.json").write_bytes(content)
    own = store.own

    def own_late(model_id: str, action: str) -> Ownership:
        (folder / "a1.json").unlink()
        return own(model_id, action)

    monkeypatch.setattr(store, "own", own_late)
    script = Script()
    jobs = Jobs(store, ProvisionSettings(), script)
    await jobs.resume()
    assert jobs.list() == [] and os.listdir(store.home / "partial") == []

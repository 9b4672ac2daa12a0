"""What the tests of the registry share: a model that is published, an order that is carried out."""

import hashlib
import os
import time
from collections.abc import Callable
from typing import Any

from registry.download.remote import DownloadSettings
from registry.hub.repository import HubSettings
from registry.jobs import provision
from registry.jobs.acquire import ProvisionSettings
from registry.jobs.job import Job, JobState
from registry.jobs.order import Order
from registry.store import durable
from registry.store.record import Recipe, Record, Source
from registry.store.store import Entry, Store
from tests.fake_work import WEIGHTS, fake_verified, write_folder
from tests.hub.hub_server import HubServer

SOURCE = Source("folder", "/somewhere")


def settings_of(hub: HubServer | None = None, **download: Any) -> ProvisionSettings:
    hosts = tuple(hub.hosts) if hub else ()
    return ProvisionSettings(
        DownloadSettings(allowed_private_hosts=hosts, max_attempts=2, backoff_s=0.01, **download),
        HubSettings(hub.url if hub else "https://hub.invalid"),
    )


async def run(
    order: Order, store: Store, settings: ProvisionSettings | None = None
) -> list[tuple[str, int, int | None]]:
    """Carry an order out; what it reported."""
    reports: list[tuple[str, int, int | None]] = []
    await provision.run(
        order, store, settings or settings_of(), lambda *report: reports.append(report)
    )
    return reports


async def until(job: Job, has_come: Callable[[JobState], bool]) -> None:
    """Follow a job that far and no further."""
    async for state in job.follow():
        if has_come(state):
            return
    raise AssertionError(f"it ended before: {job.state}")


def stages(reports: list[tuple[str, int, int | None]]) -> list[str]:
    return list(dict.fromkeys(stage for stage, _, _ in reports))


def record_of(store: Store, model_id: str = "tiny") -> Record:
    record = store.get(model_id).record
    assert record is not None
    return record


def listed(store: Store) -> list[Entry]:
    return [entry for entry in store.entries() if not entry.is_built_in]


def left(store: Store) -> list[str]:
    """What is left in the partial folders."""
    folder = store.home / "partial"
    return sorted(os.listdir(folder)) if folder.exists() else []


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def publish(store: Store, model_id: str, weights: bytes = WEIGHTS) -> Entry:
    durable.make_folder(store.home / "partial")
    folder = write_folder(store.home / "partial" / f"made-{time.monotonic_ns()}", weights)
    return store.publish(
        model_id, folder, source=SOURCE, recipe=Recipe(), verified=fake_verified(), licence="mit"
    )


def ids(store: Store) -> list[str]:
    return [entry.id for entry in store.entries() if not entry.is_built_in]

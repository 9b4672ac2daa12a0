"""A stand-in for `registry.jobs.provision.run` in tests of jobs: it does what the test says."""

import asyncio
import os

from registry.jobs.acquire import ProvisionSettings, Receive
from registry.jobs.fetching import OnStage
from registry.jobs.order import Order, Pull
from registry.store.ownership import Ownership
from registry.store.record import Recipe
from registry.store.store import Store

PULL = Pull("tiny", "org/tiny", recipe=Recipe(bits=4))


class Script:
    """A runner that does what the test says: it reports, waits for `go`, then ends or fails."""

    def __init__(self, failure: BaseException | None = None) -> None:
        self.failure = failure
        self.go = asyncio.Event()
        self.started = asyncio.Event()
        self.orders: list[Order] = []
        self.reports: list[OnStage] = []

    async def __call__(
        self,
        order: Order,
        store: Store,
        settings: ProvisionSettings,
        report: OnStage,
        owned: Ownership | None = None,
        receive: Receive | None = None,
    ) -> None:
        assert owned is not None
        self.orders.append(order)
        self.reports.append(report)
        report("downloading", 1, 10)
        (owned.folder / "part").write_text("kept")
        self.started.set()
        await self.go.wait()
        if self.failure is not None:
            raise self.failure
        owned.discard()


def saved(store: Store) -> list[str]:
    folder = store.home / "jobs"
    return sorted(os.listdir(folder)) if folder.exists() else []

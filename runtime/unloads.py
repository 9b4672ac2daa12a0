"""Models on their way out of memory: each is unloaded once for all who ask for it."""

import asyncio
import contextlib

from .errors import EngineStopped, RuntimeFault
from .memory import machine
from .slot import Slot, Unloaded


class Unloads:
    """Owned by the residency; all methods run on its event loop."""

    def __init__(self, grace_s: float, keep_alive_s: float) -> None:
        """Running requests get `grace_s` to end; `keep_alive_s` holds again after an unload."""
        self._grace_s = grace_s
        self._keep_alive_s = keep_alive_s

    def begin(self, slot: Slot) -> "asyncio.Task[Unloaded]":
        """Unload a slot's model after its running requests; the unload under way, if there is one.

        A load in flight is cancelled.
        """
        if slot.unloading is None:
            slot.unloading = asyncio.create_task(self._unload(slot))
        return slot.unloading

    def force(self, slot: Slot, fault: RuntimeFault | None = None) -> "asyncio.Task[Unloaded]":
        """Unload it at once: what runs or waits gets the fault."""
        if fault is None:
            fault = EngineStopped(f"Model '{slot.model.id}' was unloaded while this request ran.")
        if slot.engine is not None:
            slot.engine.fail_all(fault)
        slot.schedule.fail(fault)
        return self.begin(slot)

    async def _unload(self, slot: Slot) -> Unloaded:
        try:
            before: int | None = None
            if slot.load is not None and slot.load.task is not None:
                before = await asyncio.to_thread(machine.tree_bytes)
                slot.load.task.cancel()
                await asyncio.wait({slot.load.task})
            if (engine := slot.engine) is not None:
                # New requests wait in `Loads.ensure`; those that have passed it may finish.
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(self._grace_s):
                        await slot.users.nobody()
                slot.engine = None
                slot.is_pinned = False
                slot.keep(self._keep_alive_s)
                slot.is_kept = False
                before = await asyncio.to_thread(machine.tree_bytes)
                await engine.stop()
                slot.schedule.fail(engine.death())
            after = await asyncio.to_thread(machine.tree_bytes)
            return Unloaded(slot.model.id, after if before is None else before, after)
        finally:
            slot.unloading = None

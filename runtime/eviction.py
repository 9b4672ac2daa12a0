"""Who has to leave memory for one more model, and when there is no room for it."""

import asyncio
from collections.abc import Awaitable, Callable

from registry.checkpoint.model import Model

from .errors import Held, InsufficientMemory, LoadFailed
from .memory import cost, machine
from .slot import Slot


class Eviction:
    """`lock` is held from the decision to its load: one decision about memory at a time."""

    def __init__(self, slots: dict[str, Slot], unload: Callable[[Slot], Awaitable[object]]) -> None:
        self.lock = asyncio.Lock()
        self._slots = slots
        self._unload = unload

    async def make_room(self, model: Model) -> int:
        """Unload idle models, least recently used first, until this one fits. Returns its bytes.

        Raises InsufficientMemory, or LoadFailed when the weights cannot be measured.
        """
        try:
            needed = await asyncio.to_thread(cost.load_bytes, model)
        except (OSError, ValueError) as error:
            raise LoadFailed(f"Model '{model.id}' could not be loaded: {error}") from error
        while needed > (available := machine.available_bytes() - self.reserved_bytes()):
            idle = [slot for slot in self._slots.values() if slot.is_idle and not slot.stays]
            if not idle:
                raise InsufficientMemory(model.id, needed, available, self._held())
            await self._unload(min(idle, key=lambda slot: slot.idle_since))
        return needed

    def _held(self) -> list[Held]:
        """What could be unloaded, by hand or later."""
        return [
            Held(slot.model.id, slot.engine.footprint_bytes(), "pinned" if slot.stays else "busy")
            for slot in self._slots.values()
            if slot.engine is not None
        ]

    def reserved_bytes(self) -> int:
        """What loads in flight were promised and have not taken yet."""
        loads = [slot.load for slot in self._slots.values() if slot.load is not None]
        return sum(max(0, load.needed_bytes - load.progress.loaded_bytes) for load in loads)

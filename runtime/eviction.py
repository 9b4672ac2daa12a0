"""Who has to leave memory for one more model or for rows that wait, and when that is no help."""

import asyncio
from collections.abc import Callable, Mapping

from registry.checkpoint.model import Model

from .budget import Budget, cached_bytes, needed_bytes
from .errors import Held, InsufficientMemory, LoadFailed, RequestTooLarge
from .memory import cost
from .slot import Slot, Unloaded
from .ticket import Ticket


class Eviction:
    """`lock` is held from the decision to its load: one of them is made room for at a time."""

    def __init__(
        self,
        slots: Mapping[str, Slot],
        budget: Budget,
        unload: Callable[[Slot], "asyncio.Task[Unloaded]"],
    ) -> None:
        self.lock = asyncio.Lock()
        self._slots = slots
        self._budget = budget
        self._unload = unload

    async def make_room(self, model: Model) -> int:
        """Unload idle models, least recently used first, until this one fits. Returns its bytes.

        Raises InsufficientMemory, or LoadFailed when the weights cannot be measured.
        """
        try:
            needed = await asyncio.to_thread(cost.load_bytes, model)
        except (OSError, ValueError) as error:
            raise LoadFailed(f"Model '{model.id}' could not be loaded: {error}") from error
        if needed > self._budget.available_bytes() + self._yielding():  # then nobody goes in vain
            available = max(0, self._budget.available_bytes())
            raise InsufficientMemory(model.id, needed, available, self._held())
        while needed > (available := self._budget.available_bytes()):
            if (idle := self._least_used()) is not None:
                await self._unload(idle)
            elif not await self._forget():
                raise InsufficientMemory(model.id, needed, max(0, available), self._held())
        return needed

    def relieve(self, slot: Slot, waiting: list[Ticket]) -> None:
        """Rows wait for memory: idle models make way; where nobody is left to, it will not come."""
        slots = self._slots.values()
        if any(other.unloading or other.load for other in slots):
            return
        room = self._budget.available_bytes() + cached_bytes(slot)  # its engine drops its own
        missing = needed_bytes(slot, waiting[0]) - room
        for other in sorted(slots, key=lambda other: other.idle_since):
            if missing > 0 and other is not slot and other.engine and cached_bytes(other):
                missing -= cached_bytes(other)
                other.engine.cache.forget()
        if (idle := self._least_used(beside=slot)) is not None:
            self._unload(idle)
        elif not any(other.schedule.num_running for other in slots):
            for ticket in waiting:
                if slot.schedule.is_impatient(ticket):
                    numbers = ticket.num_tokens, needed_bytes(slot, ticket)
                    free = self._budget.available_bytes(), self._budget.drained_bytes(slot)
                    slot.schedule.fail_one(ticket, RequestTooLarge(*numbers, *free))

    def _yielding(self) -> int:
        """About what comes back if all idle models and all prefixes go."""
        return sum(
            slot.engine.footprint_bytes() if slot.is_evictable else cached_bytes(slot)
            for slot in self._slots.values()
            if slot.engine is not None
        )

    async def _forget(self) -> bool:
        """Have engines drop the prefixes that they keep; False if there are none to drop."""
        slots = [slot for slot in self._slots.values() if cached_bytes(slot)]
        engines = [slot.engine for slot in slots if slot.engine is not None]
        for engine in engines:
            engine.cache.forget()
        # Each answers once it has dropped them, and the answer is what is remembered of it.
        told = (engine.cache.describe() for engine in engines)
        await asyncio.gather(*told, return_exceptions=True)
        return any(not cached_bytes(slot) for slot in slots)

    def _least_used(self, beside: Slot | None = None) -> Slot | None:
        """Of the idle models that may be unloaded, the one that nobody used for longest."""
        idle = [slot for slot in self._slots.values() if slot.is_evictable and slot is not beside]
        return min(idle, key=lambda slot: slot.idle_since, default=None)

    def _held(self) -> list[Held]:
        """What could be unloaded, by hand or later."""
        return [
            Held(slot.model.id, slot.engine.footprint_bytes(), "pinned" if slot.stays else "busy")
            for slot in self._slots.values()
            if slot.engine is not None
        ]

"""One budget of memory for all models: what loads and rows were promised, what is left for more.

A row is promised what it will hold at its end, and what it holds already shows on the meter: so of
a promise only the rest counts. What outgrows its promise is left to the meter.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from .memory import kv
from .memory.meter import Meter
from .memory.prediction import pass_bytes
from .slot import Slot
from .ticket import Ticket


class Budget:
    """Reads the meter anew at every question: it is open as soon as there is memory again."""

    def __init__(self, slots: Mapping[str, Slot], meter: Meter) -> None:
        self.slots = slots
        self.meter = meter

    def available_bytes(self) -> int:
        """What nobody holds and nobody was promised; below nothing where too much was."""
        return self.meter.read().room - self.promised_bytes()

    def promised_bytes(self) -> int:
        """What loads in flight and rows that run will still take."""
        return sum(_of_load(slot) + _of_rows(slot) for slot in self.slots.values())

    def drained_bytes(self, slot: Slot) -> int:
        """What a row of this model could have with all rows over, all idle models unloaded, and no
        prefixes kept."""
        slots = self.slots.values()
        idle = sum(
            other.engine.footprint_bytes()
            for other in slots
            if other is not slot and other.is_evictable and other.engine is not None
        )
        held = sum(
            _held_bytes(other) + cached_bytes(other)
            for other in slots
            if other is slot or not other.is_evictable
        )
        return self.meter.read().room - sum(map(_of_load, slots)) + held + idle

    def kept_bytes(self, slot: Slot, ticket: Ticket) -> int:
        """What is kept for rows of other models that have waited for memory longer than is fair."""
        return sum(
            needed_bytes(other, waiting)
            for other in self.slots.values()
            if other is not slot
            for waiting in other.schedule.short()
            if other.schedule.is_impatient(waiting) and _rank(other, waiting) < _rank(slot, ticket)
        )


@dataclass(frozen=True, slots=True)
class RowMemory:
    """The budget, as the schedule of one model asks for it."""

    budget: Budget
    model_id: str

    @property
    def slot(self) -> Slot:
        return self.budget.slots[self.model_id]

    def needs(self, ticket: Ticket) -> int:
        return needed_bytes(self.slot, ticket)

    def room(self, ticket: Ticket) -> int:
        """An engine that runs short drops the prefixes that it keeps before it sets rows aside."""
        free = self.budget.available_bytes() + cached_bytes(self.slot)
        return free - self.budget.kept_bytes(self.slot, ticket)


def cached_bytes(slot: Slot) -> int:
    """What its engine keeps of prompts, as it was told last."""
    return slot.engine.cache.last.num_bytes if slot.engine is not None else 0


def needed_bytes(slot: Slot, ticket: Ticket) -> int:
    """What must be free for its row to start beside those that run: what it adds to their caches,
    and what is there for a moment while it is read and then joins them. 0: nothing is known.
    """
    if not ticket.takes_row:
        return 0
    return rows_need(slot, [ticket.num_tokens], running_lengths(slot))


def rows_need(slot: Slot, lengths: list[int], beside: Sequence[int] = ()) -> int:
    """The same of any rows of these lengths, by default with nobody beside them."""
    if (memory := slot.memory) is None:
        return 0
    groups = kv.grouped(memory.cache, [*beside, *lengths])
    more = _caches(slot, groups) - _caches(slot, kv.grouped(memory.cache, beside))
    joining = max(kv.join_bytes(memory.cache, group) for group in groups)
    needed = more + max(joining, pass_bytes(memory, max(lengths)))
    return int(needed * (1 + slot.stats.calibration.margin))


def _caches(slot: Slot, groups: list[list[int]]) -> int:
    """What rows in these groups take, with the little that they have besides."""
    assert slot.memory is not None
    own = slot.memory.row_bytes * sum(map(len, groups))
    return own + sum(kv.group_bytes(slot.memory.cache, group) for group in groups)


def running_lengths(slot: Slot) -> list[int]:
    """Of rows that run, at their end as far as it is promised."""
    return [max(row.num_tokens, row.num_held()) for row in slot.schedule.running_rows()]


def _of_load(slot: Slot) -> int:
    """What a load in flight was promised and has not taken yet."""
    load = slot.load
    return 0 if load is None else max(0, load.needed_bytes - load.progress.loaded_bytes)


def _of_rows(slot: Slot) -> int:
    """What rows that run were promised and do not hold yet."""
    if slot.memory is None:
        return 0
    promised = _caches(slot, kv.grouped(slot.memory.cache, running_lengths(slot)))
    return max(0, promised - _held_bytes(slot))


def _held_bytes(slot: Slot) -> int:
    """What rows that run hold already: as they were told to, while their prompts are read and have
    room for more, else by their tokens.
    """
    if (memory := slot.memory) is None:
        return 0
    held = 0
    for row in slot.schedule.running_rows():
        if (told := row.held_bytes()) is not None:
            held += told
        elif length := row.num_held():
            held += kv.filled_bytes(memory.cache, length) + memory.row_bytes
    return held


def _rank(slot: Slot, ticket: Ticket) -> tuple[bool, float]:
    """Who is served first of those that wait for memory: the urgent, then who waits longest."""
    since = ticket.short_since
    return (not slot.schedule.is_urgent(ticket), float("inf") if since is None else since)

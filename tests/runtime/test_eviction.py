"""Tests of runtime.eviction that need no engine; test_residency has those that do."""

from pathlib import Path

from registry.checkpoint.model import Model
from runtime.events import Loading
from runtime.eviction import Eviction
from runtime.schedule import Schedule
from runtime.slot import Load, Slot


async def test_a_load_in_flight_keeps_its_memory_reserved() -> None:
    """What it was admitted with, less what it has taken: the next load may not have it too."""
    slot = Slot(Model("tiny", Path("unused")), keep_alive_s=1, schedule=Schedule(1, 1))

    async def unload(_: Slot) -> int:
        raise AssertionError("nothing is idle")

    eviction = Eviction({"tiny": slot}, unload)
    assert eviction.reserved_bytes() == 0
    load = slot.load = Load(total_bytes=10, needed_bytes=100)
    assert eviction.reserved_bytes() == 100
    load.report(Loading(30, 80))
    assert eviction.reserved_bytes() == 70

"""Tests of what is refused and what waits for memory, with real engines and a meter that is set."""

import asyncio
import shutil

import pytest

from registry.checkpoint.model import Model
from runtime import residency
from runtime.admission import ANSWER_TOKENS, needed_alone, reserved_tokens
from runtime.errors import RequestTooLarge
from runtime.events import Finished, Queued, TextDelta
from runtime.pool import ModelPool
from runtime.schedule import PATIENCE_S
from runtime.slot import Slot
from tests.runtime.asking import SetMeter, ask, generate, load, request


def test_room_is_kept_for_what_is_named_and_for_a_modest_answer_else() -> None:
    """What a client names beyond the context names nothing."""
    assert reserved_tokens(100, 300, 300) == 400
    assert reserved_tokens(100, None, 100_000) == 100 + ANSWER_TOKENS
    assert reserved_tokens(100, 200_000, 100_000) == 100 + ANSWER_TOKENS
    assert reserved_tokens(100, None, 50) == 150


async def test_a_request_beyond_all_memory_is_refused_with_numbers(
    metered: ModelPool, meter: SetMeter, model: Model
) -> None:
    """At once, before anything is read; a smaller one is answered."""
    await load(metered, model)
    slot = metered.residency.slot(model)
    meter.room = needed_alone(slot, [2000])
    with pytest.raises(RequestTooLarge) as caught:
        await metered.begin(model, request("word " * 100, max_tokens=6000))
    assert caught.value.needed_bytes > caught.value.limit_bytes == meter.room
    assert caught.value.available_bytes == meter.room
    assert isinstance((await ask(metered, model, max_tokens=20))[-1], Finished)


async def test_what_waits_for_memory_starts_within_a_second_of_its_fall(
    metered: ModelPool, meter: SetMeter, model: Model
) -> None:
    """It is told that it waits; idle models make way for it; nothing else moves."""
    other = Model("other", shutil.copytree(model.folder, model.folder.parent / "other"))
    await load(metered, model)
    await load(metered, other)
    slot = metered.residency.slot(model)
    async with await metered.begin(model, request(max_tokens=4000)) as running:
        meter.room = needed_alone(slot, [100])
        waiting = generate(metered, model, request(max_tokens=1000))
        assert isinstance(await anext(waiting), Queued) and slot.schedule.short()
        await running.cancel()
        async with asyncio.timeout(30):
            while metered.residency.present() != ["tiny"]:
                await asyncio.sleep(0.05)
        assert slot.schedule.short()
        meter.room = 1 << 40  # nobody tells the schedule: the next look finds it
        async with asyncio.timeout(30):
            while slot.schedule.short():
                await asyncio.sleep(0.01)
        assert residency._TICK_S < 1
        assert isinstance([event async for event in waiting][-1], Finished)


async def test_memory_that_never_comes_back_is_told(
    metered: ModelPool, meter: SetMeter, model: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody runs, nothing can be unloaded: who waits is refused after its patience, not never."""
    monkeypatch.setattr("runtime.schedule.PATIENCE_S", 0.5)
    assert PATIENCE_S > 0.5
    await load(metered, model)
    slot: Slot = metered.residency.slot(model)
    async with await metered.begin(model, request("word " * 500, max_tokens=4000)) as running:
        async for event in running.follow():
            if isinstance(event, TextDelta):
                break
        meter.room = needed_alone(slot, [1]) - 1  # and what the running one holds, did it come back
        waiting = await metered.begin(model, request(max_tokens=1))
        await running.cancel()
        meter.room = -(1 << 30)  # it did not, and what is kept of its prompt would not be enough
        async with waiting:
            with pytest.raises(RequestTooLarge, match="are free now"):
                async for _ in waiting.follow():
                    pass
    assert not slot.schedule.short()

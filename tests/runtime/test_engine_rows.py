"""Tests of runtime.engine_rows: events find their rows, and who leaves or reads nothing is told."""

import asyncio

import pytest

from runtime.engine_messages import Cancel, Command
from runtime.engine_rows import EngineRows
from runtime.errors import EngineDied, RuntimeFault, Stalled
from runtime.events import Finished, RowEvent, TextDelta, Timings, Usage
from runtime.generation import Generation


def finished(number: int) -> Finished:
    return Finished(number, "stop", Usage(3, 1), Timings(0.0, 0.0, 0.0))


async def test_each_row_gets_its_own_last_event() -> None:
    """Text goes to the generation; what comes for nobody changes nothing, nor is a row cancelled
    that has ended."""
    sent: list[Command] = []
    rows = EngineRows(sent.append, lambda: None)
    generation = Generation()
    with rows.row(1, generation) as first, rows.row(2) as second:
        for event in (finished(9), finished(2), TextDelta(1, "a", [7])):
            rows.put(event)
        assert generation.drawn == [7] and not first.done()
        rows.put(finished(1))
        assert (await first, await second) == (finished(1), finished(2))
    assert len(rows) == 0 and sent == []


async def test_who_leaves_cancels_the_row() -> None:
    sent: list[Command] = []
    rows = EngineRows(sent.append, lambda: None)

    async def wait() -> RowEvent:
        with rows.row(1) as ended:
            return await ended

    task = asyncio.create_task(wait())
    await asyncio.sleep(0)
    task.cancel()
    await asyncio.wait({task})
    assert sent == [Cancel(1)] and len(rows) == 0


async def test_a_death_is_told_to_all() -> None:
    """To rows that are there, and to one that begins when it is over."""
    death: RuntimeFault | None = None
    rows = EngineRows(lambda _: None, lambda: death)
    with rows.row(1) as before:
        death = EngineDied("It died.", "signal SIGKILL")
        rows.fail(death)
        with rows.row(2) as after:
            for ended in (before, after):
                with pytest.raises(EngineDied):
                    await ended


async def test_a_row_that_nobody_reads_is_cancelled() -> None:
    """Not one that has told nothing yet, nor the inputs of an encoder: nobody reads these."""
    sent: list[Command] = []
    rows = EngineRows(sent.append, lambda: None)
    with rows.row(1, Generation()) as unread, rows.row(2, Generation()) as silent, rows.row(3):
        rows.put(TextDelta(1, "a", [7]))
        rows.cancel_unread(0.0)
        assert sent == [Cancel(1)] and not silent.done()
        with pytest.raises(Stalled):
            await unread

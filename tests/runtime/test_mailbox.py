"""Tests of runtime.mailbox: order, merging, and the end."""

import asyncio

import pytest

from runtime.errors import EngineFailed
from runtime.events import Finished, Prefill, Queued, TextDelta, Timings, Usage
from runtime.mailbox import Mailbox

FINISHED = Finished(1, "stop", Usage(3, 2), Timings(0, 0, 0))


async def test_unread_text_is_merged_and_order_kept() -> None:
    """A slow reader gets the same text in fewer events, progress before it, the end behind it."""
    mailbox = Mailbox()
    for position in (2, 1, 0):
        mailbox.put(Queued(1, position))
    for done in (1, 2, 3):
        mailbox.put(Prefill(1, done, 3))
    for piece in ("a", "b", "c"):
        mailbox.put(TextDelta(1, piece))
    mailbox.put(FINISHED)
    assert await mailbox.get() == Queued(1, 0)
    assert await mailbox.get() == Prefill(1, 3, 3)
    assert await mailbox.get() == TextDelta(1, "abc", num_tokens=3)
    assert await mailbox.get() == FINISHED
    assert mailbox.is_finished


async def test_a_waiting_reader_is_woken() -> None:
    """`get` waits for an event that comes later."""
    mailbox = Mailbox()
    reader = asyncio.create_task(mailbox.get())
    await asyncio.sleep(0)
    mailbox.put(TextDelta(1, "x"))
    assert await reader == TextDelta(1, "x")


async def test_a_fault_comes_behind_what_was_put_before_it() -> None:
    """Text that was computed is delivered; then the fault is raised, every time."""
    mailbox = Mailbox()
    mailbox.put(TextDelta(1, "x"))
    mailbox.fail(EngineFailed("gone"))
    mailbox.put(TextDelta(1, "late"))
    assert await mailbox.get() == TextDelta(1, "x")
    for _ in range(2):
        with pytest.raises(EngineFailed, match="gone"):
            await mailbox.get()


async def test_a_finished_row_cannot_fail() -> None:
    """An engine that dies after the last event does not spoil the answer."""
    mailbox = Mailbox()
    mailbox.put(FINISHED)
    mailbox.fail(EngineFailed("gone"))
    assert await mailbox.get() == FINISHED


async def test_unread_time_starts_with_the_first_event_left_lying() -> None:
    """A reader that took everything is not stalled, however long the engine is silent."""
    mailbox = Mailbox()
    assert mailbox.unread_s() == 0
    mailbox.put(TextDelta(1, "x"))
    await asyncio.sleep(0.02)
    assert mailbox.unread_s() > 0
    await mailbox.get()
    assert mailbox.unread_s() == 0

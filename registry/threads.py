"""Slow file work in threads: `in_thread` can be cancelled, `to_the_end` cannot."""

import asyncio
import contextlib
import threading
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")

Step = Callable[[int], None]  # told of bytes that were done; raises to end the work


class _Stopped(Exception):
    """Raised in a thread whose task was cancelled."""


async def in_thread(work: Callable[[Step], T], on_step: Callable[[int], None]) -> T:
    """Run `work` in a thread. A cancelled call has it stop at its next step, and waits for that."""
    loop = asyncio.get_running_loop()
    is_stopped = threading.Event()

    def step(num_bytes: int) -> None:
        if is_stopped.is_set():
            raise _Stopped
        loop.call_soon_threadsafe(on_step, num_bytes)

    task = asyncio.ensure_future(asyncio.to_thread(work, step))
    try:
        return await asyncio.shield(task)
    finally:
        # Nobody may touch the files before the thread has let go of them.
        is_stopped.set()
        while not task.done():
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.wait([task])
        if not task.cancelled():
            task.exception()  # marked as seen, or asyncio logs it beside the cancellation


async def to_the_end(work: Callable[[], T]) -> T:
    """Run `work` in a thread to its end; a cancellation meanwhile is ignored."""
    task = asyncio.ensure_future(asyncio.to_thread(work))
    while True:
        try:
            return await asyncio.shield(task)
        except asyncio.CancelledError:
            current = asyncio.current_task()
            if task.cancelled() or current is None:
                raise
            current.uncancel()

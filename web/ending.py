"""The server's end, made by `server`: what runs gets its time, and nothing takes longer than that.

The first SIGTERM or SIGINT begins it, a second one ends the waiting. Every step has a limit. A
thread that waits for a dead disk has none, so there is a last resort, which ends the process.
"""

import asyncio
import contextlib
import logging
import os
import signal
import threading
import time
from typing import Any

import psutil

from .services import Services
from .settings import END_S, longest_end_s
from .transport.connections import Connections

logger = logging.getLogger(__name__)

# They add up to less than END_S.
_CLOSE_S = 18.0  # for engines, which may take 15 s to end and to write to disk, and jobs
_LAST_FRAMES_S = 5.0  # for streams that are stored
_LAST_WRITES_S = 2.0  # for clients, where the drain has left no more
_ARCHIVE_S = 3.0
_HURRY_S = 1.0  # in place of each of these
_TELLING_S = 0.2

_LONGEST_S = 1e8  # that a thread can sleep, within what all systems take: three years


class Ending:
    """Used on the event loop of the server."""

    def __init__(self, drain_timeout_s: float) -> None:
        self.has_begun = asyncio.Event()
        self._hurry = asyncio.Event()
        self._drain_timeout_s = drain_timeout_s
        self._deadline = 0.0  # of the drain, by the loop's clock
        self._stopping: asyncio.Future[None] | None = None  # jobs

    def watch_signals(self) -> None:
        """From now on they are for this."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._on_signal)

    def _on_signal(self) -> None:
        if not self.has_begun.is_set():
            self.has_begun.set()
            self._deadline = asyncio.get_running_loop().time() + self._drain_timeout_s
            end_process_within(longest_end_s(self._drain_timeout_s))
        elif not self._hurry.is_set():
            self._hurry.set()
            end_process_within(END_S / 2)

    async def drain(self, services: Services) -> None:
        """Refuse new work and let running answers end: up to the limit, or until somebody is in a
        hurry. Jobs stop at once: the next server goes on with them."""
        self._stopping = asyncio.ensure_future(services.jobs.close())  # `close` waits for it
        draining = asyncio.ensure_future(services.pool.drain(self._drain_timeout_s))
        if not await self._ends(draining, None, hurried_s=0):
            draining.cancel()
            await services.pool.drain(0)

    async def close(self, services: Services) -> None:
        """End every child; sockets, and streams that are stored, have their last words."""
        jobs = self._stopping or asyncio.ensure_future(services.jobs.close())
        closing = asyncio.gather(
            services.sockets.close(), jobs, services.pool.close(), return_exceptions=True
        )
        if not await self._ends(closing, _CLOSE_S):
            kill_children()
            await self._ends(closing, _HURRY_S)
        if closing.done():
            for fault in filter(None, closing.result()):
                logger.error("an end failed", exc_info=fault)
        await self._ends(asyncio.ensure_future(services.streams.close()), _LAST_FRAMES_S)

    async def end_connections(self, connections: Connections, server: "asyncio.Task[None]") -> None:
        """Wait for the end of the port's server: clients have as long as the drain may last to take
        what was written to them."""
        left_s = self._deadline - asyncio.get_running_loop().time()
        if not await self._ends(server, max(left_s, _LAST_WRITES_S)):
            connections.abort_all()
        await server

    async def close_archive(self, services: Services) -> None:
        """To be called when no more responses are stored."""
        await self._ends(asyncio.ensure_future(services.archive.close()), _ARCHIVE_S)

    async def _ends(
        self, work: "asyncio.Future[Any]", limit_s: float | None, *, hurried_s: float = _HURRY_S
    ) -> bool:
        """Wait for it, and return whether it has ended, within the limit or soon after a hurry."""
        hurry = asyncio.ensure_future(self._hurry.wait())
        await asyncio.wait({work, hurry}, timeout=limit_s, return_when=asyncio.FIRST_COMPLETED)
        if hurry.done():
            await asyncio.wait({work}, timeout=hurried_s)
        hurry.cancel()
        return work.done()


def kill_children() -> None:
    """SIGKILL to all of them, also one that is stopped."""
    for child in psutil.Process().children(recursive=True):
        with contextlib.suppress(psutil.Error):
            child.kill()


def end_process_within(seconds: float) -> None:
    """The last resort: after so long this process and its children end, whatever still runs.

    Python waits for its threads at the exit (`concurrent.futures.thread`), and none of them can be
    cancelled. The status is 0, as of any end that was asked for: launchd starts anew what failed.
    """
    threading.Thread(target=_end_process, args=(seconds,), daemon=True).start()


def _end_process(seconds: float) -> None:
    time.sleep(min(seconds, _LONGEST_S))
    # Beside it, for who writes a log may wait for a reader that is gone.
    threading.Thread(target=_tell_what_is_at_work, args=(seconds,), daemon=True).start()
    time.sleep(_TELLING_S)
    try:
        kill_children()
    finally:
        os._exit(0)


def _tell_what_is_at_work(seconds: float) -> None:
    threads = [thread.name for thread in threading.enumerate() if not thread.daemon]
    logger.error("the end took more than %g s; still at work: %s", seconds, ", ".join(threads))

"""The events of one row, between the task that reads the engine and the row's own reader."""

import asyncio
import time
from collections import deque

from .errors import RuntimeFault
from .events import Embedded, Finished, Prefill, Queued, RowEvent, TextDelta


class Mailbox:
    """Never blocks the writer: what a slow reader has not taken is merged into fewer events.

    So its size is bounded by the length of the answer.
    """

    def __init__(self) -> None:
        self._events: deque[Queued | RowEvent] = deque()
        self._fault: RuntimeFault | None = None
        self._arrived = asyncio.Event()
        self._unread_since: float | None = None
        self.is_finished = False  # the last event was put; none follows

    def put(self, event: Queued | RowEvent) -> None:
        """Add an event; text joins unread text, progress replaces unread progress."""
        if self._fault is not None:
            return
        last = self._events[-1] if self._events else None
        if isinstance(event, TextDelta) and isinstance(last, TextDelta):
            num_tokens = last.num_tokens + event.num_tokens
            self._events[-1] = TextDelta(event.id, last.text + event.text, num_tokens)
        elif isinstance(event, Prefill | Queued) and type(event) is type(last):
            self._events[-1] = event
        else:
            self._events.append(event)
        self.is_finished = isinstance(event, (Finished, Embedded))
        self._wake()

    def fail(self, fault: RuntimeFault) -> None:
        """End the row with this fault, after what was put before. A second end changes nothing."""
        if not self.is_finished and self._fault is None:
            self._fault = fault
            self._wake()

    async def get(self) -> Queued | RowEvent:
        """The next event. Raises the fault when the row ended in one."""
        while not self._events:
            if self._fault is not None:
                raise self._fault
            self._arrived.clear()
            await self._arrived.wait()
        event = self._events.popleft()
        self._unread_since = time.monotonic() if self._events else None
        return event

    def unread_s(self) -> float:
        """For how long events have been waiting while the reader took none."""
        return 0.0 if self._unread_since is None else time.monotonic() - self._unread_since

    def _wake(self) -> None:
        if self._unread_since is None:
            self._unread_since = time.monotonic()
        self._arrived.set()

"""What an engine computes: each event finds who waits for it."""

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from .engine_messages import Cancel, Command
from .errors import RuntimeFault, Stalled
from .events import Delta, Prefill, PromptScores, RowEvent
from .generation import Generation


@dataclass(frozen=True, slots=True)
class _Row:
    """What is computed, and who wants to know."""

    generation: Generation | None  # told of text; None for inputs of an encoder
    ended: asyncio.Future[RowEvent]

    def put(self, event: RowEvent) -> None:
        if isinstance(event, Delta | Prefill | PromptScores):
            if self.generation is not None:
                self.generation.put(event)
        elif not self.ended.done():
            self.ended.set_result(event)

    def fail(self, fault: RuntimeFault) -> None:
        if not self.ended.done():
            self.ended.set_exception(fault)
            self.ended.exception()  # seen, should its task be cancelled in this moment


class EngineRows:
    """Of one engine."""

    def __init__(
        self, send: Callable[[Command], None], death: Callable[[], RuntimeFault | None]
    ) -> None:
        """`death` tells what rows fail with that begin when the engine has ended."""
        self._send = send
        self._death = death
        self._rows: dict[int, _Row] = {}  # by number

    def __len__(self) -> int:
        return len(self._rows)

    @contextmanager
    def row(
        self, number: int, generation: Generation | None = None
    ) -> Iterator[asyncio.Future[RowEvent]]:
        """A row's last event, to be waited for; a row that has none at the end is cancelled."""
        row = self._rows[number] = _Row(generation, asyncio.get_running_loop().create_future())
        if (fault := self._death()) is not None:
            row.fail(fault)
        try:
            yield row.ended
        finally:
            del self._rows[number]
            if not row.ended.done() or row.ended.cancelled():
                self._send(Cancel(number))

    def put(self, event: RowEvent) -> None:
        """Hand an event on. Of a row that was cancelled nobody wants to know."""
        if (row := self._rows.get(event.id)) is not None:
            row.put(event)

    def fail(self, fault: RuntimeFault) -> None:
        """End every row with this fault."""
        for row in self._rows.values():
            row.fail(fault)

    def cancel_unread(self, limit_s: float) -> None:
        """End the rows whose events have lain unread for longer."""
        for number, row in self._rows.items():
            if row.generation is not None and row.generation.unread_s() > limit_s:
                row.fail(Stalled(f"The client read nothing for {limit_s:g} s."))
                self._send(Cancel(number))

"""Who may run of one model's requests, and who waits: the only queue there is.

A request takes a ticket at the door, asks for its turn once it is known what to compute, and gives
the ticket back at its end. In between its row may be set aside, for somebody more urgent or because
memory got short, and its engine may die: then it waits for another turn.

Background requests get the room that others leave. One that has waited for a bounded time counts as
interactive from then on, so it comes before all who arrived later and is not set aside again.

After an engine's death the requests that were in it are suspects: one of them may be what killed
it. They are let into the next engine one by one, and the next only once the one before has come
further than it was. So a second death has one culprit, and the others lose time but no answer.
"""

import asyncio
import time
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

from .requests import Priority

# Why a row had to leave: for a more urgent one, for want of memory, or with its engine.
Interruption: TypeAlias = Literal["priority", "memory", "death"]

AGEING_S = 30.0  # how long a background request waits in all before it counts as interactive
_SCARCE_S = 10.0  # after a want of memory so long no more rows are tried than had room


@dataclass(eq=False, slots=True)
class Ticket:
    """One request's place. Mutable; its schedule changes it."""

    number: int  # rises with each arrival; also its row's, in every engine
    priority: Priority
    takes_row: bool  # False: an encoder's, which packs all that have come
    on_position: Callable[[int], None]  # told how many wait up to this one; 0: its turn has come
    put_aside: Callable[[], None] | None = None  # while its row is in an engine: asks for it
    is_running: bool = False
    is_suspect: bool = False
    is_cleared: bool = False  # it has come so far in this engine that it will hardly end it
    interrupted: Interruption | None = None  # what it waits after
    position: int | None = None  # while it waits; counted from 1
    waited_s: float = 0.0  # in earlier waits
    waits_since: float | None = None
    fault: Exception | None = None
    _changed: asyncio.Event = field(default_factory=asyncio.Event)

    async def turn(self) -> None:
        """Wait until it may run. Raises what `Schedule.fail` was given."""
        while self.fault is None and not self.is_running:
            self._changed.clear()
            await self._changed.wait()
        if self.fault is not None:
            raise self.fault

    def wake(self) -> None:
        self._changed.set()


class Schedule:
    """Of one model. All methods run on one event loop, and none of them waits."""

    def __init__(
        self, max_rows: int, max_queue: int, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.interruptions: Counter[Interruption] = Counter()
        self.continuations: Counter[Interruption] = Counter()
        self._max_rows = max_rows
        self._max_queue = max_queue
        self._clock = clock
        self._tickets: dict[int, Ticket] = {}  # all that are out
        self._scarce_rows = max_rows  # as many as had room when memory was short last
        self._scarce_until = 0.0

    # --- a ticket's life ----------------------------------------------------------------------

    def is_full(self, priority: Priority, num_more: int = 1) -> bool:
        """Whether more of this class would wait than may. None takes the other's room to wait."""
        urgent = sum(ticket.priority == "interactive" for ticket in self._tickets.values())
        if priority == "interactive":  # they may have every row
            return urgent + num_more > self._max_rows + self._max_queue
        room = max(0, self._max_rows - urgent)
        return len(self._tickets) - urgent + num_more > room + self._max_queue

    def enter(
        self,
        number: int,
        priority: Priority,
        on_position: Callable[[int], None],
        *,
        takes_row: bool = True,
    ) -> Ticket:
        ticket = Ticket(number, priority, takes_row, on_position)
        self._tickets[number] = ticket
        return ticket

    def ask(self, ticket: Ticket) -> None:
        """It is ready to run: from now on it waits, or has its turn already."""
        ticket.waits_since = self._clock()
        self.dispatch()

    def leave(self, ticket: Ticket) -> None:
        """Give the ticket back, from wherever it stands."""
        del self._tickets[ticket.number]
        ticket.is_running = False
        self.dispatch()

    def interrupt(self, ticket: Ticket, by: Interruption) -> None:
        """Its row is no longer in the engine: it waits for another turn."""
        ticket.is_suspect = by == "death"
        if by == "memory":
            self._scarce_rows = max(1, len(self._running_rows()) - ticket.is_running)
            self._scarce_until = self._clock() + _SCARCE_S
        self._wait_again(ticket, by)
        self.dispatch()

    def clear(self, ticket: Ticket) -> None:
        """It has come further than it was: it is no suspect any more, and a trial need not wait."""
        ticket.is_suspect, ticket.is_cleared = False, True
        self.dispatch()

    def fail(self, fault: Exception) -> None:
        """End all that wait for their turn, or have it and are in no engine yet."""
        for ticket in self._tickets.values():
            is_on_its_way = ticket.is_running and ticket.put_aside is None
            if ticket.waits_since is not None or is_on_its_way:
                ticket.fault = fault
                ticket.wake()

    def dispatch(self) -> None:
        """Give turns while there is room. Call it also now and then, for time changes ranks."""
        for ticket in self._waiting():
            if not self._has_room(ticket):
                break
            self._start(ticket)
        for position, ticket in enumerate(self._waiting(), 1):
            if ticket.position != position:
                ticket.position = position
                ticket.on_position(position)

    # --- for lists ----------------------------------------------------------------------------

    @property
    def num_running(self) -> int:
        return sum(ticket.is_running for ticket in self._tickets.values())

    @property
    def num_aside(self) -> int:
        """Of those that wait: set aside, and not yet continued."""
        return sum(ticket.interrupted in ("priority", "memory") for ticket in self._waiting())

    def num_ahead(self, ticket: Ticket) -> int:
        """How many have to be served before this one, were it to ask now."""
        in_front = sum(self._order(other) < self._order(ticket) for other in self._waiting())
        running = self._running_rows()
        if self._is_urgent(ticket):  # the others make room for it
            running = [other for other in running if self._is_urgent(other)]
        return max(0, in_front + len(running) + 1 - self._max_rows)

    def rank(self, ticket: Ticket) -> Priority:
        """Its priority, save that one which has waited long enough counts as interactive."""
        waited_s = ticket.waited_s
        if ticket.waits_since is not None:
            waited_s += self._clock() - ticket.waits_since
        return "interactive" if waited_s >= AGEING_S else ticket.priority

    # --- decisions ----------------------------------------------------------------------------

    def _waiting(self) -> list[Ticket]:
        """The urgent first, of equals the suspects, then in the order of their coming."""
        waiting = (ticket for ticket in self._tickets.values() if ticket.waits_since is not None)
        return sorted(waiting, key=self._order)

    def _order(self, ticket: Ticket) -> tuple[bool, bool, int]:
        return (not self._is_urgent(ticket), not ticket.is_suspect, ticket.number)

    def _is_urgent(self, ticket: Ticket) -> bool:
        return self.rank(ticket) == "interactive"

    def _running_rows(self) -> list[Ticket]:
        return [
            ticket for ticket in self._tickets.values() if ticket.is_running and ticket.takes_row
        ]

    def _has_room(self, ticket: Ticket) -> bool:
        """Whether it may run now; somebody less urgent may have had to leave for it."""
        if not self._has_no_trial(ticket):
            return False
        if not ticket.takes_row:
            return True
        running = self._running_rows()
        is_scarce = self._clock() < self._scarce_until
        if len(running) < min(self._max_rows, self._scarce_rows if is_scarce else self._max_rows):
            return True
        return self._is_urgent(ticket) and self._set_one_aside(running)

    def _has_no_trial(self, ticket: Ticket) -> bool:
        """Nobody starts beside a suspect, to die with it or to be what it dies of, nor a suspect
        beside somebody who is not cleared; but a background one makes way for the urgent."""
        running = [other for other in self._tickets.values() if other.is_running]
        suspect = next((other for other in running if other.is_suspect), None)
        if suspect is not None:
            if not suspect.takes_row or self._is_urgent(suspect) or not self._is_urgent(ticket):
                return False
            self._set_aside(suspect)
            running.remove(suspect)
        return not ticket.is_suspect or all(other.is_cleared for other in running)

    def _set_one_aside(self, running: Iterable[Ticket]) -> bool:
        """The youngest background row makes room; False if there is none."""
        youngest = max(
            (ticket for ticket in running if not self._is_urgent(ticket)),
            key=lambda ticket: ticket.number,
            default=None,
        )
        if youngest is None:
            return False
        self._set_aside(youngest)
        return True

    def _set_aside(self, ticket: Ticket) -> None:
        if ticket.put_aside is not None:
            ticket.put_aside()
        self._wait_again(ticket, "priority")

    def _start(self, ticket: Ticket) -> None:
        if ticket.waits_since is not None:
            ticket.waited_s += self._clock() - ticket.waits_since
        ticket.waits_since = ticket.position = None
        ticket.is_running, ticket.is_cleared = True, False
        if ticket.interrupted is not None:
            self.continuations[ticket.interrupted] += 1
            ticket.interrupted = None
        ticket.on_position(0)
        ticket.wake()

    def _wait_again(self, ticket: Ticket, by: Interruption) -> None:
        if ticket.waits_since is None:  # a row may be set aside in the moment of its engine's death
            ticket.waits_since = self._clock()
            self.interruptions[by] += 1
        ticket.is_running, ticket.interrupted = False, by

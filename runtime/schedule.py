"""Who may run of one model's requests, and who waits: the only queue there is.

A request takes a ticket at the door, asks for its turn once it is known what to compute, and gives
the ticket back at its end. In between its row may be set aside, for somebody more urgent or because
memory got short, and its engine may die: then it waits for another turn.

Background requests get the room that others leave. One that has waited for a bounded time counts as
interactive from then on, so it comes before all who arrived later and is not set aside again.

After an engine's death the requests that were in it are suspects: one of them may be what killed
it. They are let into the next engine one by one, and the next only once the one before has come
further than it was. So a second death has one culprit, and the others lose time but no answer.

One that finds no memory lets others go first that find some, but no background one; and after
`PATIENCE_S` what it needs is kept for it. So a large request waits for the rows that run then, and
never for all the small ones that are still to come.
"""

from collections import Counter
from collections.abc import Callable, Iterable
from typing import Protocol

from .power import awake
from .requests import Priority
from .ticket import Interruption, Ticket

AGEING_S = 30.0  # how long a background request waits in all before it counts as interactive
PATIENCE_S = 10.0  # how long smaller requests may go ahead of one that waits for memory
_SCARCE_S = 10.0  # after a want of memory so long no more rows are tried than had room, at most


class Memory(Protocol):
    """What rows of this model need and find, in bytes; the other models take from the same."""

    def needs(self, ticket: Ticket) -> int:
        """What must be free for its row to start."""

    def room(self, ticket: Ticket) -> int:
        """What is free for it: not promised to rows that run, nor kept for who waits longer."""


class Schedule:
    """Of one model. All methods run on one event loop, and none of them waits."""

    def __init__(
        self,
        max_rows: int,
        max_queue: int,
        clock: Callable[[], float] = awake.now,
        memory: Memory | None = None,
    ) -> None:
        """Without `memory` there is always enough."""
        self.interruptions: Counter[Interruption] = Counter()
        self.continuations: Counter[Interruption] = Counter()
        self._max_rows = max_rows
        self._max_queue = max_queue
        self._clock = clock
        self._memory = memory
        self._tickets: dict[int, Ticket] = {}  # all that are out
        self._scarce_rows = max_rows  # as many as had room when memory was short last
        self._scarce_until = 0.0
        self._scarce_room = 0  # bytes that were free then

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
        self._wait_again(ticket, by)
        if by == "memory":
            self._scarce_rows = max(1, len(self.running_rows()))
            self._scarce_until = self._clock() + _SCARCE_S
            self._scarce_room = self._memory.room(ticket) if self._memory is not None else 0
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
                self.fail_one(ticket, fault)

    def fail_one(self, ticket: Ticket, fault: Exception) -> None:
        """End one that waits."""
        ticket.fault = fault
        ticket.wake()

    def dispatch(self) -> None:
        """Give turns while there is room. Call it also now and then, for time changes ranks."""
        for ticket in self._waiting():
            if not self._has_no_trial(ticket) or not self._has_row(ticket):
                break
            if self._is_passed_over(ticket):
                break
            if self._has_memory(ticket):
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
        running = self.running_rows()
        if self.is_urgent(ticket):  # the others make room for it
            running = [other for other in running if self.is_urgent(other)]
        return max(0, in_front + len(running) + 1 - self._max_rows)

    def rank(self, ticket: Ticket) -> Priority:
        """Its priority, save that one which has waited long enough counts as interactive."""
        waited_s = ticket.waited_s
        if ticket.waits_since is not None:
            waited_s += self._clock() - ticket.waits_since
        return "interactive" if waited_s >= AGEING_S else ticket.priority

    def is_urgent(self, ticket: Ticket) -> bool:
        """Whether it counts as interactive."""
        return self.rank(ticket) == "interactive"

    def running_rows(self) -> list[Ticket]:
        """Those that have a row, or were promised one."""
        return [
            ticket for ticket in self._tickets.values() if ticket.is_running and ticket.takes_row
        ]

    def short(self) -> list[Ticket]:
        """Those that wait for memory."""
        return [ticket for ticket in self._tickets.values() if ticket.short_since is not None]

    def is_impatient(self, ticket: Ticket) -> bool:
        """Whether it has waited for memory so long that nobody may go ahead of it."""
        since = ticket.short_since
        return since is not None and self._clock() - since >= PATIENCE_S

    # --- decisions ----------------------------------------------------------------------------

    def _waiting(self) -> list[Ticket]:
        """The urgent first, of equals the suspects, then in the order of their coming."""
        waiting = (ticket for ticket in self._tickets.values() if ticket.waits_since is not None)
        return sorted(waiting, key=self._order)

    def _order(self, ticket: Ticket) -> tuple[bool, bool, int]:
        return (not self.is_urgent(ticket), not ticket.is_suspect, ticket.number)

    def _is_passed_over(self, ticket: Ticket) -> bool:
        """Whether memory is kept for somebody else: more urgent, or short of it for too long."""
        return any(
            other.short_since is not None
            and other is not ticket
            and self._order(other) < self._order(ticket)
            and (self.is_urgent(other) > self.is_urgent(ticket) or self.is_impatient(other))
            for other in self._tickets.values()
        )

    def _has_row(self, ticket: Ticket) -> bool:
        """Whether a row is free, or somebody less urgent would have to leave for it."""
        if not ticket.takes_row:
            return True
        running = self.running_rows()
        if len(running) < self._num_rows(ticket):
            return True
        return self.is_urgent(ticket) and not all(map(self.is_urgent, running))

    def _num_rows(self, ticket: Ticket) -> int:
        """How many may be tried: fewer for a while after a want of memory, or until there is more
        than there was, by what this one needs."""
        if self._clock() >= self._scarce_until:
            return self._max_rows
        if self._memory is not None and (needed := self._memory.needs(ticket)):
            if self._memory.room(ticket) - self._scarce_room > needed:
                self._scarce_until = 0.0
                return self._max_rows
        return min(self._max_rows, self._scarce_rows)

    def _has_memory(self, ticket: Ticket) -> bool:
        """Whether there is enough for it now; a background row may have to leave for an urgent one,
        one after the other, for each takes a moment to give its memory back."""
        memory = self._memory
        if memory is None or not ticket.takes_row or memory.needs(ticket) <= memory.room(ticket):
            return True
        if ticket.short_since is None:
            ticket.short_since = self._clock()
        is_one_leaving = any(row.put_aside and row.interrupted for row in self._waiting())
        if self.is_urgent(ticket) and not is_one_leaving:
            self._set_one_aside(self.running_rows())
        return False

    def _has_no_trial(self, ticket: Ticket) -> bool:
        """Nobody starts beside a suspect, to die with it or to be what it dies of, nor a suspect
        beside somebody who is not cleared; but a background one makes way for the urgent."""
        running = [other for other in self._tickets.values() if other.is_running]
        suspect = next((other for other in running if other.is_suspect), None)
        if suspect is not None:
            if not suspect.takes_row or self.is_urgent(suspect) or not self.is_urgent(ticket):
                return False
            self._set_aside(suspect)
            running.remove(suspect)
        return not ticket.is_suspect or all(other.is_cleared for other in running)

    def _set_one_aside(self, running: Iterable[Ticket]) -> bool:
        """The youngest background row makes room; False if there is none."""
        youngest = max(
            (ticket for ticket in running if not self.is_urgent(ticket)),
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
        if ticket.takes_row and len(running := self.running_rows()) >= self._num_rows(ticket):
            self._set_one_aside(running)
        if ticket.waits_since is not None:
            ticket.waited_s += self._clock() - ticket.waits_since
        ticket.waits_since = ticket.position = ticket.short_since = None
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

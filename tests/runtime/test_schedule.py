"""Tests of runtime.schedule: who runs, who waits, who makes room; on a clock that is turned."""

import asyncio
import random

import pytest

from runtime.errors import Draining
from runtime.requests import Priority
from runtime.schedule import AGEING_S, PATIENCE_S, Schedule
from runtime.ticket import Ticket


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


class Bytes:
    """Memory of so many bytes: a token is one, and a row has all its own from its start."""

    def __init__(self, num_bytes: int) -> None:
        self.num_bytes = num_bytes
        self.schedule: Schedule | None = None

    def needs(self, ticket: Ticket) -> int:
        return ticket.num_tokens

    def room(self, ticket: Ticket) -> int:
        assert self.schedule is not None
        return self.num_bytes - sum(row.num_tokens for row in self.schedule.running_rows())


class Desk:
    """A schedule, its clock, and what its tickets were told."""

    def __init__(self, max_rows: int = 2, max_queue: int = 3, memory: Bytes | None = None) -> None:
        self.clock = Clock()
        self.schedule = Schedule(max_rows, max_queue, self.clock, memory)
        if memory is not None:
            memory.schedule = self.schedule
        self.positions: dict[int, list[int]] = {}
        self.put_aside: list[int] = []
        self.num_tickets = 0

    def enter(self, priority: Priority = "interactive", *, takes_row: bool = True) -> Ticket:
        self.num_tickets += 1
        told = self.positions[self.num_tickets] = []
        return self.schedule.enter(self.num_tickets, priority, told.append, takes_row=takes_row)

    def ask(
        self, priority: Priority = "interactive", *, takes_row: bool = True, num_tokens: int = 0
    ) -> Ticket:
        ticket = self.enter(priority, takes_row=takes_row)
        ticket.num_tokens = num_tokens
        ticket.put_aside = lambda: self.put_aside.append(ticket.number)
        self.schedule.ask(ticket)
        return ticket

    def many(self, count: int, priority: Priority = "interactive") -> list[Ticket]:
        return [self.ask(priority) for _ in range(count)]

    def die(self, *tickets: Ticket) -> None:
        """Their engine did, and each is told."""
        for ticket in tickets:
            self.schedule.interrupt(ticket, "death")


def running(*tickets: Ticket) -> list[bool]:
    return [ticket.is_running for ticket in tickets]


def test_rows_run_in_the_order_of_their_coming_and_are_told_their_place() -> None:
    desk = Desk()
    first, second, third, fourth = desk.many(4)
    assert running(first, second, third, fourth) == [True, True, False, False]
    desk.schedule.leave(first)
    desk.schedule.leave(fourth)
    desk.schedule.leave(second)
    assert third.is_running and desk.schedule.num_running == 1
    assert desk.positions == {1: [0], 2: [0], 3: [1, 0], 4: [2, 1]}


def test_each_class_has_its_own_room_to_wait() -> None:
    """Neither is refused for what waits of the other; background rows may have what is left."""
    desk = Desk(max_rows=2, max_queue=3)
    desk.many(5, "background")
    assert desk.schedule.is_full("background") and not desk.schedule.is_full("interactive")
    desk.many(4)
    assert not desk.schedule.is_full("interactive")
    desk.ask()
    assert desk.schedule.is_full("interactive")


def test_the_youngest_background_row_makes_room() -> None:
    """The first in is the last to leave, and the first to go on."""
    desk = Desk()
    old, young = desk.many(2, "background")
    urgent = desk.ask()
    assert desk.put_aside == [young.number] and running(old, young, urgent) == [True, False, True]
    another, third = desk.many(2)
    assert desk.put_aside == [young.number, old.number] and not third.is_running
    assert desk.schedule.num_aside == 2
    for ticket in (urgent, another, third):
        desk.schedule.leave(ticket)
    assert running(old, young) == [True, True] and desk.schedule.num_aside == 0
    assert desk.schedule.interruptions == desk.schedule.continuations == {"priority": 2}
    assert desk.positions[old.number] == [0, 1, 2, 1, 0]


def test_a_background_row_never_displaces_anybody() -> None:
    desk = Desk()
    desk.many(2, "background")
    assert not desk.ask("background").is_running and desk.put_aside == []


def test_nobody_starves_beside_an_endless_stream() -> None:
    """A background request waits for a bounded time, and then for the one that runs."""
    desk = Desk(max_rows=1, max_queue=100)
    served, background = desk.ask(), desk.ask("background")
    asked_at = desk.clock.now
    while not background.is_running:
        following = desk.ask()  # there is always one that waits
        desk.clock.now += 0.7
        desk.schedule.leave(served)
        served = following
    assert AGEING_S <= desk.clock.now - asked_at <= AGEING_S + 0.7
    desk.many(5)
    assert background.is_running and desk.put_aside == []


def test_who_was_set_aside_often_enough_stays() -> None:
    """All its waits count together: it does not begin anew each time that it ran a little."""
    desk = Desk(max_rows=1)
    background = desk.ask("background")
    for number in range(1, 11):
        urgent = desk.ask()
        assert urgent.is_running and len(desk.put_aside) == number
        desk.clock.now += AGEING_S / 10
        desk.schedule.leave(urgent)
        assert background.is_running
    assert not desk.ask().is_running and len(desk.put_aside) == 10


def test_time_alone_makes_room_at_the_next_look() -> None:
    """Background rows that have waited enough displace such as have not."""
    desk = Desk(max_rows=1)
    first, second = desk.many(2, "background")
    desk.clock.now += AGEING_S - 1
    desk.schedule.dispatch()
    assert running(first, second) == [True, False]
    desk.clock.now += 1
    desk.schedule.dispatch()
    assert running(first, second) == [False, True]


def test_no_more_rows_are_tried_than_had_room_until_memory_had_time() -> None:
    desk = Desk(max_rows=4, max_queue=9)
    rows = desk.many(4)
    desk.schedule.interrupt(rows[3], "memory")
    assert running(*rows) == [True, True, True, False]
    desk.schedule.leave(rows[0])  # its room is taken, and no more
    late = desk.ask()
    assert running(rows[3], late) == [True, False]
    desk.clock.now += 10
    desk.schedule.dispatch()
    assert late.is_running and desk.schedule.continuations == {"memory": 1}


def test_one_row_always_goes_on_when_memory_is_short() -> None:
    """All of a step that failed are set aside; the first of them is let in again at once."""
    desk = Desk(max_rows=3)
    rows = desk.many(3)
    for ticket in rows:
        desk.schedule.interrupt(ticket, "memory")
    assert running(*rows) == [True, False, False]


def test_suspects_go_on_one_by_one_in_their_old_order() -> None:
    """Nobody runs beside one on trial: it would die with it, or be what it dies of."""
    desk = Desk(max_rows=3, max_queue=9)
    rows = desk.many(4)
    desk.die(rows[2], rows[0], rows[1])
    newcomer = desk.ask()
    order = []
    while suspects := [ticket for ticket in rows[:3] if ticket.is_suspect]:
        (on_trial,) = (ticket for ticket in [*rows, newcomer] if ticket.is_running)
        assert on_trial in suspects
        order.append(on_trial.number)
        desk.schedule.leave(on_trial)  # it was whole, or to blame
        rows = [ticket for ticket in rows if ticket is not on_trial]
        if len(order) == 3:
            break
    assert sorted(order) == [1, 2, 3] and order[1:] == sorted(order[1:])
    assert running(*rows, newcomer) == [True, True]


def test_a_suspect_that_came_further_lets_the_next_one_in_beside_it() -> None:
    desk = Desk(max_rows=3)
    rows = desk.many(3)
    desk.die(*rows)
    for count in (1, 2, 3):
        assert sum(running(*rows)) == count
        desk.schedule.clear(rows[count - 1])
    assert desk.schedule.interruptions == desk.schedule.continuations == {"death": 3}


def test_a_background_suspect_makes_way_for_the_urgent() -> None:
    """It is set aside, still a suspect, and no one is blamed."""
    desk = Desk()
    suspect = desk.ask("background")
    desk.die(suspect)
    assert suspect.is_running
    urgent = desk.ask()
    assert urgent.is_running and desk.put_aside == [suspect.number]


def test_a_suspect_waits_for_a_newcomer_to_be_cleared() -> None:
    """It would be blamed for what the other does. When it waited long enough nobody new starts."""
    desk = Desk(max_rows=4, max_queue=9)
    suspect = desk.ask("background")
    desk.die(suspect)
    first = desk.ask()
    assert running(suspect, first) == [False, True]
    second = desk.ask()
    desk.schedule.clear(first)
    assert running(suspect, second) == [False, True]
    desk.clock.now += AGEING_S
    third = desk.ask()
    assert running(suspect, third) == [False, False]
    desk.schedule.clear(second)
    assert running(suspect, third) == [True, False]
    desk.schedule.clear(suspect)
    assert third.is_running


def test_who_was_let_in_and_waited_for_an_engine_dies_with_no_suspect() -> None:
    """It was not in the engine that died, so it goes first, alone, and the suspects behind it."""
    desk = Desk(max_rows=3)
    old, loading = desk.many(2)
    desk.die(old)
    assert running(old, loading) == [False, True]
    desk.schedule.clear(loading)
    assert old.is_running


def test_encoders_take_no_row() -> None:
    """All that have come are packed together, however many."""
    desk = Desk(max_rows=1)
    tickets = [desk.ask("background", takes_row=False) for _ in range(4)]
    assert all(running(*tickets)) and desk.schedule.num_running == 4


def test_those_ahead_are_counted_for_whoever_would_ask_now() -> None:
    desk = Desk(max_rows=2, max_queue=9)
    desk.many(2, "background")
    assert desk.schedule.num_ahead(desk.enter()) == 0  # one of them makes room
    assert desk.schedule.num_ahead(desk.enter("background")) == 1
    desk.many(3)
    assert desk.schedule.num_ahead(desk.enter()) == 2
    assert desk.schedule.num_ahead(desk.enter("background")) == 4


async def test_waiting_for_a_turn() -> None:
    """It ends with the turn, or with what all that wait are told; who runs is told nothing."""
    desk = Desk(max_rows=1)
    first, second, third = desk.many(3)
    await first.turn()
    waits = [asyncio.create_task(ticket.turn()) for ticket in (second, third)]
    await asyncio.sleep(0)
    desk.schedule.leave(first)
    await waits[0]
    assert not waits[1].done()
    desk.schedule.fail(Draining())
    with pytest.raises(Draining):
        await waits[1]
    await second.turn()


@pytest.mark.parametrize("seed", range(5))
def test_whatever_happens_every_ticket_is_served(seed: int) -> None:
    """3,000 random steps: never too many rows, none runs and waits at once, none is forgotten."""
    draw = random.Random(seed)
    desk = Desk(max_rows=draw.choice([1, 2, 4]), max_queue=10**6)
    schedule, out, served = desk.schedule, [], set()
    for step in range(3000):
        desk.clock.now += draw.expovariate(1)
        if step < 2000 and draw.random() < 0.4:
            out.append(desk.ask(draw.choice(["interactive", "background"])))
        runs = [ticket for ticket in out if ticket.is_running]
        chance = draw.random()
        if runs and chance < 0.05:
            desk.die(*runs)
        elif runs and chance < 0.1:
            schedule.interrupt(draw.choice(runs), "memory")
        elif suspects := [ticket for ticket in runs if ticket.is_suspect and chance < 0.7]:
            schedule.clear(draw.choice(suspects))
        elif out and chance > 0.97:
            gone = draw.choice(out)
            out.remove(gone)
            schedule.leave(gone)
            served.add(gone.number)
        elif runs and chance > 0.3:
            gone = draw.choice(runs)
            out.remove(gone)
            schedule.leave(gone)
            served.add(gone.number)
        schedule.dispatch()
        assert sum(running(*out)) == schedule.num_running <= desk.schedule._max_rows
        assert all(ticket.is_running == (ticket.waits_since is None) for ticket in out)
        assert bool(out) == bool(schedule.num_running)
    for _ in range(len(out)):
        gone = next(ticket for ticket in out if ticket.is_running)
        out.remove(gone)
        schedule.leave(gone)
        served.add(gone.number)
    assert not out and served == set(range(1, desk.num_tickets + 1))


def test_smaller_requests_pass_one_that_waits_for_memory_until_it_has_waited_long() -> None:
    """Then what becomes free is kept for it, and it is next."""
    desk = Desk(max_rows=9, max_queue=99, memory=Bytes(100))
    first = desk.ask(num_tokens=60)
    large = desk.ask(num_tokens=80)
    small = desk.ask(num_tokens=40)
    assert running(first, large, small) == [True, False, True]
    desk.schedule.leave(small)
    desk.clock.now += PATIENCE_S - 1
    small = desk.ask(num_tokens=40)
    assert small.is_running and not desk.schedule.is_impatient(large)
    desk.schedule.leave(small)
    desk.clock.now += 1
    late = desk.ask(num_tokens=10)
    assert running(large, late) == [False, False]
    desk.schedule.leave(first)
    assert running(large, late) == [True, True]


def test_background_rows_make_room_in_memory_one_after_the_other() -> None:
    """For an urgent one; each takes a moment to give its memory back, and none starts meanwhile."""
    desk = Desk(max_rows=9, max_queue=99, memory=Bytes(100))
    rows = [desk.ask("background", num_tokens=30) for _ in range(3)]
    urgent = desk.ask(num_tokens=60)
    assert desk.put_aside == [3] and not urgent.is_running
    desk.schedule.dispatch()
    assert desk.put_aside == [3]  # it is still on its way out
    rows[2].put_aside = None
    desk.schedule.dispatch()
    assert desk.put_aside == [3, 2] and not urgent.is_running
    desk.schedule.dispatch()
    assert urgent.is_running  # here bytes are free at once
    assert running(*rows) == [True, False, False]
    desk.schedule.leave(urgent)
    assert running(*rows) == [True, True, True]


def test_no_background_row_starts_while_an_urgent_one_waits_for_memory() -> None:
    desk = Desk(max_rows=9, max_queue=99, memory=Bytes(100))
    desk.ask(num_tokens=60)
    desk.ask(num_tokens=80)
    assert not desk.ask("background", num_tokens=10).is_running
    assert desk.ask(num_tokens=10).is_running


def test_rows_are_tried_again_as_soon_as_memory_is_back() -> None:
    """After a want of memory few are tried for a while, unless there is clearly more than then."""
    memory = Bytes(60)
    desk = Desk(max_rows=9, max_queue=99, memory=memory)
    first, second = (desk.ask(num_tokens=20) for _ in range(2))
    memory.num_bytes = 30
    desk.schedule.interrupt(second, "memory")
    memory.num_bytes = 45
    desk.schedule.dispatch()
    assert running(first, second) == [True, False]
    memory.num_bytes = 60
    desk.schedule.dispatch()
    assert running(first, second) == [True, True]


@pytest.mark.parametrize("seed", range(5))
def test_whatever_its_size_every_row_is_served_in_bounded_time(seed: int) -> None:
    """Rows of 1 to 100 bytes of 100 keep coming, faster than they can be served for a while; nobody
    waits for longer than its patience and the work of those that came before it or passed it."""
    draw = random.Random(seed)
    desk = Desk(max_rows=8, max_queue=10**6, memory=Bytes(100))
    ends: dict[int, float] = {}  # of rows that run
    came: dict[int, float] = {}
    waits: list[float] = []
    out: list[Ticket] = []
    for step in range(2000):
        desk.clock.now += 1.0
        if step < 1500 and draw.random() < 0.5:
            ticket = desk.ask(num_tokens=draw.choice([1, 5, 5, 5, 10, 100]))
            came[ticket.number] = desk.clock.now
            out.append(ticket)
        for ticket in [row for row in out if ends.get(row.number, 1e9) <= desk.clock.now]:
            out.remove(ticket)
            desk.schedule.leave(ticket)
        desk.schedule.dispatch()
        for ticket in out:
            if ticket.is_running and ticket.number not in ends:
                ends[ticket.number] = desk.clock.now + draw.uniform(1, 4)
                waits.append(desk.clock.now - came[ticket.number])
            if not ticket.is_running:
                before = [other for other in came if other < ticket.number]
                started = [n for n in ends if n > ticket.number and ends[n] > came[ticket.number]]
                bound = PATIENCE_S + 6 * (len(before) + 1) + 4 * len(started)
                assert desk.clock.now - came[ticket.number] < bound
        held = sum(row.num_tokens for row in desk.schedule.running_rows())
        assert held <= 100
    assert not [ticket for ticket in out if not ticket.is_running]
    assert len(waits) == desk.num_tickets

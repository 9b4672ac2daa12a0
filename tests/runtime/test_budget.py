"""Tests of runtime.budget: one budget for all models, on a meter that is set and a turned clock."""

from pathlib import Path

import pytest

from registry.checkpoint.cache_shape import CacheShape
from registry.checkpoint.model import Model
from registry.checkpoint.model_memory import ModelMemory
from runtime.budget import Budget, RowMemory, needed_bytes, rows_need
from runtime.events import Loading
from runtime.memory import kv
from runtime.requests import Priority
from runtime.schedule import PATIENCE_S, Schedule
from runtime.slot import Load, Slot
from runtime.ticket import Ticket
from tests.runtime.asking import SetMeter

TOKEN = 1000  # bytes of a token in every cache here


class Machine:
    """Some models on one machine; rows hold what they were given, and the meter sees it."""

    def __init__(self, room: int, *names: str) -> None:
        self.now = 1000.0
        self.meter = SetMeter(room)
        self.slots: dict[str, Slot] = {}
        self.budget = Budget(self.slots, self.meter)
        self.held: dict[int, int] = {}  # tokens, by ticket
        self.rooms: dict[int, int] = {}  # bytes of those that are read, room for more included
        self.num_tickets = 0
        for name in names:
            memory = RowMemory(self.budget, name)
            schedule = Schedule(4, 100, lambda: self.now, memory)
            slot = Slot(Model(name, Path("unused")), keep_alive_s=1, schedule=schedule)
            slot.memory = ModelMemory(0, CacheShape(TOKEN))
            self.slots[name] = slot

    def ask(self, name: str, num_tokens: int, priority: Priority = "interactive") -> Ticket:
        self.num_tickets += 1
        number = self.num_tickets
        ticket = self.slots[name].schedule.enter(number, priority, lambda _: None)
        ticket.num_tokens = num_tokens
        ticket.num_held = lambda: self.held.get(number, 0)
        ticket.held_bytes = lambda: self.rooms.get(number)
        self.slots[name].schedule.ask(ticket)
        return ticket

    def grow(self, ticket: Ticket, num_tokens: int) -> None:
        """Its row reads and writes so many tokens: they are the meter's to count now."""
        self.meter.room -= (num_tokens - self.held.get(ticket.number, 0)) * TOKEN
        self.held[ticket.number] = num_tokens

    def leave(self, name: str, ticket: Ticket) -> None:
        self.meter.room += self.held.pop(ticket.number, 0) * TOKEN
        self.slots[name].schedule.leave(ticket)

    def dispatch(self) -> None:
        for slot in self.slots.values():
            slot.schedule.dispatch()


def test_a_load_in_flight_is_counted() -> None:
    """What it was admitted with, less what it has taken: nobody else may have it too."""
    machine = Machine(1000, "a", "b")
    load = machine.slots["a"].load = Load(total_bytes=10, needed_bytes=300)
    assert machine.budget.available_bytes() == 700
    load.report(Loading(100, 300))
    machine.meter.room -= 100
    assert machine.budget.available_bytes() == 700
    assert machine.budget.drained_bytes(machine.slots["b"]) == 700


def test_what_a_row_was_promised_is_counted_once() -> None:
    """As a promise until it holds it, then on the meter, and what it takes beyond that, too."""
    row = kv.row_bytes(CacheShape(TOKEN), 1000)
    machine = Machine(3 * row, "a")
    ticket = machine.ask("a", 1000)
    assert ticket.is_running and machine.budget.available_bytes() == 2 * row
    for held in (1, 500, 1000):
        machine.grow(ticket, held)
        assert machine.budget.available_bytes() == 2 * row
    machine.grow(ticket, 3000)  # with the step that it may grow by at once
    assert machine.budget.available_bytes() == 2 * row - 2000 * TOKEN
    assert machine.budget.drained_bytes(machine.slots["a"]) == 3 * row
    machine.leave("a", ticket)
    assert machine.budget.available_bytes() == 3 * row


def test_the_room_of_a_prompt_that_is_read_is_counted_once() -> None:
    """Its cache has room for all of it long before it is read: that is no promise any more. A twin
    of it holds nothing, however far they are."""
    row = kv.row_bytes(CacheShape(TOKEN), 1000)
    machine = Machine(4 * row, "a")
    first, twin = machine.ask("a", 1000), machine.ask("a", 1000)
    available = machine.budget.available_bytes()
    for ticket, num_bytes in ((first, 900 * TOKEN), (twin, 0)):
        machine.held[ticket.number], machine.rooms[ticket.number] = 100, num_bytes
        machine.meter.room -= num_bytes
        assert machine.budget.available_bytes() == available
        assert machine.budget.drained_bytes(machine.slots["a"]) == 4 * row


def test_two_models_share_one_budget() -> None:
    """What a row of one was promised no row of the other gets; when it is over, it does."""
    row = kv.row_bytes(CacheShape(TOKEN), 1000)
    machine = Machine(int(1.5 * row), "a", "b")
    first, second = machine.ask("a", 1000), machine.ask("b", 1000)
    assert first.is_running and not second.is_running
    machine.grow(first, 1000)
    machine.dispatch()
    assert not second.is_running
    machine.leave("a", first)
    machine.dispatch()
    assert second.is_running


def test_a_row_that_joins_needs_room_for_the_copy() -> None:
    """Beside what it adds, the joined cache is there with those that it is made of."""
    machine = Machine(1 << 40, "a")
    slot = machine.slots["a"]
    alone = rows_need(slot, [1000])
    margin = slot.stats.calibration.margin  # beside what is predicted
    assert alone == pytest.approx(kv.row_bytes(CacheShape(TOKEN), 1000) * (1 + margin))
    machine.ask("a", 1000)
    waiting = slot.schedule.enter(99, "interactive", lambda _: None)
    waiting.num_tokens = 1000
    assert needed_bytes(slot, waiting) == pytest.approx(3 * alone)  # its own, and both once more


def test_readings_that_jump_are_believed_as_they_come() -> None:
    """A spike closes the door for as long as it lasts, and no longer: nothing is remembered."""
    machine = Machine(1 << 30, "a")
    machine.meter.room = -5
    waiting = machine.ask("a", 1000)
    assert not waiting.is_running and machine.slots["a"].schedule.short() == [waiting]
    machine.now += 3
    machine.dispatch()
    assert not waiting.is_running
    machine.meter.room = 1 << 30
    machine.dispatch()
    assert waiting.is_running and machine.slots["a"].schedule.short() == []


def test_a_reading_that_stands_still_lets_in_no_more_than_it_says() -> None:
    """A meter that does not see what was just let in: promises stand for it."""
    row = kv.row_bytes(CacheShape(TOKEN), 1000)
    machine = Machine(7 * row, "a")
    tickets = [machine.ask("a", 1000) for _ in range(4)]
    machine.dispatch()
    # Each is promised a row, and the last needs room for the copy of all that it joins.
    assert [ticket.is_running for ticket in tickets] == [True, True, True, False]
    assert machine.budget.available_bytes() == 4 * row


@pytest.mark.parametrize("priority", ["interactive", "background"])
def test_a_large_row_of_one_model_is_not_starved_by_small_ones_of_another(
    priority: Priority,
) -> None:
    """Small ones keep coming and fit; after its patience nothing new may pass it."""
    small, large = 100, 4000
    machine = Machine(0, "a", "b")
    machine.meter.room = rows_need(machine.slots["b"], [large])
    running = [machine.ask("a", small, priority)]
    waiting = machine.ask("b", large)
    ends: list[float] = []
    while not waiting.is_running:
        machine.now += 1
        running.append(machine.ask("a", small, priority))
        if machine.now % 3 == 0:  # one is over
            over = next(ticket for ticket in running if ticket.is_running)
            running.remove(over)
            machine.leave("a", over)
            ends.append(machine.now)
        machine.dispatch()
        assert machine.now < 1000 + PATIENCE_S + 4 * 3 + 3, "it starves"
    assert ends

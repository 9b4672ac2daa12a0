"""Tests of runtime.engine.loop: rows whose grammars are compiled beside others."""

import queue
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from runtime.engine import device
from runtime.engine import loop as loop_module
from runtime.engine.loader import load
from runtime.engine.loop import EngineLoop
from runtime.engine_messages import Cancel, Generate, PutAside, Report, Step, Stop
from runtime.events import Failed, Finished, SetAside
from runtime.requests import AnswerFormat, SamplingParams
from tests.models.tiny_models import make_llama

GRAMMAR = '%llguidance {"no_forcing": true}\nstart: "yes"'


class Loop:
    """A loop whose thread for grammars waits until it is let go."""

    def __init__(self, folder: Path) -> None:
        self.gate = threading.Event()
        self.last: list[Any] = []  # last events of rows, in their order
        self.inbox: queue.SimpleQueue[Any] = queue.SimpleQueue()
        loaded = load(make_llama(folder), lambda done, total: None)
        self._loop = EngineLoop(loaded, self.inbox, self._send, prefill_chunk_tokens=64)
        self._loop._grammars._thread.submit(self.gate.wait)
        self._until = 0

    def begin(self, row_id: int, grammar: str | None) -> None:
        params = SamplingParams(temperature=0, max_tokens=8)
        form = AnswerFormat(grammar=grammar)
        self.inbox.put(Generate(row_id, [5, 6, 7], params, form=form))

    def run(self, until: int) -> None:
        """Until so many rows came to an end."""
        self._until = until
        self._loop.run()

    def _send(self, report: Report) -> None:
        events = report.events if isinstance(report, Step) else []
        last = [e for e in events if isinstance(e, Finished | Failed | SetAside)]
        self.last += last
        if last and len(self.last) == self._until:
            self.inbox.put(Stop())


@pytest.fixture
def loop(tmp_path: Path) -> Iterator[Loop]:
    loop = Loop(tmp_path / "model")
    yield loop
    loop.gate.set()


def test_a_grammar_on_its_way_keeps_no_other_row(loop: Loop) -> None:
    loop.begin(0, GRAMMAR)
    loop.begin(1, None)
    loop.run(until=1)
    assert [(event.id, event.reason) for event in loop.last] == [(1, "length")]
    loop.gate.set()
    loop.run(until=2)
    assert [(event.id, event.reason) for event in loop.last[1:]] == [(0, "stop")]


def test_a_row_may_be_taken_back_while_its_grammar_is_on_its_way(loop: Loop) -> None:
    """It is put aside or gone at once, and does not come later."""
    for row_id in (0, 1):
        loop.begin(row_id, GRAMMAR)
    loop.inbox.put(PutAside(0))
    loop.inbox.put(Cancel(1))
    loop.run(until=1)
    assert loop.last == [SetAside(0, [])]
    loop.gate.set()
    loop.begin(2, GRAMMAR)
    loop.run(until=2)
    assert [event.id for event in loop.last] == [0, 2]


def test_a_grammar_that_cannot_be_followed_fails_its_row(loop: Loop) -> None:
    """Each time that it is asked for; the row that comes next is served."""
    loop.gate.set()
    for row_id in (0, 1):
        loop.begin(row_id, "start: nothing")
    loop.begin(2, GRAMMAR)
    loop.run(until=3)
    failed = [event for event in loop.last if isinstance(event, Failed)]
    assert {event.id for event in failed} == {0, 1}
    assert all("nothing" in event.message for event in failed)
    assert [event.id for event in loop.last if isinstance(event, Finished)] == [2]


def test_what_is_free_goes_back_when_it_is_quiet(
    loop: Loop, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Once after each spell of work, and not between its rows."""
    given_back_after: list[int] = []

    def give_back() -> None:
        given_back_after.append(len(loop.last))
        loop.inbox.put(Stop())

    monkeypatch.setattr(loop_module, "_QUIET_S", 0.01)
    monkeypatch.setattr(device, "give_back", give_back)
    for spell in range(2):
        loop.begin(spell, None)
        loop.run(until=99)
    assert given_back_after == [1, 2]

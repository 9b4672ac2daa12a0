"""Tests of scripts.menubar.program: when it looks, and that its main thread waits for nothing."""

import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest

from scripts.menubar.desktop import MacDesktop
from scripts.menubar.login_item import ServiceCommand
from scripts.menubar.menu import Item, Load, Menu
from scripts.menubar.program import Program
from scripts.menubar.server import Server

from .canned import IDLE, Canned

_STATUS, _LIST = "GET /v1/status", "GET /v1/models"


class Clocked:
    """A program whose clock the test turns."""

    def __init__(self, server: Server, home: Path) -> None:
        self.now = 0.0
        login_item = ServiceCommand(home, server.url)
        self.program = Program(server, MacDesktop(), login_item, clock=lambda: self.now)

    def until(self, is_so: Callable[[Menu], bool]) -> Menu:
        """Tick without a moment passing, until what is under way has come."""
        deadline = time.monotonic() + 30
        while not is_so(menu := self.program.tick()):
            assert time.monotonic() < deadline, menu
            time.sleep(0.01)
        return menu

    def until_title(self, title: str) -> Menu:
        return self.until(lambda menu: menu.title == title)

    def looks_after(self, seconds: float) -> bool:
        """Whether a look begins when so much time has passed; it is over then."""
        self.now += seconds
        self.program.tick()
        is_looking = self.program._is_looking
        self.until(lambda _: not self.program._is_looking)
        return is_looking


@pytest.fixture
def canned() -> Iterator[Canned]:
    with Canned() as server:
        yield server


@pytest.fixture
def clocked(canned: Canned, tmp_path: Path) -> Iterator[Clocked]:
    with closing(Server(canned.url, "1234")) as server:
        yield Clocked(server, tmp_path)


def test_it_looks_seldom_while_nothing_happens(canned: Canned, clocked: Clocked) -> None:
    """Every five seconds, and for the models on the disk once a minute."""
    clocked.until_title("◆")
    assert (canned.asked[_STATUS], canned.asked[_LIST]) == (1, 1)
    assert not clocked.looks_after(4.9)
    assert clocked.looks_after(0.2)
    assert canned.asked[_LIST] == 1
    assert clocked.looks_after(60)
    assert canned.asked[_LIST] == 2


def test_it_looks_often_while_something_goes_on(canned: Canned, clocked: Clocked) -> None:
    """Every second, as long as the server is at work."""
    canned.status = IDLE | {"tokens_per_second": 12.0}
    clocked.until_title("◆ 12 tok/s")
    assert clocked.looks_after(1)
    canned.status = IDLE
    assert clocked.looks_after(1)
    assert clocked.program.tick().title == "◆"
    assert not clocked.looks_after(1)


def test_a_click_looks_at_once_and_lists_anew(canned: Canned, clocked: Clocked) -> None:
    """And so does the end of what was clicked."""
    clocked.until_title("◆")
    clocked.program.do(Load("tiny"))
    assert clocked.looks_after(0)
    clocked.until(lambda _: canned.asked[_LIST] == 2)
    assert canned.asked["POST /v1/models"] == 1


def test_a_server_that_does_not_answer_keeps_nobody_waiting(
    canned: Canned, clocked: Clocked
) -> None:
    """One look and what was clicked hang; the menu is there, and shows all once they come."""
    canned.may_answer.clear()
    for _ in range(50):
        clocked.now += 1
        assert clocked.program.tick().title == "◇ …"
    clocked.program.do(Load("tiny"))
    assert canned.asked.total() == 0
    canned.may_answer.set()
    clocked.until_title("◆")
    assert canned.asked[_STATUS] <= 2  # and not one for each of fifty seconds


def test_what_nobody_expected_is_told_too(
    canned: Canned, clocked: Clocked, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A bug of ours leaves the menu in order."""

    def broken(self: Server, model_id: str) -> None:
        raise KeyError(model_id)

    monkeypatch.setattr(Server, "load", broken)
    clocked.until_title("◆")
    clocked.program.do(Load("tiny"))
    failure = Item("⚠ KeyError: 'tiny'")
    clocked.until(lambda menu: failure in menu.items)

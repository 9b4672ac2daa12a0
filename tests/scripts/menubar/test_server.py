"""Tests of scripts.menubar.server: what is said of answers that are none of ours."""

from collections.abc import Iterator
from contextlib import closing

import pytest

from scripts.menubar.server import Server
from scripts.menubar.trouble import Refused, Unreachable, WrongKey

from .canned import IDLE, Canned


@pytest.fixture
def canned() -> Iterator[Canned]:
    with Canned() as server:
        yield server


@pytest.mark.parametrize("raw", [b"<html>", b"[]", b'{"state":"ready"}', b"\xff", b""])
def test_a_foreign_program_on_the_port(canned: Canned, raw: bytes) -> None:
    """It answers 200, and is no mlx-edge."""
    canned.raw = raw
    with closing(Server(canned.url, "1234")) as server:
        with pytest.raises(Refused, match=f"{canned.url} is no mlx-edge of this version"):
            server.status()


def test_what_a_later_server_says_beside_it_is_let_be(canned: Canned) -> None:
    """The menu bar is often older than the server, or newer."""
    canned.status = IDLE | {"later": 1, "models": [{"id": "tiny", "state": "asleep", "later": 2}]}
    with closing(Server(canned.url + "/", "1234")) as server:
        status = server.status()
    assert status.models[0].state == "asleep" and status.is_busy


@pytest.mark.parametrize("url", ["http://127.0.0.1:9", "127.0.0.1:8083", "http://[", "nonsense"])
def test_nobody_there(url: str) -> None:
    """Nor anywhere: an address that is none says so too, instead of breaking the menu bar."""
    with closing(Server(url, "1234")) as server:
        with pytest.raises(Unreachable, match="No server answers at"):
            server.status()


def test_proxies_of_the_environment_do_not_get_the_key(
    canned: Canned, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ALL_PROXY", "http://127.0.0.1:9")
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    with closing(Server(canned.url, "1234")) as server:
        assert server.status().state == "ready"


def test_a_key_that_was_changed_is_sent_from_then_on(canned: Canned) -> None:
    """The menu bar runs for weeks; one that was given its key has no other."""
    kept = ["first"]
    canned.key = "first"
    with closing(Server(canned.url, "first", lambda: kept[0])) as server:
        server.status()
        canned.key = "second"
        with pytest.raises(WrongKey):
            server.status()  # which is kept nowhere yet
        kept[0] = "second"
        assert server.status().state == "ready" and server.key == "second"
    with closing(Server(canned.url, "first")) as server, pytest.raises(WrongKey):
        server.status()


def test_who_still_asks_when_the_menu_bar_quits_is_told(canned: Canned) -> None:
    """A thread may be about to ask; its program is at its end, and prints no traceback."""
    with closing(Server(canned.url, "key")) as server:
        pass
    with pytest.raises(Unreachable):
        server.status()

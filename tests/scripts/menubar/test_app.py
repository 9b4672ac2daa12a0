"""The menu bar before the real server, as its user has it: what is read, what is clicked."""

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from scripts.menubar.app import MenuBar
from scripts.menubar.desktop import MacDesktop
from scripts.menubar.program import Program
from scripts.menubar.server import Server
from scripts.menubar.trouble import NotDone
from tests.models.tiny_models import make_llama
from tests.serving import KEY, ServerProcess, link_model

_CHAT = {"model": "tiny", "messages": [{"role": "user", "content": "hello"}], "max_tokens": 2}
_STAYS = "h when nobody asks it"  # said of a model that is in memory


class Login:
    """A login item that is a switch, or that nobody can tell."""

    def __init__(self, is_on: bool | None) -> None:
        self.state = is_on
        self.fails = False

    def is_on(self) -> bool:
        if self.state is None:
            raise NotDone("there is no such command")
        return self.state

    def turn_on(self) -> None:
        if self.fails:
            raise NotDone("`mlx-edge service`: no room on the disk")
        self.state = True

    def turn_off(self) -> None:
        self.state = False


class Mac:
    """The menu bar on a Mac whose time goes faster than ours."""

    def __init__(self, rumps: Any, url: str, key: str = KEY, login: Login | None = None) -> None:
        self._rumps = rumps
        self._now = 0.0
        self.server = Server(url, key)
        program = Program(self.server, MacDesktop(), login or Login(False), clock=lambda: self._now)
        self.bar = MenuBar(rumps, program)
        self.bar._timer.start()

    @property
    def title(self) -> str:
        return str(self.bar._app.title)

    @property
    def menu(self) -> str:
        return str(self._rumps.seen(self.bar._app.menu))

    def click(self, *titles: str) -> None:
        self._rumps.click(self.bar._app.menu, *titles)

    def until(self, is_so: Callable[[], bool]) -> None:
        """Let time pass until something is so."""
        deadline = time.monotonic() + 60
        while not is_so():
            assert time.monotonic() < deadline, f"{self.title}\n{self.menu}"
            self._now += 0.5
            self._rumps.tick()
            time.sleep(0.02)


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder: Path = tmp_path_factory.mktemp("menubar")
    link_model(folder / "home", "tiny", make_llama(folder / "tiny"))
    link_model(folder / "home", "other", make_llama(folder / "other"))
    return folder / "home"


@pytest.fixture(scope="module")
def served(home: Path) -> Iterator[ServerProcess]:
    with ServerProcess(home) as server:
        yield server


@pytest.fixture
def mac(rumps: Any, served: ServerProcess) -> Iterator[Mac]:
    """Before a server that has no model in memory."""
    mac = Mac(rumps, served.url)
    for model in mac.server.status().models:
        mac.server.unload(model.id)
    mac.until(lambda: "is ready" in mac.menu)
    yield mac
    mac.server.close()


def test_before_anything_is_known_it_can_be_quit(rumps: Any) -> None:
    """The first tick asks and does not wait for the answer."""
    mac = Mac(rumps, "http://127.0.0.1:9")
    rumps.tick()
    assert mac.title == "◇ …" and "Looking for the server" in mac.menu
    mac.click("Quit Menu Bar")
    mac.bar.run()  # comes back at once, for it was quit
    mac.server.close()


def test_models_are_loaded_and_unloaded(mac: Mac, served: ServerProcess) -> None:
    """From the menu, and where others do it the menu follows."""
    mac.click("Load", "tiny")
    mac.until(lambda: _STAYS in mac.menu and mac.title == "◆")  # the click may be done later
    assert "\n  tiny" not in mac.menu
    assert len(served.engines()) == 1
    mac.click("tiny", "Unload")
    mac.until(lambda: "\n  tiny" in mac.menu)
    assert served.engines() == []
    mac.server.load("other")
    mac.until(lambda: "\nother: " in mac.menu)
    mac.server.unload("other")
    mac.until(lambda: "\nother: " not in mac.menu)


def test_work_shows_its_speed(mac: Mac, served: ServerProcess) -> None:
    """While an answer is written, and not after it."""
    body = _CHAT | {"stream": True, "max_tokens": 8000, "ignore_eos": True}
    headers = {"Authorization": f"Bearer {KEY}"}
    url = f"{served.url}/v1/chat/completions"
    with httpx.stream("POST", url, json=body, headers=headers, timeout=60) as answer:
        lines = answer.iter_lines()  # the answer is left where these are dropped
        next(lines)
        mac.until(lambda: mac.title.endswith(" tok/s") and "1 running" in mac.menu)
        assert " tok/s)" in mac.menu
    mac.until(lambda: mac.title == "◆")
    assert "running" not in mac.menu


def test_pause_and_resume(mac: Mac, served: ServerProcess) -> None:
    """New requests get a 503 from the click on, until the other click."""

    def ask() -> int:
        headers = {"Authorization": f"Bearer {KEY}"}
        url = f"{served.url}/v1/chat/completions"
        return httpx.post(url, json=_CHAT, headers=headers, timeout=60).status_code

    mac.click("Pause")
    mac.until(lambda: mac.title == "◇ paused")
    assert ask() == 503 and "\nResume" in mac.menu
    mac.click("Resume")
    mac.until(lambda: mac.title == "◆")
    assert ask() == 200


def test_what_fails_is_told_until_the_next_click(mac: Mac, served: ServerProcess) -> None:
    """In the server's words."""
    mac.click("Load", "tiny")
    mac.until(lambda: _STAYS in mac.menu)
    mac.server.unload("tiny")  # by somebody else, before the menu knows
    mac.click("tiny", "Unload")
    mac.until(lambda: "⚠ model not found in cache: tiny" in mac.menu)
    mac.click("Pause")
    mac.until(lambda: "Resume" in mac.menu)
    assert "⚠" not in mac.menu
    mac.click("Resume")
    mac.until(lambda: "\nPause" in mac.menu)


def test_the_page_the_endpoint_and_the_key(mac: Mac, desk: Path) -> None:
    """Each is handed to the program of the Mac that is there for it."""

    def written(name: str) -> str:
        file = desk / name
        return file.read_text() if file.exists() else ""

    mac.click("Open Chat Page")
    mac.until(lambda: written("opened") == f"{mac.server.url}/")
    mac.click("Copy Endpoint")
    mac.until(lambda: written("copied") == f"{mac.server.url}/v1")
    mac.click("Copy Key (the default one)")
    mac.until(lambda: written("copied") == KEY)
    (desk / "open").write_text("#!/bin/sh\nexit 1\n")
    mac.click("Open Chat Page")
    mac.until(lambda: "⚠ `open` failed" in mac.menu)


@pytest.mark.slow
def test_a_server_that_dies_and_comes_back(rumps: Any, home: Path) -> None:
    """The bar says so, with a load in flight too, and finds the next one by itself."""
    with ServerProcess(home) as first:
        mac = Mac(rumps, first.url)
        mac.until(lambda: mac.title == "◆")
        first.process.kill()
        first.process.wait()
        mac.until(lambda: mac.title == "◇ off")
        assert f"(No server answers at {first.url})" in mac.menu
        assert "mlx-edge serve" in mac.menu and "Load" not in mac.menu
    with ServerProcess(home, "--port", str(first.port)):
        mac.until(lambda: mac.title == "◆")
        assert "is ready" in mac.menu
        mac.click("Load", "tiny")
        mac.until(lambda: _STAYS in mac.menu)
    mac.until(lambda: mac.title == "◇ off")
    mac.server.close()


def test_another_key_is_asked_for(rumps: Any, served: ServerProcess) -> None:
    mac = Mac(rumps, served.url, key="wrong")
    mac.until(lambda: mac.title == "◇ key")
    assert "wants another key" in mac.menu and "MLX_EDGE_API_KEY" in mac.menu
    mac.server.close()


def test_start_at_login_is_a_switch(rumps: Any, served: ServerProcess) -> None:
    """Checked while it is on; what goes wrong is told; grey where nobody knows."""
    login = Login(False)
    mac = Mac(rumps, served.url, login=login)
    mac.until(lambda: "\nStart at Login" in mac.menu)
    login.fails = True
    mac.click("Start at Login")
    mac.until(lambda: "⚠ `mlx-edge service`: no room on the disk" in mac.menu)
    login.fails = False
    mac.click("Start at Login")
    mac.until(lambda: "✓ Start at Login" in mac.menu and "⚠" not in mac.menu)
    mac.click("Start at Login")
    mac.until(lambda: "✓" not in mac.menu)
    assert login.state is False
    mac.server.close()
    unknown = Mac(rumps, served.url, login=Login(None))
    unknown.until(lambda: "is ready" in unknown.menu)
    assert "(Start at Login)" in unknown.menu
    unknown.server.close()


def test_items_are_changed_in_place(mac: Mac) -> None:
    """rumps keeps each item that was ever made: a number or a word that changes makes none."""

    def items() -> list[Any]:
        return list(mac.bar._app.menu._shown)  # type: ignore[attr-defined]

    mac.click("Load", "tiny")
    mac.until(lambda: _STAYS in mac.menu)
    before = items()
    mac.click("Pause")
    mac.until(lambda: "\nResume" in mac.menu)
    assert "\nLoad" in mac.menu  # not grey: its menu is what it does
    mac.click("Resume")
    mac.until(lambda: "\nPause" in mac.menu)
    assert all(now is then for now, then in zip(items(), before, strict=True))
    mac.click("tiny", "Unload")
    mac.until(lambda: "\ntiny: " not in mac.menu)
    assert len(items()) == len(before) - 1

"""Tests of what doctor says of the service, by what its manager says; here it is systemd."""

import os
import shlex
from pathlib import Path

import pytest

from scripts.doctor import service
from scripts.service import platforms
from scripts.service.definition import SERVER
from tests.processes import listening


class Manager:
    """A `systemctl` that says what it is told to, and the file of an installed service."""

    def __init__(self, folder: Path) -> None:
        self._tool = folder / "systemctl"
        self._end = folder / "mlx-edge.end"
        self.file = platforms.supervisor("linux").file(SERVER)
        self.file.parent.mkdir(parents=True)
        self.file.write_text("")

    def says(self, sub_state: str, *, pid: int = 0, restarts: int = 0, end: str = "") -> None:
        lines = ("LoadState=loaded", f"SubState={sub_state}", f"MainPID={pid}")
        self._runs(f"printf '%s\\n' {' '.join(lines)} NRestarts={restarts}")
        self._end.write_text(end)

    def fails(self, words: str) -> None:
        self._runs(f"echo {shlex.quote(words)} >&2; exit 1")

    def _runs(self, script: str) -> None:
        self._tool.write_text(f"#!/bin/sh\n{script}\n")
        self._tool.chmod(0o755)


@pytest.fixture
def manager(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Manager:
    monkeypatch.setattr(platforms, "here", "linux")
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    return Manager(tmp_path)


@pytest.mark.parametrize("is_mac", [True, False])
def test_none_is_installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, is_mac: bool) -> None:
    """By its file, in the user's home: no manager is asked."""
    monkeypatch.setattr(platforms, "here", "macos" if is_mac else "linux")
    monkeypatch.setattr(Path, "home", lambda: tmp_path)
    monkeypatch.delenv("XDG_CONFIG_HOME", raising=False)
    told = service.finding(service.ask())
    assert told.level == "note" and "mlx-edge service install" in str(told.remedy)


def test_it_runs(manager: Manager) -> None:
    """At whichever port."""
    with listening("127.0.0.1") as process:
        manager.says("running", pid=process.pid)
        asked = service.ask()
        assert asked.url == f"http://127.0.0.1:{process.port}"
    told = service.finding(asked)
    assert told.level == "ok" and asked.url in told.sentence and str(manager.file) in told.sentence


def test_it_ends_again_and_again(manager: Manager) -> None:
    """Whatever else answers at the port: how it ended, and where more is said."""
    manager.says("auto-restart", restarts=7, end="exit-code exited 3")
    waiting = service.finding(service.ask())
    with listening() as process:
        manager.says("running", pid=process.pid, restarts=7, end="exit-code exited 3")
        beginning = service.finding(service.ask())
    for told in (waiting, beginning):
        assert told.level == "problem" and "ended with status 3" in told.sentence
        assert "restarts so far: 7" in told.sentence and "mlx-edge service logs" in str(told.remedy)


def test_it_was_stopped(manager: Manager) -> None:
    """On purpose: that is no problem."""
    manager.says("dead", end="success exited 0")
    told = service.finding(service.ask())
    assert told.level == "note" and "not running: it ended well" in told.sentence
    assert "mlx-edge service start" in str(told.remedy)


def test_it_begins(manager: Manager) -> None:
    with listening() as process:
        manager.says("running", pid=process.pid)
        told = service.finding(service.ask())
    assert told.level == "note" and "does not listen yet" in told.sentence


def test_its_manager_does_not_say(manager: Manager) -> None:
    """In a session that has none: a note, in its words."""
    manager.fails("Failed to connect to bus: No medium found")
    told = service.finding(service.ask())
    assert told.level == "note" and "No medium found" in told.sentence

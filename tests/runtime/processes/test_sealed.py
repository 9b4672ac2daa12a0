"""Tests of runtime.processes.sealed: no child of ours reaches anybody, whatever it tries."""

import asyncio
import json
import os
import socket
import subprocess
import sys
from collections.abc import Iterator

import pytest

from runtime.processes.sealed import NOT_SEALED, UNSEALED, command, is_sealed
from runtime.processes.spawn import kill, spawn

PIPE = asyncio.subprocess.PIPE
WAITING = "tests.runtime.processes.waiting"
REACHING = "tests.runtime.processes.reaching"


@pytest.fixture
def listener() -> Iterator[tuple[socket.socket, str]]:
    """Somebody who could be reached, and where."""
    with socket.create_server(("127.0.0.1", 0)) as opened:
        opened.setblocking(False)
        yield opened, str(opened.getsockname()[1])


async def told_by(port: str, *, downloads: bool = False) -> dict[str, str]:
    """What became of every way to somebody that a child tried."""
    process = await spawn(REACHING, port, downloads=downloads, stdout=PIPE)
    try:
        assert process.stdout is not None
        told: dict[str, str] = json.loads(await process.stdout.read())
    finally:
        await kill(process)
    return told


async def test_a_child_reaches_nobody(listener: tuple[socket.socket, str]) -> None:
    """By no protocol, not by a program that it starts, and not past the filter by io_uring."""
    told = await told_by(listener[1])
    assert {way for way, outcome in told.items() if outcome == "reached"} == set(), told
    assert {"tcp", "udp", "tcp6", "unix", "raw", "netlink", "child", "name"} <= set(told)
    with pytest.raises(BlockingIOError):  # nobody knocked
        listener[0].accept()


async def test_what_downloads_has_a_network(listener: tuple[socket.socket, str]) -> None:
    """The control: the same tries succeed where the seal is off."""
    told = await told_by(listener[1], downloads=True)
    assert (told["tcp"], told["udp"], told["child"]) == ("reached", "reached", "reached")
    listener[0].accept()[0].close()


async def test_who_cannot_seal_may_say_so(
    listener: tuple[socket.socket, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(UNSEALED, "1")
    assert (await told_by(listener[1]))["tcp"] == "reached"


async def test_whether_a_child_is_sealed_is_seen_from_outside() -> None:
    for downloads in (False, True):
        process = await spawn(WAITING, downloads=downloads, stdin=PIPE, stdout=PIPE)
        try:
            assert process.stdout is not None
            assert await process.stdout.readline() == b"here\n"
            assert is_sealed(process.pid) is not downloads
        finally:
            await kill(process)
    assert is_sealed(process.pid) is None  # it is gone


def test_a_child_that_could_reach_somebody_does_not_begin() -> None:
    """Where the system does not seal it, it says so and what to do; nothing of the module runs."""
    broken = (
        "import sys; from runtime.processes import seccomp, sandbox, sealed\n"
        "seccomp.open_no_sockets = lambda: None\n"
        f"sys.argv = ['sealed', '{REACHING}', '1']\n"
        "sealed.main()"
    )
    ended = subprocess.run([sys.executable, "-c", broken], capture_output=True, text=True)
    assert (ended.returncode, ended.stdout) == (NOT_SEALED, "")
    assert UNSEALED in ended.stderr


def test_this_process_is_not_sealed() -> None:
    assert is_sealed(os.getpid()) is False
    assert "sealed" in " ".join(command("any"))


def test_on_a_mac_the_sandbox_stands_before_the_command(monkeypatch: pytest.MonkeyPatch) -> None:
    """The tool becomes the child, so the seal is there before Python is."""
    monkeypatch.setattr(sys, "platform", "darwin")
    tool, flag, profile, *started = command("runtime.engine")
    assert (tool, flag) == ("/usr/bin/sandbox-exec", "-p")
    assert profile.startswith("(version 1)(allow default)(deny network*)")
    assert profile.count("(") == profile.count(")")
    assert started == [sys.executable, "-P", "-m", "runtime.processes.sealed", "runtime.engine"]

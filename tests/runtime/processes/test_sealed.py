"""Tests of runtime.processes.sealed: no child of ours reaches anybody, whatever it tries."""

import asyncio
import json
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from runtime.processes import sandbox
from runtime.processes.sealed import NOT_SEALED, UNSEALED, command, is_sealed
from runtime.processes.spawn import kill, spawn
from runtime.processes.trial import why_not_sealed

PIPE = asyncio.subprocess.PIPE
WAITING = "tests.runtime.processes.waiting"
REACHING = "tests.runtime.processes.reaching"


class Listener:
    """Somebody who could be reached, by TCP and by a path."""

    def __init__(self, folder: Path) -> None:
        self.path = str(folder / "socket")
        self.tcp = socket.create_server(("127.0.0.1", 0))
        self.unix = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.unix.bind(self.path)
        for opened in (self.tcp, self.unix):
            opened.setblocking(False)

    def close(self) -> None:
        self.tcp.close()
        self.unix.close()


@pytest.fixture
def listener() -> Iterator[Listener]:
    with TemporaryDirectory() as folder, closing(Listener(Path(folder))) as listener:
        yield listener  # in a folder whose name is short, as paths of sockets have to be


async def told_by(listener: Listener, *, downloads: bool = False) -> dict[str, str]:
    """What became of every way to somebody that a child tried."""
    where = str(listener.tcp.getsockname()[1]), listener.path
    process = await spawn(REACHING, *where, downloads=downloads, stdout=PIPE)
    try:
        assert process.stdout is not None
        told: dict[str, str] = json.loads(await process.stdout.read())
    finally:
        await kill(process)
    return told


async def test_a_child_reaches_nobody(listener: Listener) -> None:
    """By no protocol, by no program that it starts, and not past the filter: by a ring, by an end
    of a pair, by a socket of its parent's."""
    told = await told_by(listener)
    assert {way for way, outcome in told.items() if outcome == "reached"} == set(), told
    for knocked_at in (listener.tcp.accept, lambda: listener.unix.recv(8)):
        with pytest.raises(BlockingIOError):
            knocked_at()


async def test_what_downloads_has_a_network(listener: Listener) -> None:
    """The control: the same tries succeed where the seal is off."""
    told = await told_by(listener, downloads=True)
    ways = {"tcp", "udp", "unix", "pair", "child"}
    ways |= {"netlink"} if sys.platform == "linux" else set()
    assert {told[way] for way in ways} == {"reached"}, told
    listener.tcp.accept()[0].close()
    assert listener.unix.recv(8) == b"hello"


async def test_who_cannot_seal_may_say_so(
    listener: Listener, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert await why_not_sealed() is None
    monkeypatch.setenv(UNSEALED, "1")
    assert (await told_by(listener))["tcp"] == "reached"
    assert await why_not_sealed() is None


async def test_a_system_that_does_not_seal_is_told_before_anything_begins(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Whether its tool refuses, or is not there; a server asks that at its start."""
    refusing = tmp_path / "sandbox-exec"
    refusing.write_text("#!/bin/sh\necho 'sandbox_apply: Operation not permitted' >&2; exit 71\n")
    refusing.chmod(0o755)
    monkeypatch.setattr(sys, "platform", "darwin")
    for tool, told in ((refusing, "Operation not permitted"), (tmp_path / "none", "No such file")):
        monkeypatch.setattr(sandbox, "TOOL", tool)
        reason = await why_not_sealed()
        assert reason is not None and told in reason
    refusing.write_text("#!/bin/sh\nexec sleep 600\n")  # as in a sandbox of somebody else's
    monkeypatch.setattr(sandbox, "TOOL", refusing)
    reason = await why_not_sealed(limit_s=0.2)
    assert reason is not None and "not done so in 0.2 s" in reason


async def test_whether_a_child_is_sealed_is_seen_from_outside() -> None:
    for downloads in (False, True):
        process = await spawn(WAITING, downloads=downloads, stdin=PIPE, stdout=PIPE)
        try:
            assert process.stdout is not None
            assert await process.stdout.readline() == b"here\n"
            assert is_sealed(process.pid, os.getpid()) is (not downloads)
            assert is_sealed(process.pid, process.pid) is False  # it has no less than itself
        finally:
            await kill(process)
    assert is_sealed(process.pid, os.getpid()) is None  # it is gone


def test_a_child_that_could_reach_somebody_does_not_begin() -> None:
    """Where the system does not seal it, it says so; nothing of the module runs."""
    broken = (
        "import sys; from runtime.processes import seccomp, sandbox, sealed\n"
        "seccomp.open_no_sockets = lambda: None\n"
        f"sys.argv = ['sealed', '{REACHING}', '1', '/nowhere']\n"
        "sealed.main()"
    )
    ended = subprocess.run([sys.executable, "-c", broken], capture_output=True, text=True)
    assert (ended.returncode, ended.stdout) == (NOT_SEALED, "")
    assert "should have no network, and has one" in ended.stderr


def test_this_process_is_not_sealed() -> None:
    assert is_sealed(os.getpid(), os.getpid()) is False
    assert "sealed" in " ".join(command("any"))


def test_on_a_mac_the_sandbox_stands_before_the_command(monkeypatch: pytest.MonkeyPatch) -> None:
    """The tool becomes the child, so the seal is there before Python is."""
    monkeypatch.setattr(sys, "platform", "darwin")
    tool, flag, profile, *started = command("runtime.engine")
    assert (tool, flag) == ("/usr/bin/sandbox-exec", "-p")
    assert profile.startswith("(version 1)(allow default)(deny network*)")
    assert profile.count("(") == profile.count(")")
    assert started == [sys.executable, "-P", "-m", "runtime.processes.sealed", "runtime.engine"]

"""Tests of how a session of `mlx-edge launch` ends: by signals, by Ctrl-C, by force."""

import fcntl
import os
import pty
import signal
import subprocess
import termios
import time
from collections.abc import Iterator
from pathlib import Path
from typing import IO

import psutil
import pytest

from tests.fake_agent import FakeAgent
from tests.serving import ROOT, ServerProcess


@pytest.fixture
def agent(tmp_path: Path) -> FakeAgent:
    fake = FakeAgent(tmp_path)
    fake.install("codex")
    return fake


@pytest.fixture
def session(agent: FakeAgent, server: ServerProcess) -> Iterator[subprocess.Popen[str]]:
    """One that waits for a SIGTERM, and tells of signals; without a terminal."""
    with subprocess.Popen(
        agent.command("codex", "--server", server.url),
        cwd=ROOT, env=agent.environment(FAKE_DOES="waits", PYTHONPATH=str(ROOT)),
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True, start_new_session=True,
    ) as process:  # fmt: skip
        assert process.stdout is not None
        until(process.stdout, "ready")
        yield process
        for child in children(process):
            child.kill()
        process.kill()


def until(output: IO[str], words: str) -> None:
    line = output.readline()
    assert line.strip() == words


def children(process: subprocess.Popen[str]) -> list[psutil.Process]:
    return psutil.Process(process.pid).children() if process.poll() is None else []


def test_a_signal_is_the_agents(agent: FakeAgent, session: subprocess.Popen[str]) -> None:
    """It ends as it likes, with its own status, and then the folder goes."""
    assert len(agent.left) == 1
    session.send_signal(signal.SIGTERM)
    assert session.wait(60) == 5
    assert not agent.left


def test_an_interrupt_without_a_terminal(agent: FakeAgent, session: subprocess.Popen[str]) -> None:
    """It was sent to this process alone, so it is passed on; the agent may go on."""
    assert session.stdout is not None
    session.send_signal(signal.SIGINT)
    until(session.stdout, f"got {int(signal.SIGINT)}")
    assert session.poll() is None and len(agent.left) == 1
    session.send_signal(signal.SIGTERM)
    assert session.wait(60) == 5


def test_what_a_killed_one_leaves(
    agent: FakeAgent, server: ServerProcess, session: subprocess.Popen[str]
) -> None:
    """Its folder stays while the agent lives, and goes with the next session behind it."""
    (left,) = agent.left
    (child,) = children(session)
    session.kill()
    session.wait()
    by_hand = agent.edge_home / "launch" / "codex.printed"
    by_hand.mkdir()
    assert agent.launch("codex", "--server", server.url).returncode == 0
    assert set(agent.left) == {left, by_hand}
    child.terminate()
    child.wait(60)
    assert agent.launch("codex", "--server", server.url).returncode == 0
    assert agent.left == [by_hand]


def test_ctrl_c_belongs_to_the_agent(agent: FakeAgent, server: ServerProcess) -> None:
    """On a terminal it gets each once, and the terminal itself; nothing ends by it."""
    terminal, inner = pty.openpty()
    process = subprocess.Popen(
        agent.command("codex", "--server", server.url),
        cwd=ROOT, stdin=inner, stdout=inner, stderr=inner,
        env=agent.environment(FAKE_DOES="waits", PYTHONPATH=str(ROOT), TERM="dumb"),
        start_new_session=True,
        preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),  # where Ctrl-C comes from
    )  # fmt: skip
    os.close(inner)
    with os.fdopen(terminal, "r+b", buffering=0) as screen:
        try:
            shown = read_until(screen, b"ready")
            for count in (1, 2):
                screen.write(b"\x03")
                told = " ".join([str(int(signal.SIGINT))] * count)
                shown = read_until(screen, f"got {told}\r\n".encode())
            assert process.poll() is None and len(agent.left) == 1
            process.send_signal(signal.SIGTERM)
            assert process.wait(60) == 5 and not agent.left
        finally:
            process.kill()
            process.wait()
    assert b"Aborted" not in shown


def read_until(screen: IO[bytes], words: bytes) -> bytes:
    shown, deadline = b"", time.monotonic() + 60
    while words not in shown:
        assert time.monotonic() < deadline, shown
        shown += screen.read(4096)
    return shown


def test_what_is_ignored_stays_so(agent: FakeAgent, server: ServerProcess) -> None:
    """Under nohup the end of the terminal is not the agent's, either."""
    command = ["nohup", *agent.command("codex", "--server", server.url)]
    with subprocess.Popen(
        command, cwd=ROOT, env=agent.environment(FAKE_DOES="waits", PYTHONPATH=str(ROOT)),
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
        start_new_session=True,
    ) as process:  # fmt: skip
        assert process.stdout is not None
        until(process.stdout, "ready")
        (child,) = children(process)
        process.send_signal(signal.SIGHUP)
        child.send_signal(signal.SIGHUP)
        process.send_signal(signal.SIGINT)
        until(process.stdout, f"got {int(signal.SIGINT)}")
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == 5

"""Tests of `mlx-edge chat`: as a command in a pipe, and by hand on a terminal of its own."""

import fcntl
import os
import pty
import select
import signal
import subprocess
import sys
import termios
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.models.tiny_models import make_llama
from tests.serving import ROOT, ServerProcess, link_model

COMMAND = [sys.executable, "-m", "scripts.cli", "chat"]


def run(
    server: str, *arguments: str, question: str | None = None
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*COMMAND, "--server", server, *arguments],
        cwd=ROOT, input=question, stdin=subprocess.DEVNULL if question is None else None,
        capture_output=True, text=True, timeout=60,
    )  # fmt: skip


def test_one_question(server: ServerProcess) -> None:
    """As an argument or from a pipe: the text alone, the same for the same seed."""
    arguments = ("tiny", "hello", "--max-tokens", "8", "--seed", "3", "--system", "Be brief.")
    first, second = run(server.url, *arguments), run(server.url, *arguments)
    assert first.returncode == 0 and len(first.stdout.strip()) > 3, first.stderr
    assert first.stdout == second.stdout and first.stderr == ""
    piped = run(server.url, "pocket", "--temperature", "0", question="Who are you?\n")
    assert piped.returncode == 0 and "mlx-edge" in piped.stdout


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("nobody", "hi"), "not found"),
        (("tiny", "hi", "--api-key", "wrong"), "Unauthorized"),
        (("tiny", "word " * 20_000), "8192"),
    ],
)
def test_what_goes_wrong_is_one_line(
    server: ServerProcess, arguments: tuple[str, ...], words: str
) -> None:
    """With the server's own words, and an exit status."""
    result = run(server.url, *arguments)
    assert result.returncode == 1 and result.stdout.strip() == ""
    assert words in result.stderr and "Traceback" not in result.stderr


def test_no_server() -> None:
    """Says how to start one."""
    result = run("http://127.0.0.1:1", "tiny", "hi")
    assert result.returncode == 1 and "mlx-edge serve" in result.stderr


class Terminal:
    """The command on a pseudo-terminal."""

    def __init__(self, *arguments: str) -> None:
        self._terminal, inner = pty.openpty()
        self._process = subprocess.Popen(
            [*COMMAND, *arguments],
            cwd=ROOT, stdin=inner, stdout=inner, stderr=inner, env=os.environ | {"TERM": "dumb"},
            start_new_session=True,
            preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),  # where Ctrl-C comes from
        )  # fmt: skip
        os.close(inner)
        self.shown = ""
        self._seen = 0

    def type(self, text: str) -> None:
        os.write(self._terminal, text.encode())

    def until(self, words: str) -> None:
        """Until it shows these words, behind those of the last call."""
        deadline = time.monotonic() + 60
        while words not in self.shown[self._seen :]:
            assert time.monotonic() < deadline, self.shown
            if select.select([self._terminal], [], [], 0.1)[0]:
                self.shown += os.read(self._terminal, 65536).decode(errors="replace")
        self._seen = self.shown.index(words, self._seen) + len(words)

    def status(self) -> int:
        """The exit status, of a command that is about to end."""
        return self._process.wait(30)

    def close(self) -> None:
        self._process.kill()
        self._process.wait()
        os.close(self._terminal)


@pytest.fixture
def terminal(server: ServerProcess) -> Iterator[Terminal]:
    """A conversation with `tiny`, which answers at length."""
    terminal = Terminal("tiny", "--server", server.url, "--max-tokens", "5000", "--seed", "1")
    yield terminal
    terminal.close()


@pytest.mark.slow
def test_ctrl_c_while_a_piece_is_printed(server: ServerProcess, terminal: Terminal) -> None:
    """It ends the answer wherever the program is at that moment."""
    for _ in range(12):
        terminal.until(">>> ")
        terminal.type("hello\n")
        while server.num_rows() == 0:
            time.sleep(0.05)
        time.sleep(0.5)
        terminal.type("\x03")
        terminal.until("(stopped)")


@pytest.mark.slow
def test_ctrl_c_stops_the_answer_and_not_the_program(
    server: ServerProcess, terminal: Terminal
) -> None:
    """The engine forgets the row, and the next question is answered on the same socket."""
    terminal.until(">>> ")
    terminal.type("hello\n")
    while server.num_rows() == 0:
        time.sleep(0.05)
    terminal.type("\x03")
    terminal.until("(stopped)")
    server.wait_until_empty()
    terminal.until(">>> ")
    terminal.type("\x03")
    terminal.until("/bye ends")
    terminal.type("/?\n")
    terminal.until("/system")
    terminal.type("/bye\n")
    assert terminal.status() == 0


@pytest.mark.slow
def test_a_server_that_is_gone_and_back(tmp_path: Path) -> None:
    """One question fails; the next opens a new socket, and knows what was said before."""
    with ServerProcess(tmp_path / "home") as server:
        terminal = Terminal("--server", server.url, "--temperature", "0")
        try:
            terminal.until(">>> ")
            terminal.type("What is the capital of France?\n")
            terminal.until("Paris")
            port = server.port
            server.process.kill()
            server.process.wait()
            terminal.until(">>> ")
            terminal.type("And its population?\n")
            terminal.until("Error: ")
            with ServerProcess(tmp_path / "again", "--port", str(port)):
                terminal.type("And its population?\n")
                terminal.until("million")
                terminal.until(">>> ")
            with ServerProcess(tmp_path / "third", "--port", str(port)):
                terminal.type("What is the capital of Japan?\n")
                terminal.until("Tokyo")  # nothing was asked while it was gone
                terminal.until(">>> ")
                terminal.type("\x04")
                assert terminal.status() == 0
        finally:
            terminal.close()


@pytest.mark.slow
def test_a_killed_engine_costs_a_pause(tmp_path: Path) -> None:
    """In a pipe nothing tells of it; on a terminal the line below the answer does."""
    link_model(tmp_path / "home", "tiny", make_llama(tmp_path / "tiny"))
    with ServerProcess(tmp_path / "home") as server:

        def kill() -> None:
            (engine,) = server.engines()
            os.kill(engine.pid, signal.SIGKILL)

        arguments = ["--server", server.url, "--max-tokens", "2000", "--seed", "1"]
        undisturbed = run(server.url, "tiny", "hello", *arguments[2:]).stdout
        command = [*COMMAND, "tiny", "hello", *arguments]
        with subprocess.Popen(
            command, cwd=ROOT, stdin=subprocess.DEVNULL, text=True,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        ) as process:  # fmt: skip
            assert process.stdout is not None and process.stderr is not None
            beginning = process.stdout.read(20)
            kill()
            assert beginning + process.stdout.read() == undisturbed
            assert process.stderr.read() == ""
        assert process.returncode == 0
        terminal = Terminal("tiny", *arguments)
        try:
            terminal.until(">>> ")
            terminal.type("hello\n")
            while server.num_rows() == 0:
                time.sleep(0.05)
            kill()
            terminal.until("the engine restarted once")
            terminal.until(">>> ")
        finally:
            terminal.close()

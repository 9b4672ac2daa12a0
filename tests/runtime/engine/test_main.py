"""Tests of runtime.engine's start and end: what ends a load is told, a parent is not needed."""

import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from registry.errors import NotAModel
from runtime.engine import __main__ as engine
from runtime.engine_messages import (
    Command,
    DiskCache,
    EngineSettings,
    Generate,
    LoadError,
    Ping,
    Ready,
    Report,
    Step,
    Stop,
)
from runtime.events import Finished
from runtime.processes import frames
from runtime.requests import SamplingParams
from tests.models.tiny_models import make_llama


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (SystemExit("first install it"), "SystemExit: first install it"),
        (ImportError("no such thing"), "ImportError: no such thing"),
        (NotAModel("It is packed."), "It is packed."),
    ],
)
def test_a_load_that_ends_the_process_says_why(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: BaseException, message: str
) -> None:
    """A module of mlx-lm may exit where a package is missing; a refusal is a sentence already."""

    def fails(*arguments: object) -> None:
        raise error

    ours, theirs = socket.socketpair()
    settings = msgspec.json.encode(EngineSettings()).decode()
    arguments = ["engine", str(theirs.detach()), str(make_llama(tmp_path)), settings]
    monkeypatch.setattr(sys, "argv", arguments)
    for name in ("end_with_parent", "_receive"):  # which would end this process
        monkeypatch.setattr(engine, name, lambda *arguments: None)
    monkeypatch.setattr(engine, "_loop", fails)
    assert engine.main() == 1
    payload = frames.read_blocking(ours)
    assert payload is not None
    assert msgspec.msgpack.decode(payload, type=Report) == LoadError(message)
    ours.close()


def test_it_saves_though_nobody_hears_it_any_more(tmp_path: Path) -> None:
    """Who stops it closes at once; what it still has to say then is no reason to die."""
    disk = DiskCache(str(tmp_path), 1 << 30)
    settings = msgspec.json.encode(EngineSettings(prefix_cache_bytes=1 << 30, disk_cache=disk))
    ours, theirs = socket.socketpair()
    with theirs:
        fd = theirs.fileno()
        command = (sys.executable, "-m", "runtime.engine", str(fd))
        arguments = (str(make_llama(tmp_path / "tiny")), settings.decode())
        process = subprocess.Popen(
            [*command, *arguments], pass_fds=[fd], stderr=subprocess.PIPE, text=True
        )
    with process, ours:

        def send(command: Command) -> None:
            frames.send_blocking(ours, msgspec.msgpack.encode(command))

        reports = _reports(ours)
        assert any(isinstance(report, Ready) for report in reports)
        for number in range(2):  # what was used once is not written
            send(Generate(number, [5] * 500, SamplingParams(max_tokens=2)))
            assert any(isinstance(report, Step) and _is_end(report) for report in reports)
        process.send_signal(signal.SIGSTOP)
        for number in range(3):
            send(Ping(number))
        send(Stop())
        ours.close()
        process.send_signal(signal.SIGCONT)
        assert (process.communicate()[1], process.returncode) == ("", 0)
    assert [path for path in (tmp_path / "prefixes").iterdir() if path.name[0] != "."]


def _reports(sock: socket.socket) -> Iterator[Report]:
    decoder: msgspec.msgpack.Decoder[Report] = msgspec.msgpack.Decoder(Report)
    while (payload := frames.read_blocking(sock)) is not None:
        yield decoder.decode(payload)


def _is_end(step: Step) -> bool:
    return any(isinstance(event, Finished) for event in step.events)

"""Tests of a service that is ended while it answers, with both managers."""

import json
import socket
import subprocess
from contextlib import ExitStack, suppress
from pathlib import Path

import httpx
import pytest

from tests.models.tiny_models import make_llama
from tests.service_managers import ServiceManager
from tests.serving import ROOT, chat_request, link_model, read_all
from tests.store_client import wait_until

pytestmark = pytest.mark.slow


class Stream:
    """An answer that is read when it is asked for."""

    def __init__(self, stack: ExitStack, port: int, request: bytes) -> None:
        self._socket = stack.enter_context(socket.create_connection(("127.0.0.1", port)))
        self._socket.sendall(request)
        self._received = b""

    def so_far(self) -> bytes:
        self._socket.settimeout(0)
        with suppress(BlockingIOError):
            while piece := self._socket.recv(65536):
                self._received += piece
        return self._received

    def has_begun(self) -> bool:
        return b"data: " in self.so_far()

    def whole(self) -> bytes:
        self._socket.settimeout(120)
        self._received += read_all(self._socket)
        return self._received


def begin_streams(stack: ExitStack, port: int) -> list[Stream]:
    """Six long answers that have begun to come."""
    body = {
        "model": "tiny",
        "messages": [{"role": "user", "content": "hi"}],
        "max_tokens": 3000,
        "temperature": 0,
        "stream": True,
    }
    streams = [Stream(stack, port, chat_request(body, Host=f"127.0.0.1:{port}"))
               for _ in range(6)]  # fmt: skip
    for stream in streams:
        wait_until(stream.has_begun, 60)
    return streams


def is_draining(port: int) -> bool:
    return httpx.get(f"http://127.0.0.1:{port}/ready", trust_env=False).status_code == 503


def begin(manager: ServiceManager, command: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        manager.command("service", command), cwd=ROOT, env=manager.environment,
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip


def test_a_stop_lets_streams_finish(manager: ServiceManager, tmp_path: Path) -> None:
    """All of each comes, the server ends well, and is not started again until it is asked."""
    link_model(manager.home, "tiny", make_llama(tmp_path / "tiny"))
    manager.install("--drain-timeout", "120s")
    port = manager.port()
    with ExitStack() as stack:
        streams = begin_streams(stack, port)
        stopping = begin(manager, "stop")
        wait_until(lambda: is_draining(port), 60)
        assert not [stream for stream in streams if b"[DONE]" in stream.so_far()]
        assert all(b"data: [DONE]" in stream.whole() for stream in streams)
    assert stopping.wait(60) == 0
    stopped = manager.run("service", "status", "--json")
    told = json.loads(stopped.stdout)
    assert stopped.returncode == 3 and told["installed"] and not told["running"]
    assert told["last_end"] in ("ended well", None)  # launchd forgets what it does not run
    assert not manager.processes()
    assert manager.run("service", "stop").returncode == 0  # once more is no fault
    assert manager.run("service", "start").returncode == 0 and manager.status()["ready"]


def test_streams_that_take_longer_end_with_an_error(
    manager: ServiceManager, tmp_path: Path
) -> None:
    """None is cut off without a word, and the server ends well and in its time."""
    link_model(manager.home, "tiny", make_llama(tmp_path / "tiny"))
    manager.install("--drain-timeout", "0")
    with ExitStack() as stack:
        streams = begin_streams(stack, manager.port())
        stopping = begin(manager, "stop")
        for stream in streams:
            whole = stream.whole()
            assert b"data: [DONE]" in whole or b"event: error" in whole
    assert stopping.wait(60) == 0
    assert manager.status()["last_end"] in ("ended well", None) and not manager.processes()


def test_a_start_waits_for_the_end_before_it(manager: ServiceManager, tmp_path: Path) -> None:
    """The one that ends still listens, and is not taken for the one that was started."""
    link_model(manager.home, "tiny", make_llama(tmp_path / "tiny"))
    manager.install("--drain-timeout", "120s")
    first, port = manager.status()["pid"], manager.port()
    with ExitStack() as stack:
        streams = begin_streams(stack, port)
        stopping = begin(manager, "stop")
        wait_until(lambda: is_draining(port), 60)
        starting = begin(manager, "start")
        assert all(b"data: [DONE]" in stream.whole() for stream in streams)
    assert starting.wait(60) == 0
    stopping.wait(60)
    second = manager.status()
    assert second["ready"] and second["pid"] != first

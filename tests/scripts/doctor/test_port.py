"""Tests of what doctor says of the server's port."""

import json
import os
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer

import psutil
import pytest

from scripts.doctor import port
from scripts.doctor.finding import Finding
from tests.serving import KEY, ServerProcess
from web.dialect import OPENAI
from web.errors import Failure


def of(server: str, key: str = KEY) -> dict[str, Finding]:
    return {one.checked: one for one in port.findings(port.ask(server, key), server, key)}


@contextmanager
def answering(status: int, body: bytes) -> Iterator[str]:
    """Somebody else's server, which says the same to everybody."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(status)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *arguments: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


def test_our_own_server(server: ServerProcess) -> None:
    """It answers; the key of the documentation is worth a note, another is worth a warning."""
    told = of(server.url)
    assert told["port"].level == "ok" and told["key"].level == "note"
    other = of(server.url, "another")
    assert other["port"].level == "warning" and "key" not in other
    assert "--api-key" in str(other["port"].remedy)


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (404, b"Not Found"),
        (200, b'{"object":"list","data":[{"id":"llama3"}]}'),
        (200, b"<html>"),
        (500, b'{"error":{"message":"odd"}}'),
    ],
)
def test_another_program_at_the_port(status: int, body: bytes) -> None:
    """Also one that speaks the same API: who it is, and which port to take instead."""
    with answering(status, body) as url:
        told = of(url)["port"]
    assert told.level == "problem" and f"pid {os.getpid()}" in told.sentence
    assert psutil.Process().name() in told.sentence
    assert f"--port {int(url.rsplit(':', 1)[1]) + 1}" in str(told.remedy)


@pytest.mark.parametrize(
    "failure",
    [Failure(500, "The server failed."), Failure(503, "It is going down.", "unavailable")],
)
def test_our_own_server_in_trouble(failure: Failure) -> None:
    """Nobody is told to end it: its answers may be on their way."""
    with answering(failure.status, json.dumps(failure.body(OPENAI)).encode()) as url:
        told = of(url)["port"]
    assert told.level == "problem" and failure.message in told.sentence
    assert "kill" not in str(told.remedy) and "mlx-edge service logs" in str(told.remedy)


def test_a_server_that_does_not_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    """It may well be ours: who it is, and how to start it again."""
    monkeypatch.setattr(port, "limit_s", 0.1)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        told = of(f"http://127.0.0.1:{listener.getsockname()[1]}")["port"]
    assert told.level == "problem" and "does not answer" in told.sentence
    assert f"pid {os.getpid()}" in told.sentence and "not mlx-edge" not in told.sentence
    assert "kill" not in str(told.remedy) and "service restart" in str(told.remedy)


def test_a_port_of_something_that_speaks_no_http() -> None:
    """It ends every connection at once."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        number = listener.getsockname()[1]

        def refuse() -> None:
            listener.accept()[0].close()

        thread = threading.Thread(target=refuse)
        thread.start()
        told = of(f"http://127.0.0.1:{number}")["port"]
        thread.join()
    assert told.level == "problem" and f"pid {os.getpid()}" in told.sentence


@pytest.mark.parametrize(
    "server",
    ["http://127.0.0.1:9", "http://127.0.0.1:99999", "http://127.0.0.1:x", "http://[::1", "x"],
)
def test_nobody_at_the_port(server: str) -> None:
    """Nor at what is no address."""
    told = of(server)
    assert told["port"].level == "note" and "mlx-edge serve" in str(told["port"].remedy)
    assert set(told) == {"port"}

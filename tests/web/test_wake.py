"""Tests of a server that was away, as behind a closed lid: SIGSTOP, and SIGCONT much later.

It is away for longer than its models may be idle, its clients silent and their headers under way.
"""

import json
import os
import signal
import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import httpx
import pytest
from websockets.sync.client import ClientConnection, connect

from tests.models.tiny_models import make_llama
from tests.serving import KEY, ServerProcess, link_model, read_all

pytestmark = pytest.mark.slow

KEEP_ALIVE_S = 20
AWAY_S = 25.0
AWAKE = "awake again after"
HEADERS = {"Authorization": f"Bearer {KEY}"}
_HEALTH = b"GET /health HTTP/1.1\r\nHost: 127.0.0.1:PORT\r\n\r\n"
ASKED: dict[str, Any] = {
    "model": "pocket",
    "messages": [{"role": "user", "content": "Who are you?"}],
    "max_tokens": 400,
    "temperature": 1,
    "seed": 7,
}


@dataclass
class Sleeper:
    """A server that was away, and those who were connected to it before and are still."""

    server: ServerProcess
    live: ClientConnection  # a socket whose client answers pings
    dead: socket.socket  # one whose client is gone without a word
    slow: socket.socket  # has sent a half of its header
    engines: list[int]  # pids, one of a model that is idle
    streamed: list[str]  # a stream that began before


@pytest.fixture(scope="module")
def sleeper(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sleeper]:
    home = tmp_path_factory.mktemp("wake") / "home"
    link_model(home, "idle", make_llama(tmp_path_factory.mktemp("models")))
    keep_alive = f"--keep-alive={KEEP_ALIVE_S}s"
    with ServerProcess(home, "--no-starter", keep_alive) as server, ExitStack() as clients:
        url = server.url.replace("http", "ws") + "/v1/chat/completions"
        live = clients.enter_context(connect(url, additional_headers=HEADERS, proxy=None))
        client = clients.enter_context(httpx.Client(headers=HEADERS, timeout=60, trust_env=False))
        dead = clients.enter_context(_dead_socket(server))
        slow = clients.enter_context(socket.create_connection(("127.0.0.1", server.port)))
        client.post(f"{server.url}/v1/models", json={"model": "idle"}).raise_for_status()
        body = ASKED | {"stream": True}
        with client.stream("POST", f"{server.url}/v1/chat/completions", json=body) as response:
            lines = response.iter_lines()
            first = next(lines)
            engines = [engine.pid for engine in server.engines()]
            sleeper = Sleeper(server, live, dead, slow, engines, [first])
            slow.sendall(_HEALTH[:9])
            _send_away(server)
            sleeper.streamed += lines
        yield sleeper


def _dead_socket(server: ServerProcess) -> socket.socket:
    """A WebSocket whose client never says anything again, and does not close it."""
    opened = socket.create_connection(("127.0.0.1", server.port))
    lines = (
        "GET /v1/chat/completions HTTP/1.1",
        f"Host: 127.0.0.1:{server.port}",
        "Connection: Upgrade",
        "Upgrade: websocket",
        "Sec-WebSocket-Version: 13",
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
        f"Authorization: Bearer {KEY}",
    )
    opened.sendall("\r\n".join((*lines, "", "")).encode())
    assert b" 101 " in opened.recv(4096)
    return opened


def _send_away(server: ServerProcess) -> None:
    """Stop the server for a while, and wait until it has noticed."""
    os.kill(server.process.pid, signal.SIGSTOP)
    time.sleep(AWAY_S)
    os.kill(server.process.pid, signal.SIGCONT)
    while AWAKE not in server.log:
        assert server.process.poll() is None
        time.sleep(0.05)


def test_a_stream_goes_on(sleeper: Sleeper) -> None:
    """What its engine drew meanwhile comes now; it is the same as without a sleep."""
    assert sleeper.streamed[-2:] == ["data: [DONE]", ""]
    again = httpx.post(
        f"{sleeper.server.url}/v1/chat/completions",
        json=ASKED | {"stream": True},
        headers=HEADERS,
        timeout=60,
        trust_env=False,
    ).text.splitlines()
    assert _text(again) == _text(sleeper.streamed) != ""


def _text(lines: list[str]) -> str:
    chunks = [json.loads(line[6:]) for line in lines if line.startswith("data: {")]
    return "".join(c["choices"][0]["delta"].get("content") or "" for c in chunks if c["choices"])


def test_nothing_that_was_idle_has_expired(sleeper: Sleeper) -> None:
    """A model that nobody could ask was not idle; its engine is the one of before."""
    assert [engine.pid for engine in sleeper.server.engines()] == sleeper.engines


def test_a_half_sent_request_is_not_late(sleeper: Sleeper) -> None:
    sleeper.slow.settimeout(60)
    sleeper.slow.sendall(_HEALTH[9:].replace(b"PORT", str(sleeper.server.port).encode()))
    assert b" 200 " in sleeper.slow.recv(4096)


def test_a_socket_whose_client_is_there_stays(sleeper: Sleeper) -> None:
    sleeper.live.send('{"type":"nonsense"}')
    assert '"error"' in str(sleeper.live.recv(timeout=30))


def test_a_socket_whose_client_is_gone_is_closed(sleeper: Sleeper) -> None:
    """At its end the server closes the connection: reading comes to an end."""
    sleeper.dead.settimeout(60)
    read_all(sleeper.dead)

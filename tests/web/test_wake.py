"""Tests of a server that was away, as behind a closed lid: SIGSTOP, and SIGCONT much later.

It is away for longer than a model may be idle, a client silent and a header under way.
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
from websockets.sync.client import connect

from tests.models.tiny_models import make_llama
from tests.serving import KEY, ServerProcess, link_model

pytestmark = pytest.mark.slow

KEEP_ALIVE_S = 60
AWAY_S = 65.0
PROOF_S = 30.0  # a client that is gone keeps its socket for 10 s; by its silence alone, for 40
AWAKE = "awake again after"
HEADERS = {"Authorization": f"Bearer {KEY}"}
HEALTH = b"GET /health HTTP/1.1\r\nHost: 127.0.0.1:PORT\r\n\r\n"
ASKED: dict[str, Any] = {
    "model": "pocket",
    "messages": [{"role": "user", "content": "Who are you?"}],
    "max_tokens": 400,
    "temperature": 1,
    "seed": 7,
    "stream": True,
}


@dataclass
class Woken:
    """What became of all that was connected to a server or idle in it while it was away."""

    server: ServerProcess
    engines_before: list[int]  # pids
    engines: list[int]
    streamed: list[str]  # lines of a stream that began before
    header: bytes  # what a header got of which a half had been sent
    live: str  # what a socket got whose client answers pings
    dead_after_s: float  # when a socket was closed whose client was gone


@pytest.fixture(scope="module")
def woken(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Woken]:
    home = tmp_path_factory.mktemp("wake") / "home"
    link_model(home, "idle", make_llama(tmp_path_factory.mktemp("models")))
    keep_alive = f"--keep-alive={KEEP_ALIVE_S}s"
    with ServerProcess(home, "--no-starter", keep_alive) as server, ExitStack() as clients:
        url = f"{server.url}/v1/chat/completions"
        client = clients.enter_context(httpx.Client(headers=HEADERS, timeout=60, trust_env=False))
        client.post(url, json=ASKED | {"max_tokens": 1}).raise_for_status()  # loads it
        client.post(f"{server.url}/v1/models", json={"model": "idle"}).raise_for_status()
        socket_url = url.replace("http", "ws")
        live = clients.enter_context(
            connect(socket_url, additional_headers=HEADERS, proxy=None, ping_interval=None)
        )  # it does not ask by itself, for it is awake meanwhile and would give the server up
        dead = clients.enter_context(_dead_socket(server))
        with client.stream("POST", url, json=ASKED) as response:
            lines = response.iter_lines()
            streamed = [next(lines)]
            before = [engine.pid for engine in server.engines()]
            slow = clients.enter_context(socket.create_connection(("127.0.0.1", server.port)))
            slow.settimeout(60)
            slow.sendall(HEALTH[:9])
            _send_away(server)
            woken_at = time.monotonic()
            after = [engine.pid for engine in server.engines()]
            slow.sendall(HEALTH[9:].replace(b"PORT", str(server.port).encode()))
            header = slow.recv(4096)
            live.send('{"type":"nonsense"}')
            answer = str(live.recv(timeout=60))
            streamed += lines
        dead.settimeout(60)
        while dead.recv(4096):  # pings, until the server closes it
            pass
        dead_after_s = time.monotonic() - woken_at
        yield Woken(server, before, after, streamed, header, answer, dead_after_s)


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


def test_a_stream_goes_on(woken: Woken) -> None:
    """What its engine drew meanwhile comes now; it is the same as without a sleep."""
    assert woken.streamed[-2:] == ["data: [DONE]", ""]
    again = httpx.post(
        f"{woken.server.url}/v1/chat/completions",
        json=ASKED,
        headers=HEADERS,
        timeout=60,
        trust_env=False,
    ).text.splitlines()
    assert _text(again) == _text(woken.streamed) != ""


def _text(lines: list[str]) -> str:
    chunks = [json.loads(line[6:]) for line in lines if line.startswith("data: {")]
    return "".join(c["choices"][0]["delta"].get("content") or "" for c in chunks if c["choices"])


def test_nothing_that_was_idle_has_expired(woken: Woken) -> None:
    """A model that nobody could ask was not idle; its engine is the one of before."""
    assert woken.engines == woken.engines_before and len(woken.engines) == 2


def test_a_half_sent_header_is_not_late(woken: Woken) -> None:
    assert b" 200 " in woken.header


def test_a_socket_whose_client_is_there_stays(woken: Woken) -> None:
    assert '"error"' in woken.live


def test_a_socket_whose_client_is_gone_is_closed_soon(woken: Woken) -> None:
    """Sooner than by its silence, which began anew with the wake."""
    assert woken.dead_after_s < PROOF_S

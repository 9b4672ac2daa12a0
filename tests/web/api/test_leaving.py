"""Tests of clients that leave an answer at any stage of its life: nothing of it stays."""

import os
import signal
import socket
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.models.tiny_models import make_llama
from tests.serving import KEY, ServerProcess, chat_request, link_model
from tests.store_client import wait_until

COUNTS = ("num_running", "num_waiting", "num_set_aside")


@pytest.fixture(scope="module")
def narrow(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    """A server that computes one row at a time."""
    home: Path = tmp_path_factory.mktemp("narrow") / "home"
    link_model(home, "tiny", make_llama(home.parent / "tiny"))
    with ServerProcess(home, "--max-rows", "1") as process:
        yield process


def begin(server: ServerProcess, **options: Any) -> socket.socket:
    """Ask for a long answer."""
    messages = [{"role": "user", "content": "hello"}]
    body = {"model": "tiny", "messages": messages, "max_tokens": 8000, "temperature": 0} | options
    sock = socket.create_connection(("127.0.0.1", server.port), timeout=30)
    sock.sendall(chat_request(body, Host=f"127.0.0.1:{server.port}"))
    return sock


def wait_for(server: ServerProcess, *counts: int) -> None:
    """Until so many rows of `tiny` run, wait, and are set aside."""
    wait_until(lambda: tuple(server.get("/v1/models/tiny").get(key) for key in COUNTS) == counts)


def unload(server: ServerProcess) -> None:
    url, key = f"{server.url}/v1/models/tiny", {"Authorization": f"Bearer {KEY}"}
    httpx.delete(url, headers=key, timeout=60)
    wait_until(lambda: not server.engines())


def load(server: ServerProcess) -> None:
    url, key = f"{server.url}/v1/models", {"Authorization": f"Bearer {KEY}"}
    httpx.post(url, json={"model": "tiny"}, headers=key, timeout=60).raise_for_status()


def at_once(server: ServerProcess, stream: bool) -> None:
    """Before it is told anything."""
    load(server)
    begin(server, stream=stream).close()


def while_it_loads(server: ServerProcess, stream: bool) -> None:
    unload(server)
    with begin(server, stream=stream):
        wait_until(server.engines)


def while_it_waits(server: ServerProcess, stream: bool) -> None:
    load(server)
    with begin(server):
        wait_for(server, 1, 0, 0)
        with begin(server, stream=stream):
            wait_for(server, 1, 1, 0)
        wait_for(server, 1, 0, 0)


def while_it_is_set_aside(server: ServerProcess, stream: bool) -> None:
    load(server)
    with closing(begin(server, stream=stream, priority="background")) as left:
        wait_for(server, 1, 0, 0)
        with begin(server):
            wait_for(server, 1, 1, 1)
            left.close()
            wait_for(server, 1, 0, 0)


def while_a_new_engine_loads(server: ServerProcess, stream: bool) -> None:
    load(server)
    with begin(server, stream=stream):
        wait_until(server.num_rows)
        (dead,) = server.engines()
        os.kill(dead.pid, signal.SIGKILL)
        wait_until(lambda: any(engine.pid != dead.pid for engine in server.engines()))


def while_another_waits_for_its_trial(server: ServerProcess, stream: bool) -> None:
    """It was in the engine that died, so the other would wait until it has come further."""
    load(server)
    with closing(begin(server, stream=stream)) as left:
        wait_for(server, 1, 0, 0)
        with begin(server):
            wait_for(server, 1, 1, 0)
            (dead,) = server.engines()
            os.kill(dead.pid, signal.SIGKILL)
            wait_until(lambda: any(engine.pid != dead.pid for engine in server.engines()))
            left.close()
            wait_for(server, 1, 0, 0)


@pytest.mark.parametrize("stream", [True, False], ids=["stream", "whole"])
@pytest.mark.parametrize(
    "leave",
    [
        at_once,
        while_it_loads,
        while_it_waits,
        while_it_is_set_aside,
        while_a_new_engine_loads,
        while_another_waits_for_its_trial,
    ],
)
def test_who_leaves_is_not_counted_any_more(
    narrow: ServerProcess, leave: Callable[[ServerProcess, bool], None], stream: bool
) -> None:
    """No row, no place in the queue; and the next request is answered."""
    leave(narrow, stream)
    load(narrow)  # what is not in memory is not listed
    narrow.wait_until_empty()
    with begin(narrow, max_tokens=2) as sock:
        assert sock.recv(100).startswith(b"HTTP/1.1 200")
    assert len(narrow.engines()) == 1

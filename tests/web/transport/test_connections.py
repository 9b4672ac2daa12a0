"""Tests of transport.connections and refusal: more clients than places, and the server's end."""

import asyncio
import json
from contextlib import AsyncExitStack

import pytest

from tests.web.transport.served import served
from tests.web.transport.test_connection import Answers, answer, connected, request, whole
from web.transport.connections import Limits

UPGRADE = b"Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
KEY = b"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n"


@pytest.mark.parametrize("held", [b"", b"GET /un", request("/wait"), request()])
async def test_the_next_one_is_told_503(held: bytes) -> None:
    """While all places are taken: by silent clients, by slow, busy or idle ones."""
    async with served(Answers(), Limits(max_connections=3)) as port, AsyncExitStack() as stack:
        for _ in range(3):
            reader, writer = await stack.enter_async_context(connected(port))
            writer.write(held)
            if held == request():
                await answer(reader)
        for path, code in (("/v1/models", "too_many_connections"), ("/mimik-ai/openai/v1/x", 503)):
            head, _, body = (await whole(port, request(path))).partition(b"\r\n\r\n")
            assert head.startswith(b"HTTP/1.1 503 Service Unavailable\r\n")
            assert b"\r\nRetry-After: 1\r\n" in head and b"\r\nConnection: close" in head
            assert b"\r\nContent-Length: %d\r\n" % len(body) in head
            error = json.loads(body)["error"]
            assert "All 3 connections" in error["message"] and error["code"] == code
        writer.close()
        await writer.wait_closed()
        while b"done" not in await whole(port, request(headers=b"Connection: close\r\n")):
            await asyncio.sleep(0.05)  # until the server has noticed


@pytest.mark.parametrize(
    "sent",
    [
        request(headers=UPGRADE + KEY),
        b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 4000000\r\n\r\n" + bytes(4_000_000),
        b"GET / HTTP/1.1\r\nX-Long: " + b"x" * 100_000,
        b"",
    ],
)
async def test_whatever_it_asks_for(sent: bytes) -> None:
    """A socket; an upload that is not read; a head without an end; nothing."""
    async with served(Answers(), Limits(max_connections=1)) as port, connected(port):
        refused = await whole(port, sent)
    assert refused.startswith(b"HTTP/1.1 503") and b"All 1 connections" in refused


async def test_head_has_no_body() -> None:
    async with served(Answers(), Limits(max_connections=1)) as port, connected(port):
        refused = await whole(port, b"HEAD / HTTP/1.1\r\nHost: x\r\n\r\n")
    assert refused.startswith(b"HTTP/1.1 503") and refused.endswith(b"\r\n\r\n")


async def test_a_crowd_is_told_too() -> None:
    """Many at once that say nothing: some wait for a word of theirs, the others do not."""
    async with served(Answers(), Limits(max_connections=1)) as port, connected(port):
        answers = await asyncio.gather(*(whole(port, b"") for _ in range(100)))
        assert all(one.startswith(b"HTTP/1.1 503") for one in answers)


async def test_who_is_idle_for_long_makes_room() -> None:
    """As soon as somebody wants its place; a busy client keeps its own."""
    app = Answers()
    limits = Limits(max_connections=2, header_timeout_s=0.5)
    async with served(app, limits) as port, connected(port) as (idle, idle_writer):
        idle_writer.write(request())
        await answer(idle)
        async with connected(port) as (busy, busy_writer):
            app.asked.clear()
            busy_writer.write(request("/wait"))
            await app.asked.wait()
            await asyncio.sleep(0.6)
            assert b"done" in await whole(port, request(headers=b"Connection: close\r\n"))
            assert await idle.read() == b""
            app.go_on.set()
            await answer(busy)


async def test_the_server_ends_without_waiting_for_idle_clients() -> None:
    """They are told at once; a request that comes just before is answered."""
    ended = asyncio.Event()
    async with served(Answers(), Limits(), ended) as port, connected(port) as (idle, idle_writer):
        idle_writer.write(request())
        await answer(idle)
        async with connected(port) as (racing, racing_writer):
            racing_writer.write(request())
            await answer(racing)
            racing_writer.write(request())
            ended.set()
            await answer(racing)
            assert await racing.read() == b""
        assert await idle.read() == b""

"""Tests of transport.connection: Hypercorn in here, a small application, raw bytes."""

import asyncio
import contextlib
import json
import socket
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from tests.web.transport.served import served
from web.transport.connections import Limits

Ends = tuple[asyncio.StreamReader, asyncio.StreamWriter]
CLOSE = b"Connection: close\r\n"


class Answers:
    """An application that answers by the path, and remembers what it was told."""

    def __init__(self) -> None:
        self.asked = asyncio.Event()
        self.gone = asyncio.Event()
        self.go_on = asyncio.Event()

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "lifespan":
            return
        self.asked.set()
        if scope["path"] == "/wait":
            watching = asyncio.create_task(self._watch(receive))
            waiting = asyncio.create_task(self.go_on.wait())
            await asyncio.wait({watching, waiting}, return_when=asyncio.FIRST_COMPLETED)
            watching.cancel()
            waiting.cancel()
            if self.gone.is_set():
                return
        if scope["path"] == "/echo":
            while (await receive()).get("more_body"):
                pass
        status = 413 if scope["path"] == "/too-large" else 200
        size = None if scope["path"] == "/stream" else b"4"
        headers = [(b"content-length", size)] if size else []
        await send({"type": "http.response.start", "status": status, "headers": headers})
        if scope["path"] == "/stream":
            await self.go_on.wait()
            for _ in range(100):
                piece = {"type": "http.response.body", "body": b"piece", "more_body": True}
                await send(piece)
        await send({"type": "http.response.body", "body": b"done" if size else b""})

    async def _watch(self, receive: Any) -> None:
        while (await receive())["type"] != "http.disconnect":
            pass
        self.gone.set()


@asynccontextmanager
async def connected(port: int) -> AsyncIterator[Ends]:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        async with asyncio.timeout(30):
            yield reader, writer
    finally:
        writer.transport.abort()
        with contextlib.suppress(OSError):
            await writer.wait_closed()


def request(path: str = "/", headers: bytes = b"", version: str = "1.1") -> bytes:
    return f"GET {path} HTTP/{version}\r\nHost: x\r\n".encode() + headers + b"\r\n"


async def answer(reader: asyncio.StreamReader) -> bytes:
    """One answer of `Answers` on a connection that goes on."""
    head = await reader.readuntil(b"\r\n\r\n")
    assert await reader.readexactly(4) == b"done"
    return head


async def whole(port: int, sent: bytes) -> bytes:
    """What comes back for it, to the end of the connection."""
    async with connected(port) as (reader, writer):
        writer.write(sent)
        return await reader.read()


async def test_a_place_is_free_when_its_client_has_closed() -> None:
    """Many more connections than there are places, none of which the server was asked to close."""
    async with served(Answers(), Limits(max_connections=4)) as port:
        for _ in range(100):
            async with connected(port) as (reader, writer):
                writer.write(request())
                assert (await answer(reader)).startswith(b"HTTP/1.1 200")


@pytest.mark.parametrize("sent", [b"", b"GET /he", request(), b"\x16\x03\x01\x02\x00\x01" * 50])
@pytest.mark.parametrize("is_reset", [False, True])
async def test_a_place_is_free_however_a_client_leaves(sent: bytes, is_reset: bool) -> None:
    """Without a word, in the midst of one, without reading its answer; closed or reset."""
    async with served(Answers(), Limits(max_connections=4)) as port:
        for _ in range(20):
            async with connected(port) as (_, writer):
                writer.write(sent)
                if is_reset:
                    linger = struct.pack("ii", 1, 0)
                    sock = writer.get_extra_info("socket")
                    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
            await asyncio.sleep(0.05)
        assert b"done" in await whole(port, request(headers=CLOSE))


async def test_an_idle_client_outlives_the_limit_of_slow_headers() -> None:
    """It is told how long, and asks again."""
    async with served(Answers(), Limits(header_timeout_s=0.2)) as port:
        async with connected(port) as (reader, writer):
            for _ in range(2):
                writer.write(request())
                head = (await answer(reader)).lower()
                assert b"\r\nkeep-alive: timeout=75\r\n" in head
                assert b"\r\nconnection: keep-alive\r\n" in head
                await asyncio.sleep(0.6)


async def test_an_idle_client_is_let_go_in_the_end() -> None:
    async with served(Answers(), Limits(keep_alive_s=0.2)) as port:
        async with connected(port) as (reader, writer):
            writer.write(request())
            await answer(reader)
            assert await reader.read() == b""


async def test_a_client_that_never_says_a_word_is_let_go() -> None:
    async with served(Answers(), Limits(header_timeout_s=0.2)) as port:
        assert await whole(port, b"") == b""


@pytest.mark.parametrize("before", [b"", request()])
async def test_slow_headers_are_bounded(before: bytes) -> None:
    """From their first byte on: those that drip in are no better."""
    async with served(Answers(), Limits(header_timeout_s=0.4)) as port:
        async with connected(port) as (reader, writer):
            if before:
                writer.write(before)
                await answer(reader)
            reading = asyncio.create_task(reader.read())
            for letter in "GET / HTTP/1.1\r\nX-Slow: " + "x" * 10_000:
                if reading.done():
                    break
                writer.write(letter.encode())
                await asyncio.sleep(0.02)
            assert (await reading).startswith(b"HTTP/1.1 408")


async def test_a_head_that_never_pauses_is_bounded_too() -> None:
    """There is always a byte of it that was not read yet when the time is over."""
    async with served(Answers(), Limits(header_timeout_s=0.1)) as port:
        async with connected(port) as (reader, writer):
            writer.write(b"GET / HTTP/1.1\r\nX-Slow: ")
            reading = asyncio.create_task(reader.read())
            while not reading.done():
                writer.write(b"x")
                await asyncio.sleep(0)
            assert (await reading).startswith(b"HTTP/1.1 408")


@pytest.mark.parametrize(
    "sent",
    [
        request(headers=CLOSE),
        request(version="1.0"),
        b"no HTTP at all\r\n\r\n",
        b"POST /too-large HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\nabc",
    ],
)
async def test_who_is_not_kept_is_told_so(sent: bytes) -> None:
    """HTTP/1.0, what is no request, and who sends on when the answer is there."""
    async with served(Answers(), Limits()) as port:
        head = (await whole(port, sent)).lower()
    assert b"\r\nconnection: close\r\n" in head and b"keep-alive" not in head


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        (b"no HTTP at all\r\n\r\n", 400),
        (b"\x16\x03\x01\x02\x00\x01\r\n\r\n", 400),
        (request(headers=b"X-Long: " + b"x" * 100_000 + b"\r\n"), 431),
        (b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: br\r\n\r\n", 501),
        (b"POST /wait HTTP/1.1\r\nHost: x\r\nContent-Length: ten\r\n\r\n", 400),
    ],
)
async def test_what_is_no_request_is_told_in_a_sentence(sent: bytes, status: int) -> None:
    async with served(Answers(), Limits()) as port:
        head, _, body = (await whole(port, sent)).partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 %d" % status)
    assert json.loads(body)["error"]["message"].endswith(".")


async def test_two_requests_in_one_write() -> None:
    """Are answered in their order (RFC 9112, 9.3.2); and again after a half-close."""
    async with served(Answers(), Limits()) as port, connected(port) as (reader, writer):
        writer.write(request() + request())
        await answer(reader)
        await answer(reader)
        writer.write(request() + request(headers=CLOSE))
        writer.write_eof()
        assert (await reader.read()).count(b"done") == 2


async def test_a_body_that_waits_for_leave() -> None:
    """Expect: 100-continue (RFC 9110, 10.1.1)."""
    async with served(Answers(), Limits()) as port, connected(port) as (reader, writer):
        writer.write(
            b"POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\nExpect: 100-continue\r\n\r\n"
        )
        assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 100")
        writer.write(b"abc")
        assert (await answer(reader)).startswith(b"HTTP/1.1 200")


@pytest.mark.parametrize("pause_s", [0, 0.8])
async def test_a_half_closed_client_gets_its_answer(pause_s: float) -> None:
    """Whole, also where a part of its first line went ahead to see if anybody is there."""
    app = Answers()
    async with served(app, Limits()) as port, connected(port) as (reader, writer):
        writer.write(request("/wait"))
        writer.write_eof()
        await app.asked.wait()
        await asyncio.sleep(pause_s)
        app.go_on.set()
        head, _, body = (await reader.read()).partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200 \r\n") and body == b"done"
    assert b"\r\nconnection: close" in head.lower()
    assert not app.gone.is_set()


async def test_a_half_closed_client_gets_its_stream() -> None:
    """To its end, though nothing came for a while."""
    app = Answers()
    async with served(app, Limits()) as port, connected(port) as (reader, writer):
        writer.write(request("/stream"))
        writer.write_eof()
        await app.asked.wait()
        await asyncio.sleep(0.6)
        app.go_on.set()
        received = await reader.read()
    assert received.count(b"piece") == 100 and received.endswith(b"0\r\n\r\n")


@pytest.mark.parametrize("is_reset", [False, True])
@pytest.mark.parametrize("is_half_closed", [False, True])
async def test_a_client_that_leaves_is_noticed_before_its_answer(
    is_half_closed: bool, is_reset: bool
) -> None:
    """Also one that waited half-closed for a while before."""
    app = Answers()
    async with served(app, Limits()) as port:
        async with connected(port) as (_, writer):
            writer.write(request("/wait"))
            await app.asked.wait()
            if is_half_closed:
                writer.write_eof()
                await asyncio.sleep(0.6)
            if is_reset:
                linger = struct.pack("ii", 1, 0)
                sock = writer.get_extra_info("socket")
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        async with asyncio.timeout(30):
            await app.gone.wait()


async def test_an_answer_outlives_the_rest_of_a_body_that_nobody_reads() -> None:
    """It is read past, and leaves nothing behind that holds a place."""
    async with served(Answers(), Limits(max_connections=8)) as port:
        size = 8 << 20
        for _ in range(12):
            head = b"POST /too-large HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % size
            assert (await whole(port, head + bytes(size))).startswith(b"HTTP/1.1 413")


async def test_a_cut_body_is_a_400() -> None:
    """A request that never became whole is no half-closed client's."""
    app = Answers()
    async with served(app, Limits()) as port, connected(port) as (reader, writer):
        writer.write(b"POST /wait HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\nabc")
        writer.write_eof()
        assert (await reader.read()).startswith(b"HTTP/1.1 400")
        await app.gone.wait()

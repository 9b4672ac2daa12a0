"""Tests of transport.websocket_stream: Hypercorn in here, a small application, raw frames."""

import asyncio
import contextlib
import socket
import struct
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

from tests.web.transport.served import PING_INTERVAL_S, App
from tests.web.transport.served import served as served_within
from web.transport import closing
from web.transport.connections import Limits

HANDSHAKE = (
    b"GET / HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Version: %d\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
)


class Recorder:
    """An application that accepts, echoes text, and remembers what it was told."""

    def __init__(self) -> None:
        self.messages: list[Any] = []
        self.gone = asyncio.Event()

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "lifespan":
            return
        assert (await receive())["type"] == "websocket.connect"
        await send({"type": "websocket.accept", "headers": []})
        while (message := await receive())["type"] != "websocket.disconnect":
            self.messages.append(message)
            if message.get("text") == "end":
                return
            if message.get("text") == "close":
                await send({"type": "websocket.close", "code": 4000, "reason": "as asked"})
            elif message.get("text"):
                await send({"type": "websocket.send", "text": message["text"], "bytes": None})
        self.messages.append(message)
        self.gone.set()


def served(app: App, stall_limit_s: float = 5) -> AbstractAsyncContextManager[int]:
    return served_within(app, Limits(stall_limit_s=stall_limit_s))


def client(port: int, **options: Any) -> Any:
    return connect(f"ws://127.0.0.1:{port}/", proxy=None, ping_interval=None, **options)


@asynccontextmanager
async def raw(port: int) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    """A connection that is upgraded, and whose frames are the test's own."""
    sock = socket.socket()
    # A system may let a buffer that is not set grow until all that is sent fits in.
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 64 << 10)
    sock.connect(("127.0.0.1", port))
    reader, writer = await asyncio.open_connection(sock=sock)
    writer.write(HANDSHAKE % 13)
    try:
        assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 101")
        yield reader, writer
    finally:
        writer.transport.abort()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()


def frame(opcode: int, payload: bytes, length: int | None = None) -> bytes:
    """A client's frame with a mask of zeros (RFC 6455, 5.2); `length` may promise more."""
    length = len(payload) if length is None else length
    if length < 126:
        size = bytes([0x80 | length])
    elif length < 1 << 16:
        size = b"\xfe" + struct.pack("!H", length)
    else:
        size = b"\xff" + struct.pack("!Q", length)
    return bytes([0x80 | opcode]) + size + bytes(4) + payload


async def close_code(reader: asyncio.StreamReader) -> int:
    """Of the close frame that comes, pings read past; 0 if the connection ends without."""
    while True:
        try:
            opcode, size = await reader.readexactly(2)
        except (asyncio.IncompleteReadError, ConnectionError):
            return 0
        payload = await reader.readexactly(size)
        if opcode == 0x88:
            return int(struct.unpack("!H", payload[:2])[0])


async def test_a_client_without_pongs_loses_its_socket() -> None:
    """It takes the pings, and says nothing."""
    app = Recorder()
    async with served(app) as port, raw(port) as (reader, writer):
        async with asyncio.timeout(10):
            await app.gone.wait()
            await reader.read()  # to the end of the connection


async def test_a_client_with_pongs_keeps_it() -> None:
    """For many intervals, without a message of its own."""
    app = Recorder()
    async with served(app) as port, client(port) as connection:
        await asyncio.sleep(6 * PING_INTERVAL_S)
        assert not app.gone.is_set()
        await connection.send("still here")
        assert await connection.recv() == "still here"


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (frame(1, b"\xff\xfe"), 1007),  # no UTF-8
        (b"\x81\x02hi", 1002),  # no mask
        (frame(3, b""), 1002),  # no such opcode
        (frame(9, b"x" * 126), 1002),  # a ping that is too long
        (frame(1, b"x" * 1001), 1009),
        (frame(1, b"x" * 1001, 100_000_000), 1009),  # long before all of it has come
    ],
)
async def test_a_fault_is_named_in_the_close_frame(data: bytes, code: int) -> None:
    """And the application is told at once, though the client goes on."""
    app = Recorder()
    async with served(app) as port, raw(port) as (reader, writer):
        writer.write(data)
        async with asyncio.timeout(10):
            await app.gone.wait()
            assert await close_code(reader) == code
    assert [message["type"] for message in app.messages] == ["websocket.disconnect"]


async def test_what_is_too_long_is_not_stored() -> None:
    """The rest of it is read past, and then nothing is."""
    app = Recorder()
    async with served(app) as port, raw(port) as (reader, writer):
        writer.write(frame(1, b"x" * 2000, 1 << 30))
        with contextlib.suppress(ConnectionError):
            async with asyncio.timeout(20):
                while True:
                    writer.write(bytes(1 << 20))
                    await writer.drain()
    assert len(app.messages) == 1


async def test_the_close_code_outlives_what_the_client_still_sends() -> None:
    """The connection is not reset under it."""
    app = Recorder()
    async with served(app) as port:
        for _ in range(5):
            async with client(port) as connection:
                await connection.send("close")
                with contextlib.suppress(ConnectionClosed):
                    for _ in range(200):
                        await connection.send("more" * 100)
                await connection.wait_closed()
                assert (connection.close_code, connection.close_reason) == (4000, "as asked")


async def test_a_client_that_answers_no_close_frame_is_let_go() -> None:
    """After a while."""
    app = Recorder()
    async with served(app) as port, raw(port) as (reader, writer):
        writer.write(frame(1, b"close"))
        async with asyncio.timeout(10):
            assert await close_code(reader) == 4000
            assert await reader.read() == b""


async def test_an_application_that_ended_holds_nothing() -> None:
    """With many messages unread: the client is told, and the connection ends."""
    app = Recorder()
    async with served(app) as port, raw(port) as (reader, writer):
        writer.write(frame(1, b"end") + frame(1, b"unread") * 100)
        async with asyncio.timeout(10):
            assert await close_code(reader) == 1011
            await reader.read()


async def test_nothing_is_compressed() -> None:
    """Whoever asks for it."""
    app = Recorder()
    async with served(app) as port:
        connection: ClientConnection
        async with client(port, compression="deflate") as connection:
            assert connection.response is not None
            assert "Sec-WebSocket-Extensions" not in connection.response.headers
            await connection.send("plain")
            assert await connection.recv() == "plain"


async def test_a_client_that_reads_nothing_is_cut_off() -> None:
    """After the stall limit, whatever was still to be sent; its pongs do not save it."""
    gone = asyncio.Event()

    async def talkative(scope: Any, receive: Any, send: Any) -> None:
        async def talk() -> None:
            while True:
                await send({"type": "websocket.send", "text": "x" * 100_000, "bytes": None})
                await asyncio.sleep(0)  # what is sent to nobody waits for nothing

        if scope["type"] == "lifespan":
            return
        await send({"type": "websocket.accept", "headers": []})
        talking = asyncio.create_task(talk())
        while (await receive())["type"] != "websocket.disconnect":
            pass
        talking.cancel()
        gone.set()

    async with served(talkative, stall_limit_s=0.5) as port, raw(port) as (reader, writer):
        reader._transport.pause_reading()  # type: ignore[attr-defined]
        async with asyncio.timeout(20):
            while not gone.is_set():
                writer.write(frame(10, b""))  # a pong
                await asyncio.sleep(0.05)


async def test_frames_before_the_upgrade_hold_nothing() -> None:
    """They are refused, and the application is told: it would wait for ever."""
    app = Recorder()
    async with served(app) as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(HANDSHAKE % 13 + frame(1, b"early"))
        async with asyncio.timeout(15):
            assert (await reader.read()).startswith(b"HTTP/1.1 400")
            await app.gone.wait()
        writer.close()


async def test_a_refused_handshake_ends_its_connection() -> None:
    """The client does not have to."""
    async with served(Recorder()) as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(HANDSHAKE % 99)
        async with asyncio.timeout(15):
            refused = await reader.read()
        assert refused.startswith(b"HTTP/1.1 400") and b"\r\nconnection: close\r\n" in refused
        writer.close()


@pytest.mark.parametrize(
    "flood",
    [frame(9, b""), frame(10, b""), bytes([0x00, 0x80]) + bytes(4)],  # ping, pong, fragment
)
async def test_a_flood_of_frames_is_closed(flood: bytes) -> None:
    """Though none of them is a message."""
    app = Recorder()
    async with served(app) as port, raw(port) as (reader, writer):
        writer.write(bytes([0x01, 0x80]) + bytes(4) + flood * 1000)
        async with asyncio.timeout(15):
            await app.gone.wait()
            assert await close_code(reader) == 1008


class Sender(Recorder):
    """Sends more than any buffer holds, and at the same time echoes."""

    SIZE = 32 << 20

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        sending: list[asyncio.Task[None]] = []

        async def send_more(message: Any) -> None:
            await send(message)
            if message["type"] == "websocket.accept":
                text = {"type": "websocket.send", "text": "x" * self.SIZE, "bytes": None}
                sending.append(asyncio.create_task(send(text)))
                await asyncio.sleep(0)

        await super().__call__(scope, receive, send_more)
        for task in sending:
            task.cancel()


async def test_a_reset_is_told_though_the_application_waits_to_send() -> None:
    """At once, not when the stall limit is over."""
    app = Sender()
    async with served(app, stall_limit_s=60) as port, raw(port) as (_, writer):
        writer.write(frame(1, b"echo") * 40)
        await asyncio.sleep(0.5)
        linger = struct.pack("ii", 1, 0)
        writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        writer.transport.abort()
        async with asyncio.timeout(15):
            await app.gone.wait()


async def test_what_nobody_reads_is_not_kept_after_the_end(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The connection is cut then: its client may never read on."""
    monkeypatch.setattr(closing, "_FLUSH_S", 0.2)
    app = Sender()
    async with served(app) as port, raw(port) as (reader, writer):
        writer.write_eof()
        async with asyncio.timeout(10):
            await app.gone.wait()
            await asyncio.sleep(1)
            size = 0
            with contextlib.suppress(ConnectionError):
                while piece := await reader.read(1 << 20):
                    size += len(piece)
    assert size < Sender.SIZE

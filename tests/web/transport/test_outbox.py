"""Tests of web.transport.outbox on a real connection."""

import asyncio
import socket
from collections.abc import AsyncIterator

import pytest

from web.transport.outbox import Outbox


@pytest.fixture
async def ends() -> AsyncIterator[tuple[asyncio.StreamWriter, socket.socket]]:
    """The server's writer, and the client's socket, which reads when the test does."""
    ours, theirs = socket.socketpair()
    _, writer = await asyncio.open_connection(sock=ours)
    theirs.setblocking(False)
    yield writer, theirs
    writer.transport.abort()
    theirs.close()
    await asyncio.sleep(0)


async def test_what_one_turn_writes_arrives_in_one_piece(
    ends: tuple[asyncio.StreamWriter, socket.socket],
) -> None:
    """In its order, without waiting for more."""
    writer, client = ends
    outbox = Outbox(writer)
    assert not any(outbox.put(f"{number} ".encode()) for number in range(16))
    with pytest.raises(BlockingIOError):
        client.recv(1000)
    await asyncio.sleep(0)
    assert client.recv(1000) == b"".join(b"%d " % number for number in range(16))
    outbox.put(b"next")
    await asyncio.sleep(0)
    assert client.recv(1000) == b"next"


async def test_a_client_that_is_behind_is_waited_for(
    ends: tuple[asyncio.StreamWriter, socket.socket],
) -> None:
    """Only by who drains; and all of it arrives."""
    writer, client = ends
    outbox = Outbox(writer)
    size = 0
    while not outbox.put(b"x" * 50_000):
        size += 50_000
        await asyncio.sleep(0)
    assert outbox.put(b"x" * 200_000)
    draining = asyncio.create_task(outbox.drain())
    await asyncio.sleep(0.05)
    assert not draining.done()
    size += 250_000
    while size:
        size -= len(await asyncio.get_running_loop().sock_recv(client, 1 << 20))
    await draining


async def test_a_connection_that_is_gone_takes_nothing(
    ends: tuple[asyncio.StreamWriter, socket.socket],
) -> None:
    """Without a word in the log; who waits is told."""
    writer, client = ends
    outbox = Outbox(writer)
    client.close()
    writer.transport.abort()
    for _ in range(20):
        outbox.put(b"to nobody")
        await asyncio.sleep(0)
    with pytest.raises(ConnectionError):
        await outbox.drain()

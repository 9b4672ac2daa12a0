"""Tests of transport.socket: who may connect, what a client may send, how it is closed."""

import asyncio
import json
import time
from pathlib import Path
from typing import Any
from unittest.mock import AsyncMock, Mock

import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus

from tests.models.tiny_models import make_llama
from tests.serving import KEY, ServerProcess, link_model
from tests.sockets import CHAT, JOBS, SocketClient, opened
from web.dialect import CHAT_DIALECTS
from web.door.guard import SENT_KEY
from web.settings import WebSettings
from web.transport.socket import Sockets

PATHS = (CHAT, JOBS, "/mimik-ai/openai/v1/chat/completions", "/mimik-ai/openai/v1/jobs")


async def answers_well(socket: SocketClient) -> bool:
    """Whether a short chat gets its answer."""
    await socket.create("well", max_tokens=2)
    return bool((await socket.answers(1))["well"].last["finish_reason"] == "length")


async def until_error(socket: SocketClient) -> dict[str, Any]:
    while (frame := await socket.receive())["type"] != "error":
        pass
    return frame


# --- who may connect ------------------------------------------------------------------------


@pytest.mark.parametrize("path", PATHS)
async def test_no_socket_without_the_key(server: ServerProcess, path: str) -> None:
    """A wrong header is refused before the upgrade; a wrong subprotocol or message after it."""
    with pytest.raises(InvalidStatus) as refused:
        async with opened(server, path, key="wrong"):
            pass
    assert refused.value.response.status_code == 401
    hidden = "openai-insecure-api-key.wrong"
    async with opened(server, path, key=None, protocols=["mlx-edge", hidden]) as socket:
        frame = await socket.receive()
        assert frame["status"] == 401
        assert "wrong" not in json.dumps(frame)
        assert await socket.closed() == (1008, "The API key is wrong.")
    async with opened(server, path, key=None) as socket:
        await socket.send(type="auth", api_key="wrong")
        assert (await socket.receive())["status"] == 401
        assert (await socket.closed())[0] == 1008


@pytest.mark.parametrize("protocol", ["mlx-edge", "realtime"])
async def test_the_key_as_a_subprotocol(server: ServerProcess, protocol: str) -> None:
    """As browsers send it; only the other one is chosen, and the key is in no header."""
    offered = ["openai-insecure-api-key." + KEY, "another", protocol]
    async with opened(server, key=None, protocols=offered) as socket:
        assert socket.connection.subprotocol == protocol
        assert KEY not in str(socket.connection.response)
        assert await answers_well(socket)


async def test_the_key_in_the_first_message(server: ServerProcess) -> None:
    """It is acknowledged, and then all is as with a header."""
    async with opened(server, key=None) as socket:
        await socket.send(type="auth", api_key=KEY)
        assert await socket.receive() == {"type": "auth.ok"}
        assert await answers_well(socket)


@pytest.mark.parametrize(
    "first",
    ['{"type":"chat.completion.create","model":"tiny","messages":[]}', "{", b"\x00", "x" * 5000,
     '{"type":"auth","api_key":7}', "[" * 2000],
)  # fmt: skip
async def test_a_first_message_that_is_no_key(server: ServerProcess, first: str | bytes) -> None:
    """Says what was expected, and closes."""
    async with opened(server, key=None) as socket:
        await socket.connection.send(first)
        assert (await socket.receive())["error"]["code"] == "invalid_api_key"
        code, reason = await socket.closed()
        assert code == 1008 and "auth" in reason


async def test_little_is_stored_of_a_stranger(server: ServerProcess) -> None:
    """Until the key came; what is sent right after it may be long."""
    async with opened(server, key=None) as socket:
        await socket.connection.send("x" * 20_000)
        assert (await socket.closed())[0] == 1009
    async with opened(server, key=None) as socket:
        await socket.send(type="auth", api_key=KEY)
        await socket.send(type="x" * 500_000)
        assert await socket.receive() == {"type": "auth.ok"}
        assert (await socket.receive())["status"] == 400


async def test_who_comes_while_the_server_closes_is_told_so() -> None:
    """As those who were there before: clients come again at once."""
    sockets = Sockets(WebSettings())
    await sockets.close()
    websocket = Mock(scope={SENT_KEY: "right"}, requested_subprotocols=[])
    websocket._get_current_object.return_value = websocket
    websocket.args.getlist.return_value = []
    websocket.accept, websocket.close = AsyncMock(), AsyncMock()
    await sockets.serve(websocket, CHAT_DIALECTS[0], Mock())
    assert websocket.close.await_args.args[0] == 1012


@pytest.mark.slow
async def test_a_client_that_never_sends_its_key(server: ServerProcess) -> None:
    """Is not kept for more than some seconds."""
    async with opened(server, key=None) as socket:
        async with asyncio.timeout(20):
            assert (await socket.closed())[0] == 1008


async def test_foreign_pages_are_refused_before_the_upgrade(server: ServerProcess) -> None:
    """Whatever their key; our own page is let in."""
    for origin in ("http://evil.example", "null", f"http://127.0.0.1.evil:{server.port}"):
        with pytest.raises(InvalidStatus) as refused:
            async with opened(server, origin=origin):
                pass
        assert refused.value.response.status_code == 403
    async with opened(server, origin=f"http://localhost:{server.port}") as socket:
        assert await answers_well(socket)


# --- what a client may send -----------------------------------------------------------------


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize(
    "bad",
    [
        b"binary",
        b"",
        "",
        "{",
        "null",
        "[" * 100_000,
        '{"a":' * 50_000,
        '{"type":7}',
        "{}",
        '{"type":"nope"}',
        '{"type":"chat.completion.create","stream_id":""}',
        '{"type":"chat.completion.create","stream_id":' + '"%s"}' % ("x" * 129),
        '{"type":"chat.completion.create","events":["everything"]}',
        '{"type":"chat.completion.create","model":"\\ud800"}',
        '{"type":"job.cancel"}',
        '{"type":"job.cancel","id":"nope"}',
    ],
)
async def test_a_bad_message_is_answered_by_an_error(
    server: ServerProcess, path: str, bad: str | bytes
) -> None:
    """A clear one; the socket stays, and so do others."""
    async with opened(server, path) as socket, opened(server) as other:
        await socket.connection.send(bad)
        frame = await until_error(socket)
        assert 400 <= frame["status"] < 500 and frame["error"]["message"]
        await socket.connection.send("{}")
        assert (await until_error(socket))["status"] == 400
        assert await answers_well(other)


async def test_a_message_over_the_limit(server: ServerProcess) -> None:
    """1009, counted in bytes; what it was sent beside still works."""
    just = '{"type":"' + "x" * ((1 << 20) - 11) + '"}'
    async with opened(server) as other:
        async with opened(server) as socket:
            await socket.connection.send(just)
            assert (await until_error(socket))["status"] == 400
            await socket.connection.send(just + " ")
            assert (await socket.closed())[0] == 1009
        async with opened(server) as socket:
            await socket.connection.send("é" * (1 << 19) + "é")
            assert (await socket.closed())[0] == 1009
        assert await answers_well(other)


async def test_a_hundred_megabytes_are_not_stored(server: ServerProcess) -> None:
    """They are closed with 1009, and the server does not grow by them."""
    web = server.web_memory()
    async with opened(server) as other, opened(server) as socket:
        await socket.create("running", max_tokens=5000)
        with pytest.raises(ConnectionClosed) as closed:
            await socket.connection.send("x" * 100_000_000)
            while True:
                await socket.receive()
        assert closed.value.rcvd is not None and closed.value.rcvd.code == 1009
        assert await answers_well(other)
    await asyncio.to_thread(server.wait_until_empty)
    assert server.web_memory() - web < 30_000_000


async def test_a_flood_is_closed(server: ServerProcess) -> None:
    """Ten thousand messages at once: 1008 after the burst, and other sockets do not feel it."""
    async with opened(server) as other, opened(server) as socket:
        reading = asyncio.create_task(_count(socket))
        try:
            for _ in range(10_000):
                await socket.connection.send("{}")
        except ConnectionClosed:
            pass
        assert await reading < 1000
        code, reason = await socket.closed()
        assert code == 1008 and "a second" in reason
        assert await answers_well(other)


async def _count(socket: SocketClient) -> int:
    count = 0
    try:
        while True:
            await socket.receive()
            count += 1
    except ConnectionClosed:
        return count


async def test_a_flood_that_reads_nothing_is_not_stored(server: ServerProcess) -> None:
    """It fills its own buffers, and then it is not read any more."""
    before = server.web_memory()
    async with opened(server) as other, opened(server) as socket:
        transport = socket.connection.transport
        transport.pause_reading()
        message = json.dumps({"type": "x" * 500_000})
        sending = asyncio.create_task(_send_all(socket, message, 150))
        await asyncio.sleep(1)
        assert await answers_well(other)
        assert server.web_memory() - before < 60_000_000
        sending.cancel()
        transport.abort()


async def _send_all(socket: SocketClient, message: str, count: int) -> None:
    for _ in range(count):
        await socket.connection.send(message)


# --- how it ends ----------------------------------------------------------------------------


async def test_a_slow_reader_slows_only_itself(server: ServerProcess) -> None:
    """It stops reading for a while; the other answers go on, and then it gets all of its own."""
    async with opened(server) as slow, opened(server) as other:
        await slow.create("all", max_tokens=3000, model="tiny")
        await slow.until_text("all")
        slow.connection.transport.pause_reading()
        assert await answers_well(other)
        started = time.monotonic()
        while await asyncio.to_thread(server.num_rows) and time.monotonic() - started < 30:
            await asyncio.sleep(0.1)  # the engine waits for no reader
        slow.connection.transport.resume_reading()
        last = (await slow.answers(1))["all"].last
        assert last["usage"]["completion_tokens"] == 3000


async def test_a_server_that_ends_says_so(tmp_path: Path) -> None:
    """Running answers end first; then 1012, at which clients come again."""
    link_model(tmp_path / "home", "tiny", make_llama(tmp_path / "tiny"))
    with ServerProcess(tmp_path / "home") as server:
        async with opened(server) as idle, opened(server) as busy, opened(server, JOBS) as jobs:
            await busy.create("a", max_tokens=100)
            await busy.until_text("a")
            server.process.terminate()
            assert (await busy.answers(1))["a"].last["usage"]["completion_tokens"] == 100
            for socket in (idle, busy, jobs):
                async with asyncio.timeout(20):
                    assert (await socket.closed())[0] == 1012
        assert await asyncio.to_thread(server.process.wait, 20) == 0
        assert "Traceback" not in server.log


async def test_many_idle_sockets_are_cheap(server: ServerProcess) -> None:
    """Each costs some kilobytes, and all go when they are closed."""
    before = server.web_memory()
    async with _Many(server, 200):
        assert server.web_memory() - before < 30_000_000


class _Many:
    def __init__(self, server: ServerProcess, count: int) -> None:
        self._contexts = [opened(server) for _ in range(count)]

    async def __aenter__(self) -> None:
        for context in self._contexts:
            await context.__aenter__()

    async def __aexit__(self, *_: object) -> None:
        await asyncio.gather(*(c.__aexit__(None, None, None) for c in self._contexts))

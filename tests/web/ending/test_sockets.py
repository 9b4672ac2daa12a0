"""Sockets, and answers that outlive their connection, when the server is told to end."""

import asyncio
from pathlib import Path
from typing import Any

import httpx
import pytest
from websockets.exceptions import ConnectionClosed

from tests.serving import ServerProcess
from tests.sockets import CHAT, JOBS, SocketClient, opened
from tests.web.api.openai.responses.asking import LAST
from tests.web.ending.asked import APIS, HEADERS, ends, load, resume, terminate

RESPONSES = "/v1/responses"
WORDS = {"model": "tiny", "input": "hi", "temperature": 0}


async def last_of(socket: SocketClient, stream_id: str) -> dict[str, Any]:
    while True:
        frame = await socket.receive()
        if frame.get("stream_id") == stream_id and frame["type"] in (
            *LAST, "chat.completion.done", "error",
        ):  # fmt: skip
            return frame


async def until_type(socket: SocketClient, kind: str) -> dict[str, Any]:
    while (frame := await socket.receive())["type"] != kind:
        pass
    return frame


@pytest.mark.parametrize("is_in_time", [True, False])
async def test_streams_end_and_then_the_socket(home: Path, is_in_time: bool) -> None:
    """They finish or fail; a new one is refused with the time to come again; then 1012 says why,
    to idle sockets too."""
    limit = ("--drain-timeout", "60s" if is_in_time else "0s")
    with ServerProcess(home, *limit) as server:
        await asyncio.to_thread(load, server)
        async with (
            opened(server) as chats,
            opened(server, RESPONSES) as responses,
            opened(server, JOBS) as jobs,
            opened(server) as idle,
        ):
            await chats.create("a", max_tokens=1500)
            await chats.until_text("a")
            body = WORDS | {"max_output_tokens": 1500}
            await responses.send(type="response.create", stream_id="b", **body)
            await until_type(responses, "response.output_text.delta")
            (engine,) = server.engines()
            engine.suspend()
            if is_in_time:
                await asyncio.to_thread(terminate, server)
                await idle.create("c")
                refused = await idle.receive()
                assert refused["status"] == 503 and refused["error"]["code"] == "draining"
                assert int(refused["error"]["headers"]["Retry-After"]) > 0
            else:
                server.process.terminate()
            resume(engine)
            chat, response = await last_of(chats, "a"), await last_of(responses, "b")
            if is_in_time:
                assert chat["usage"]["completion_tokens"] == 1500
                assert response["type"] == "response.incomplete"
            else:
                assert chat["type"] == "error" and chat["error"]["code"] == "draining"
                assert response["type"] == "response.failed"
            for socket in (chats, responses, jobs, idle):
                assert await _closed(socket) == (1012, "The server restarts.")
        await asyncio.to_thread(ends, server)


async def _closed(socket: SocketClient) -> tuple[int, str]:
    with pytest.raises(ConnectionClosed):
        while True:
            await socket.receive()
    return await socket.closed()


async def test_who_lost_its_connection_may_come_back_meanwhile(home: Path) -> None:
    """A new socket, opened while the server drains, is told the rest."""
    with ServerProcess(home, "--drain-timeout", "60s") as server:
        await asyncio.to_thread(load, server)
        async with opened(server) as lost:
            await lost.create("a", max_tokens=1500, resumable=True)
            token = (await lost.receive())["resume_token"]
            await lost.until_text("a")
            (engine,) = server.engines()
            engine.suspend()
            lost.connection.transport.abort()
        await asyncio.to_thread(terminate, server)
        async with opened(server, CHAT) as back:
            await back.send(type="resume", resume_token=token)
            resume(engine)
            last = await last_of(back, "a")
            assert last["usage"]["completion_tokens"] == 1500
            assert (await _closed(back))[0] == 1012
        await asyncio.to_thread(ends, server)


@pytest.mark.parametrize("is_in_time", [True, False])
async def test_what_the_next_server_tells(home: Path, is_in_time: bool) -> None:
    """Of an answer in the background, and of one whose client is away: whole where there was time,
    else failed, and never under way."""
    url = f"{RESPONSES}"
    limit = ("--drain-timeout", "60s" if is_in_time else "0s")
    with ServerProcess(home, *limit) as server:
        await asyncio.to_thread(load, server)
        body = APIS["responses"].body | {"max_output_tokens": 1500}
        async with opened(server, RESPONSES) as lost:
            await lost.send(type="response.create", resumable=True, **body)
            away = (await until_type(lost, "response.created"))["response"]["id"]
            await until_type(lost, "response.output_text.delta")
            lost.connection.transport.abort()
        (engine,) = server.engines()
        engine.suspend()
        asked = body | {"background": True}
        told = httpx.post(server.url + url, json=asked, headers=HEADERS, timeout=60).json()
        await asyncio.to_thread(terminate, server)
        resume(engine)
        await asyncio.to_thread(ends, server)
    with ServerProcess(home) as server:
        for name in (away, told["id"]):
            kept = httpx.get(f"{server.url}{url}/{name}", headers=HEADERS).json()
            assert kept["status"] == ("incomplete" if is_in_time else "failed"), kept
            assert is_in_time or kept["error"]["code"] == "server_error"

"""The two ways to an answer: events over HTTP, each on a connection, or all on one socket."""

import asyncio
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from typing import Protocol

import msgspec
from websockets.asyncio.client import ClientConnection, connect

from scripts.bench.client import Endpoint
from scripts.bench.connection import Connection, connection

from .told import PATHS, Api, Told, body_of

_MESSAGES: Mapping[Api, str] = {
    "chat": "chat.completion.create",
    "unstored": "response.create",
    "stored": "response.create",
}


class Way(Protocol):
    """Open for as many answers at once as there are lanes."""

    async def answer(self, api: Api, prompt: str, max_tokens: int, lane: int) -> Told: ...


class Sse:
    """A connection for each lane."""

    def __init__(self, model: str, connections: list[Connection]) -> None:
        self._model = model
        self._connections = connections

    async def answer(self, api: Api, prompt: str, max_tokens: int, lane: int) -> Told:
        body = body_of(api, self._model, prompt, max_tokens)
        told = Told()
        async for event in self._connections[lane].post_events(PATHS[api], body):
            told.note(event)
        return told


class Lanes:
    """One socket with many answers on it, or several: of each path one."""

    def __init__(self, model: str, sockets: Mapping[str, ClientConnection]) -> None:
        self._model = model
        self._sockets = sockets
        self._answers: dict[bytes, tuple[Told, asyncio.Event]] = {}

    async def answer(self, api: Api, prompt: str, max_tokens: int, lane: int) -> Told:
        body = body_of(api, self._model, prompt, max_tokens)
        body |= {"type": _MESSAGES[api], "stream_id": str(lane)}
        with self._followed(str(lane).encode()) as (told, ended):
            await self._sockets[PATHS[api]].send(msgspec.json.encode(body), text=True)
            await ended.wait()
        return told

    @contextmanager
    def _followed(self, lane: bytes) -> Iterator[tuple[Told, asyncio.Event]]:
        self._answers[lane] = told, ended = Told(), asyncio.Event()
        yield told, ended
        del self._answers[lane]

    async def read(self, socket: ClientConnection) -> None:
        """Note what comes until the task is cancelled."""
        while True:
            frame = await socket.recv(decode=False)
            # Each begins with '{"stream_id":"3",'; an error of the socket itself with its type.
            told, ended = self._answers.get(frame.split(b'"', 4)[3], (Told(), None))
            told.note(frame)
            if told.ended_at and ended is not None:
                ended.set()


@asynccontextmanager
async def sse(endpoint: Endpoint, num_lanes: int) -> AsyncIterator[Way]:
    """Open until the end of the block."""
    async with AsyncExitStack() as stack:
        opened = [await stack.enter_async_context(connection(endpoint)) for _ in range(num_lanes)]
        yield Sse(endpoint.model, opened)


@asynccontextmanager
async def lanes(endpoint: Endpoint, _: int) -> AsyncIterator[Way]:
    """Open until the end of the block, which a socket's error ends too; for any number."""
    async with AsyncExitStack() as stack:
        sockets = {
            path: await stack.enter_async_context(socket(endpoint, path))
            for path in set(PATHS.values())
        }
        way = Lanes(endpoint.model, sockets)
        async with asyncio.TaskGroup() as group:
            reading = [group.create_task(way.read(each)) for each in sockets.values()]
            yield way
            for task in reading:
                task.cancel()


def socket(endpoint: Endpoint, path: str) -> connect:
    """To be opened by `async with`."""
    url = endpoint.url.replace("http", "ws", 1) + path
    headers = {"Authorization": f"Bearer {endpoint.key}"}
    return connect(url, additional_headers=headers, proxy=None, compression=None)

"""Bodies and messages that arrive no faster than they are used.

Quart's own buffers whatever comes, without end: an upload to a slow disk would fill the memory.
Hypercorn stops reading from the socket when the application stops asking for messages, so that is
what `BoundedConnection` and `BoundedSocketConnection` do.
"""

import asyncio
from collections import deque
from collections.abc import Generator
from typing import Any

from hypercorn.typing import ASGIReceiveCallable, ASGISendCallable, WebsocketScope
from quart import Quart, Request, Websocket
from quart.asgi import ASGIHTTPConnection, ASGIWebsocketConnection
from quart.wrappers.request import Body

_MAX_BUFFERED_BYTES = 1 << 20
_MAX_BUFFERED_MESSAGES = 8


class BoundedBody(Body):
    """Iterated over, it holds a mebibyte at most; awaited as a whole, it holds all of it."""

    def __init__(self, expected_content_length: int | None, max_content_length: int | None) -> None:
        super().__init__(expected_content_length, max_content_length)
        self._pieces: deque[bytes] = deque()
        self._num_buffered = 0
        self._is_complete = False
        self._is_bounded = True
        self._changed = asyncio.Event()  # something came
        self._room = asyncio.Event()
        self._room.set()

    def append(self, data: bytes) -> None:
        if data:
            self._pieces.append(data)
            self._num_buffered += len(data)
            self._changed.set()
        if self._is_bounded and self._num_buffered >= _MAX_BUFFERED_BYTES:
            self._room.clear()

    def set_complete(self) -> None:
        self._is_complete = True
        self._changed.set()

    def clear(self) -> None:
        self._pieces.clear()
        self._num_buffered = 0
        self._room.set()

    async def __anext__(self) -> bytes:
        while not self._pieces:
            if self._is_complete:
                raise StopAsyncIteration
            self._changed.clear()
            await self._changed.wait()
        piece = self._pieces.popleft()
        self._num_buffered -= len(piece)
        if self._num_buffered <= _MAX_BUFFERED_BYTES // 2:
            self._room.set()
        return piece

    def __await__(self) -> Generator[Any, None, bytes]:
        self._is_bounded = False
        self._room.set()
        return self._whole().__await__()

    async def room(self) -> None:
        """Wait until there is room for more."""
        await self._room.wait()

    async def _whole(self) -> bytes:
        while not self._is_complete:
            self._changed.clear()
            await self._changed.wait()
        return b"".join(self._pieces)


class BoundedRequest(Request):
    """Quart's request with such a body."""

    body_class = BoundedBody
    body: BoundedBody


class BoundedConnection(ASGIHTTPConnection):
    """Asks for the next message when there is room for it."""

    async def handle_messages(self, request: Request, receive: ASGIReceiveCallable) -> None:
        assert isinstance(request, BoundedRequest)
        while True:
            message = await receive()
            if message["type"] == "http.request":
                request.body.append(message.get("body", b""))
                if not message.get("more_body", False):
                    request.body.set_complete()
                await request.body.room()
            elif message["type"] == "http.disconnect":
                return


class BoundedSocketConnection(ASGIWebsocketConnection):
    """Holds a few messages of a WebSocket's client, and sends without Quart's signals."""

    def __init__(self, app: Quart, scope: WebsocketScope) -> None:
        super().__init__(app, scope)
        self.queue = asyncio.Queue(_MAX_BUFFERED_MESSAGES)

    async def send_data(self, send: ASGISendCallable, data: str | bytes) -> None:
        text = data if isinstance(data, str) else data.decode()
        await send({"type": "websocket.send", "bytes": None, "text": text})


class DirectWebsocket(Websocket):
    """Sends without giving way first: what sends here waits for an engine's step anyway."""

    async def send(self, data: str | bytes) -> None:
        await self._send(data)

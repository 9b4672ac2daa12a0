"""One WebSocket below ASGI: Hypercorn's, without its faults.

- It pings, but never looks at what comes back: a client that is gone keeps its socket. Here a
  client that was silent for two intervals loses it, or one that does not answer soon after a sleep.
- It goes on storing a message that is over the limit, and its application is told nothing. Here
  the socket is closed with 1009, and the rest of the message read past.
- A fault in the protocol (text that is no UTF-8, a frame without mask) closes the connection
  without a word. Here its close frame says which it was (RFC 6455, 7.4.1).
- It closes the connection right after its close frame. What the client was still sending makes
  the kernel reset the connection then, and the close code is lost. Here it waits for the client's
  close frame, for a while (RFC 6455, 7.1.1).
- It waits without end for an application that has ended with messages unread.
- It forgets the application of a client that sends frames before it was accepted, and both wait
  without end; so does the connection of a handshake it refuses. Here both are ended.
- It takes any number of empty frames and pings, and a read of them holds the loop for a second.
  Here a flood of frames is closed with 1008, and nothing more of it is looked at.
- It compresses for whoever asks: that costs a token's time, 300 kB a socket, and lets 64 kB unfold
  to 64 MB before anybody counts. Here nothing is compressed.
"""

import asyncio
from collections.abc import Awaitable
from typing import Any
from weakref import WeakSet

from hypercorn.protocol.events import Body, Data, Event, Request, StreamClosed
from hypercorn.protocol.ws_stream import ASGIWebsocketState, FrameTooLargeError, WSStream
from wsproto.connection import ConnectionState
from wsproto.events import CloseConnection, Message, Ping
from wsproto.frame_protocol import CloseReason

from runtime.power import awake
from web.door.allowance import Allowance

MAX_FIRST = "mlx_edge.max_first"  # of the scope: characters of the first message
CLOSED = "mlx_edge.closed"  # of the scope: set when either side has sent a close frame

_LINGER_S = 2.0
_PROOF_S = 10.0  # a client that slept as well has to come back first
# A message of a mebibyte may come in some hundred fragments.
_FRAMES_PER_S = 200.0
_FRAME_BURST = 500


_open: "WeakSet[WebSocketStream]" = WeakSet()


def doubt_all() -> None:
    """Close the sockets whose clients do not answer a ping: to be called after a sleep."""
    for stream in tuple(_open):
        stream.doubt()


class WebSocketStream(WSStream):
    """Put in Hypercorn's place by `hypercorn_patches`."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self._heard_at = awake.now()
        self._is_closing = False  # our close frame is out, and what still comes is read past
        self._is_over = asyncio.Event()
        self._app_is_over = asyncio.Event()
        self._lingering: asyncio.Task[None] | None = None
        self._telling: asyncio.Task[None] | None = None
        self._frames = Allowance(_FRAMES_PER_S, _FRAME_BURST)
        self._is_first = True  # no message has come as a whole
        self._is_flooded = False  # what still comes is not even parsed
        self._proving: asyncio.Task[None] | None = None
        _open.add(self)

    def doubt(self) -> None:
        """End it unless its client is heard of soon."""
        if self.state is ASGIWebsocketState.CONNECTED and not self.closed:
            self._proving = asyncio.create_task(self._prove())

    async def _prove(self) -> None:
        heard_at = self._heard_at
        await _until(self._is_over, self._send_wsproto_event(Ping()))
        if not await self._ends_within(_PROOF_S) and self._heard_at == heard_at:
            await self.send(StreamClosed(stream_id=self.stream_id))

    async def handle(self, event: Event) -> None:
        if isinstance(event, StreamClosed):
            return await self._on_end()
        if isinstance(event, Body | Data):
            self._heard_at = awake.now()
        if self.closed or self._is_flooded:
            return
        await super().handle(event)
        if isinstance(event, Request):
            self.handshake.extensions = None  # compression is the only one there is
        if self.closed and not self._is_over.is_set():  # refused by Hypercorn
            self.closed = False
            await self.send(StreamClosed(stream_id=self.stream_id))

    async def app_send(self, message: Any) -> None:
        if message is None:
            self._app_is_over.set()
        is_connected = self.state in (ASGIWebsocketState.CONNECTED, ASGIWebsocketState.CLOSED)
        if message is not None or not is_connected or self.closed:
            await super().app_send(message)
        elif not self._is_closing:  # the application is at its end
            await self._close(CloseReason.INTERNAL_ERROR)

    async def _send_wsproto_event(self, event: Any) -> None:
        if isinstance(event, CloseConnection) and not self._is_closing:
            self._is_closing = True
            self._note_close()
            self._lingering = asyncio.create_task(self._linger())
        await super()._send_wsproto_event(event)

    async def _handle_events(self) -> None:
        for event in self.connection.events():
            if isinstance(event, CloseConnection):
                return await self._on_close(event)
            # Of a long frame come many events, but each was a read of its own.
            if getattr(event, "frame_finished", True) and not self._frames.take():
                self._is_flooded = True
                if not self._is_closing:
                    await self._close(CloseReason.POLICY_VIOLATION, "Too many frames.")
                return
            if self._is_closing or self.closed:
                continue
            if isinstance(event, Message):
                await self._on_message(event)
            elif isinstance(event, Ping):
                await self._send_wsproto_event(event.response())

    async def _on_message(self, event: Any) -> None:
        limit = self.config.websocket_max_message_size
        if self._is_first:
            scope: Any = self.scope
            limit = min(limit, scope.get(MAX_FIRST, limit))
        self.buffer.max_length = limit
        try:
            self.buffer.extend(event)
        except FrameTooLargeError:
            self.buffer.clear()
            return await self._close(CloseReason.MESSAGE_TOO_BIG)
        if event.message_finished:
            self._is_first = False
            await self._tell_app(self.buffer.to_message())
            self.buffer.clear()

    async def _on_close(self, event: CloseConnection) -> None:
        """The client's close frame, the answer to ours, or what the client did wrong."""
        self._note_close()
        if self.connection.state is ConnectionState.OPEN:
            return await self._close(event.code, event.reason)
        if self.connection.state is ConnectionState.REMOTE_CLOSING:
            await super()._send_wsproto_event(event.response())
        await self.send(StreamClosed(stream_id=self.stream_id))

    def _note_close(self) -> None:
        scope: Any = self.scope
        scope[CLOSED] = True

    async def _close(self, code: int, reason: str | None = None) -> None:
        """Send a close frame; the application is told at once."""
        await self._send_wsproto_event(CloseConnection(code=code, reason=reason))
        await self._tell_app({"type": "websocket.disconnect", "code": int(code)})

    async def _tell_app(self, message: dict[str, Any]) -> None:
        """Waits while the application is slow, which slows the client; not for one at its end."""
        assert self.app_put is not None
        await _until(self._app_is_over, self.app_put(message))

    async def _on_end(self) -> None:
        if self.closed:
            return
        self.closed = True
        self._is_over.set()
        if self.app_put is not None:
            was_closed = self.state in (ASGIWebsocketState.CLOSED, ASGIWebsocketState.HTTPCLOSED)
            code = CloseReason.NORMAL_CLOSURE if was_closed else CloseReason.ABNORMAL_CLOSURE
            # In a task of its own: this may run inside of a send that failed, for which the
            # application waits; to wait here until it takes the event would be a deadlock.
            self._telling = asyncio.create_task(
                self._tell_app({"type": "websocket.disconnect", "code": int(code)})
            )

    async def _linger(self) -> None:
        if not await self._ends_within(_LINGER_S):
            await self.send(StreamClosed(stream_id=self.stream_id))

    async def _send_pings(self) -> None:
        interval = self.config.websocket_ping_interval
        assert interval is not None
        while not await self._ends_within(interval):
            if awake.now() - self._heard_at > 2 * interval:
                return await self.send(StreamClosed(stream_id=self.stream_id))
            # It waits where the client is behind, and the connection's end would wait for it.
            await _until(self._is_over, self._send_wsproto_event(Ping()))

    async def _ends_within(self, seconds: float) -> bool:
        try:
            async with asyncio.timeout(seconds):
                return await self._is_over.wait()
        except TimeoutError:
            return False


async def _until(end: asyncio.Event, action: Awaitable[None]) -> None:
    """Do it, but no longer than until the end."""
    acting, ending = asyncio.ensure_future(action), asyncio.ensure_future(end.wait())
    await asyncio.wait({acting, ending}, return_when=asyncio.FIRST_COMPLETED)
    acting.cancel()
    ending.cancel()

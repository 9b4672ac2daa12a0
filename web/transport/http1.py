"""HTTP/1.1 of one connection: Hypercorn's, without its faults.

- It switches to HTTP/2 for whoever asks by upgrade or by preface, and brings HTTP/2's own attacks
  along. Here both are ignored.
- It never says how long an idle connection lives, so clients reuse one that is about to close.
- It waits without end to tell an application that its client left, where that reads no more: the
  rest of a body that was too large kept its connection for ever.
"""

import asyncio
from typing import Any

import h11
from hypercorn.protocol.events import Event, Response, StreamClosed
from hypercorn.protocol.h11 import H11Protocol
from hypercorn.protocol.http_stream import ASGIHTTPState, HTTPStream


class Http1(H11Protocol):
    """Made by `connection`, one for each."""

    def __init__(self, keep_alive_s: float, *args: Any) -> None:
        super().__init__(*args)
        self._keep_alive_s = keep_alive_s
        self._may_stay = False  # after the answer

    @property
    def is_answering(self) -> bool:
        """A whole request, and the client has said that no more will come."""
        return self.stream is not None and self.connection.their_state is h11.CLOSED

    @property
    def is_silent(self) -> bool:
        """Nothing of the answer is out."""
        return self.connection.our_state is h11.SEND_RESPONSE

    async def refuse(self, status: int) -> None:
        """Answer what is no request yet; the connection cannot go on."""
        if self.connection.our_state is h11.IDLE:
            await self._send_error_response(status)

    async def stream_send(self, event: Event) -> None:
        if isinstance(event, Response) and event.status_code >= 200:
            event.headers.extend(self._persistence(event))
        await super().stream_send(event)

    def _persistence(self, answer: Response) -> list[tuple[bytes, bytes]]:
        """How long the connection will live, for clients that keep it."""
        if self.context.terminated.is_set() or self.is_answering:
            return [(b"connection", b"close")]
        is_last = self.keep_alive_requests >= self.config.keep_alive_max_requests
        if (
            is_last
            or not self._may_stay
            or any(name == b"connection" for name, _ in answer.headers)
        ):
            return []
        timeout = b"timeout=%d" % self._keep_alive_s
        return [(b"connection", b"keep-alive"), (b"keep-alive", timeout)]

    async def _check_protocol(self, event: h11.Request) -> None:
        """Hypercorn's would switch to HTTP/2."""

    async def _create_stream(self, request: h11.Request) -> None:
        tokens = [
            token.strip().lower()
            for name, value in request.headers
            if name == b"connection"
            for token in value.split(b",")
        ]
        # h11 keeps no connection of HTTP/1.0.
        self._may_stay = request.http_version >= b"1.1" and b"close" not in tokens
        await super()._create_stream(request)


class HttpStream(HTTPStream):
    """One request and its answer."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self._app_is_over = asyncio.Event()
        self._telling: asyncio.Task[None] | None = None

    async def handle(self, event: Event) -> None:
        if not isinstance(event, StreamClosed):
            return await super().handle(event)
        if not self.closed and self.state is not ASGIHTTPState.CLOSED:
            # In a task of its own: the application may be waiting for what called this.
            self._telling = asyncio.create_task(self._tell_app())
        self.closed = True

    async def app_send(self, message: Any) -> None:
        if message is None:
            self._app_is_over.set()
        await super().app_send(message)

    async def _tell_app(self) -> None:
        """That its client left; not one that is at its end, and reads no more."""
        putting = asyncio.ensure_future(self.app_put({"type": "http.disconnect"}))
        ending = asyncio.ensure_future(self._app_is_over.wait())
        await asyncio.wait({putting, ending}, return_when=asyncio.FIRST_COMPLETED)
        putting.cancel()
        ending.cancel()

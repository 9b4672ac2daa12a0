"""HTTP/1.1 of one connection: Hypercorn's, without its faults.

- It switches to HTTP/2 for whoever asks by upgrade or by preface, and brings HTTP/2's own attacks
  along. Here both are ignored.
- What is no request is answered by an empty body. Here it is told in a sentence.
- It never says how long an idle connection lives, so clients reuse one that is about to close.
- It waits without end to tell an application that its client left, where that reads no more: the
  rest of a body that was too large kept its connection for ever.
"""

import asyncio
from typing import Any

import h11
import msgspec
from hypercorn.protocol.events import Event, Response, StreamClosed
from hypercorn.protocol.h11 import H11Protocol
from hypercorn.protocol.http_stream import ASGIHTTPState, HTTPStream

from web.dialect import OPENAI
from web.errors import Failure

_UNREADABLE = {
    400: "This is no request of HTTP/1.1; send a whole one, to http:// and not https://.",
    408: "The head of the request did not come in time; send it in one piece.",
    431: "The head of the request is too long; send fewer or shorter headers.",
    501: "This Transfer-Encoding is not known here; send the body as chunked or with its length.",
}


class Http1(H11Protocol):
    """Made by `connection`, one for each."""

    def __init__(self, keep_alive_s: float, *args: Any) -> None:
        super().__init__(*args)
        self._keep_alive_s = keep_alive_s

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
        is_told = any(name == b"connection" for name, _ in answer.headers)
        if is_told or self.keep_alive_requests >= self.config.keep_alive_max_requests:
            return []  # the latter is told by Hypercorn
        # Not so in HTTP/1.0, where the client sends no more, or has not sent all of its body yet.
        may_stay = self.connection.their_state is h11.DONE
        if not may_stay or self.context.terminated.is_set():
            return [(b"connection", b"close")]
        timeout = b"timeout=%d" % self._keep_alive_s
        return [(b"connection", b"keep-alive"), (b"keep-alive", timeout)]

    async def _check_protocol(self, event: h11.Request) -> None:
        """Hypercorn's would switch to HTTP/2."""

    async def _send_error_response(self, status_code: int) -> None:
        """Of what is no request; Hypercorn's has no body."""
        failure = Failure(status_code, _UNREADABLE.get(status_code, _UNREADABLE[400]))
        body = msgspec.json.encode(failure.body(OPENAI))
        headers = [
            (b"content-type", b"application/json"),
            (b"content-length", b"%d" % len(body)),
            (b"connection", b"close"),
            *self.config.response_headers("h11"),
        ]
        await self._send_h11_event(h11.Response(status_code=status_code, headers=headers))
        await self._send_h11_event(h11.Data(data=body))
        await self._send_h11_event(h11.EndOfMessage())


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

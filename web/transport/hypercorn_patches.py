"""What Hypercorn 0.18 has no switch for. A test pins the version these fit.

- HTTP/2 without TLS is on: a client may ask for it by upgrade or by its preface, and bring
  HTTP/2's own attacks along. Here both are ignored and HTTP/1.1 goes on.
- The number of connections is unbounded, and a client that reads nothing holds its handler for
  ever, or the connection that was closed for it.
- WebSockets have their own faults, which `websocket_stream` mends.
"""

import asyncio
from dataclasses import dataclass
from functools import partial
from typing import Any

import hypercorn.asyncio.run as hypercorn_run
import hypercorn.protocol.h11 as hypercorn_h11
from hypercorn.asyncio.tcp_server import TCPServer
from hypercorn.events import Closed, Event, RawData
from hypercorn.protocol.h11 import H11Protocol

from .outbox import Outbox
from .websocket_stream import WebSocketStream

FITS = "0.18"

_FLUSH_S = 5.0  # for what was written before a connection was closed


def apply(max_connections: int, stall_limit_s: float) -> None:
    """Patch Hypercorn in this process. May be called again with other bounds."""
    server = partial(BoundedServer, Bounds(max_connections, stall_limit_s))
    hypercorn_h11.WSStream = WebSocketStream  # type: ignore[attr-defined, assignment]
    H11Protocol._check_protocol = stay_on_http1  # type: ignore[method-assign]
    hypercorn_run.TCPServer = server  # type: ignore[attr-defined, assignment]


async def stay_on_http1(self: H11Protocol, event: Any) -> None:
    """Instead of `_check_protocol`, which would switch to HTTP/2."""


@dataclass(slots=True)
class Bounds:
    """What the connections of one server share: how many may be, and how many are."""

    max_connections: int
    stall_limit_s: float  # of a client that takes nothing
    num_connections: int = 0


class BoundedServer(TCPServer):
    """One connection within its bounds. Hypercorn makes one of each that it accepts."""

    def __init__(self, bounds: Bounds, *args: Any) -> None:
        super().__init__(*args)
        self._bounds = bounds
        self._outbox = Outbox(self.writer)

    async def run(self) -> None:
        if self._bounds.num_connections >= self._bounds.max_connections:
            self.writer.transport.abort()
            return
        self._bounds.num_connections += 1
        try:
            await super().run()
        except asyncio.CancelledError:
            # At the server's end, which has waited long enough. asyncio would log it.
            self.writer.transport.abort()
        finally:
            self._bounds.num_connections -= 1

    async def protocol_send(self, event: Event) -> None:
        if not isinstance(event, RawData):
            return await super().protocol_send(event)
        if not self._outbox.put(event.data):
            return
        try:
            async with asyncio.timeout(self._bounds.stall_limit_s):
                await self._outbox.drain()
        except TimeoutError:
            self.writer.transport.abort()
        except (ConnectionError, RuntimeError):
            await self.protocol.handle(Closed())

    async def _close(self) -> None:
        self._outbox.flush()
        # Hypercorn swallows the cancellation of a timeout, and would leave the rest open.
        limit = self.loop.call_later(_FLUSH_S, self.writer.transport.abort)
        try:
            await super()._close()
        finally:
            limit.cancel()

"""One connection of the port, from first byte to last: in the place of Hypercorn's TCPServer.

That one keeps a connection's place while its idle timer runs, also after the client closed it: a
loop of `curl` fills the server. It takes the end of what a client sends for the client's end; slow
headers and idle clients share one time limit, and who reads nothing has none.
"""

import asyncio
import itertools
import select
from collections.abc import Generator
from socket import SO_ERROR, SOL_SOCKET
from typing import Any

from hypercorn.asyncio.task_group import TaskGroup
from hypercorn.asyncio.worker_context import WorkerContext
from hypercorn.config import Config
from hypercorn.events import Closed, Event, RawData, Updated
from hypercorn.typing import AppWrapper, ConnectionState, LifespanState
from hypercorn.utils import parse_socket_addr

from . import closing
from .connections import Connections
from .http1 import Http1
from .outbox import Outbox

_MAX_READ_BYTES = 64 << 10
_START = b"HTTP/1.1 "  # of every answer
_LOOK_S = 0.25


class Connection:
    """Hypercorn makes and awaits one for each that it accepts."""

    def __init__(
        self,
        connections: Connections,
        app: AppWrapper,
        loop: asyncio.AbstractEventLoop,
        config: Config,
        context: WorkerContext,
        state: LifespanState,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
    ) -> None:
        self._connections = connections
        self._limits = connections.limits
        self._app = app
        self._loop = loop
        self._config = config
        self._context = context
        self._state = state
        self._reader = reader
        self._writer = writer
        self._outbox = Outbox(writer)
        self._protocol: Http1
        self._reading = asyncio.timeout(None)  # ended by `_stop_reading`
        self._patience: asyncio.TimerHandle | None = None  # for the head of the next request
        self._has_begun = False  # a part of that head is here
        self._is_busy = False  # with a request
        self._is_over = False  # nothing more is written
        self._num_told = 0  # bytes of the next answer that went ahead of it

    def __await__(self) -> Generator[Any]:
        return self.run().__await__()

    async def run(self) -> None:
        """Serve its requests, one after the other, until one of both sides ends it."""
        self._connections.follow(self._context)
        if not self._connections.enter(self):
            return await self._connections.refuse(self._reader, self._writer)
        try:
            await self._serve()
            self._outbox.flush()
            await closing.close(self._reader, self._writer)
        except OSError:
            self.abort()
        except asyncio.CancelledError:
            # At the server's end, which has waited long enough. asyncio would log it.
            self.abort()
        finally:
            self._allow(None)
            self._connections.leave(self)

    def end_unused(self) -> bool:
        """End it if it waits for a request, and none has come that was not read yet."""
        if self._is_busy or self._has_unread():
            return False
        self._end()
        return True

    def abort(self) -> None:
        self._writer.transport.abort()

    async def send(self, event: Event) -> None:
        """What the protocol has to say."""
        match event:
            case RawData():
                await self._write(event.data)
            case Closed():
                self._end()
            case Updated():
                self._is_busy = not event.idle
                self._has_begun = False
                self._allow(self._limits.keep_alive_s if event.idle else None)
                if event.idle:
                    self._connections.rest(self)

    async def _serve(self) -> None:
        socket = self._writer.get_extra_info("socket")
        client = parse_socket_addr(socket.family, socket.getpeername())
        server = parse_socket_addr(socket.family, socket.getsockname())
        async with TaskGroup(self._loop) as task_group:
            self._protocol = Http1(
                self._limits.keep_alive_s,
                self._app,
                self._config,
                self._context,
                task_group,
                ConnectionState(self._state),
                False,  # no TLS
                client,
                server,
                self.send,
            )
            self._allow(self._limits.header_timeout_s)
            try:
                async with self._reading:
                    await self._read()
            except OSError:  # as a TimeoutError is
                pass
            if self._has_begun and not self._is_over:
                await self._protocol.refuse(408)
            await self._protocol.handle(Closed())

    async def _read(self) -> None:
        while data := await self._reader.read(_MAX_READ_BYTES):
            if not self._is_busy and not self._has_begun:
                self._has_begun = True
                self._connections.wake(self)
                self._allow(self._limits.header_timeout_s)
            await self._protocol.handle(RawData(data))
        await self._protocol.handle(RawData(b""))
        if self._protocol.is_answering:
            await self._wait_for_departure()

    async def _wait_for_departure(self) -> None:
        """The client sends no more. Until it is gone, or its answer ends the reading.

        A client that closed its connection looks like one that only says it has no more to ask, and
        waits (RFC 9112, 9.6), until something is written to it: then the first one resets the
        connection. A stream writes anyway. Ahead of a whole answer go the letters that each answer
        begins with, one by one and more and more seldom, for half a minute.
        """
        for number in itertools.count():
            if self._writer.transport.is_closing() or self._is_reset():
                return self.abort()
            is_turn = number & (number - 1) == 0  # 0, 1, 2, 4, 8
            if is_turn and self._protocol.is_silent and self._num_told < len(_START):
                self._outbox.put(_START[self._num_told :][:1])
                self._num_told += 1
            await asyncio.sleep(_LOOK_S)

    async def _write(self, data: bytes) -> None:
        if self._is_over:
            return
        data, self._num_told = data[self._num_told :], 0
        if not self._outbox.put(data):
            return
        try:
            async with asyncio.timeout(self._limits.stall_limit_s):
                await self._outbox.drain()
        except TimeoutError:
            self.abort()
        except (ConnectionError, RuntimeError):
            await self._protocol.handle(Closed())

    def _allow(self, seconds: float | None) -> None:
        """Wait so long for the head of a request; None while there is one, or after the end."""
        if self._patience is not None:
            self._patience.cancel()
            self._patience = None
        if seconds is not None:
            self._patience = self._loop.call_later(seconds, self._lose_patience)

    def _lose_patience(self) -> None:
        # A first byte that has just come gets the time for its head; one byte more of it does not.
        if self._has_begun or not self._has_unread():
            self._stop_reading()

    def _end(self) -> None:
        """Nothing follows: the client is told at once, whatever else has to be tidied up here."""
        self._outbox.flush()
        self._is_over = True
        if not self._writer.transport.is_closing():
            try:
                self._writer.write_eof()
            except OSError:  # it is gone
                self.abort()
        self._stop_reading()

    def _stop_reading(self) -> None:
        try:
            self._reading.reschedule(self._loop.time())
        except RuntimeError:
            pass  # it has stopped

    def _has_unread(self) -> bool:
        """Bytes, or the end of them, that came since `_read` last looked."""
        transport = self._writer.transport
        if transport.is_closing():
            return False
        if self._reader._buffer:  # type: ignore[attr-defined]
            return True
        poll = select.poll()
        poll.register(transport.get_extra_info("socket"), select.POLLIN)
        return bool(poll.poll(0))

    def _is_reset(self) -> bool:
        socket = self._writer.get_extra_info("socket")
        return bool(socket.getsockopt(SOL_SOCKET, SO_ERROR))

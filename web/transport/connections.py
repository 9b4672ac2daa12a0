"""All connections of the port: how many there may be, which are idle, and their end."""

import asyncio
from dataclasses import dataclass
from typing import Protocol

from hypercorn.typing import WorkerContext

from . import refusal

_MAX_REFUSALS = 64  # at a time: each holds a file descriptor, for some seconds


@dataclass(frozen=True, slots=True)
class Limits:
    """Of connections, and of what one client may take; times in seconds."""

    max_connections: int = 512
    header_timeout_s: float = 10.0  # from the connection's begin, or a request's first byte
    keep_alive_s: float = 75.0  # between two requests
    stall_limit_s: float = 30.0  # of a client that takes nothing


class Member(Protocol):
    """A connection, as it is seen here."""

    def end_unused(self) -> bool:
        """End it, unless a request is there or has just come."""

    def abort(self) -> None:
        """Cut it, whatever goes on."""


class Connections:
    """What the connections of one server share."""

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        self._open: set[Member] = set()
        self._idle: dict[Member, float] = {}  # since when; who is idle the longest comes first
        self._num_refusals = 0
        self._ending: asyncio.Task[None] | None = None

    def enter(self, connection: Member) -> bool:
        """Take a place, to be given back by `leave`. False: all are taken."""
        if len(self._open) >= self.limits.max_connections and not self._make_room():
            return False
        self._open.add(connection)
        return True

    def leave(self, connection: Member) -> None:
        """Give its place back."""
        self._open.discard(connection)
        self._idle.pop(connection, None)

    def rest(self, connection: Member) -> None:
        """It has answered, and waits for its next request."""
        self._idle[connection] = asyncio.get_running_loop().time()

    def wake(self, connection: Member) -> None:
        """Its next request begins."""
        self._idle.pop(connection, None)

    async def refuse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Tell a client that all places are taken."""
        if self._num_refusals >= _MAX_REFUSALS:
            return refusal.refuse_at_once(writer, self.limits.max_connections)
        self._num_refusals += 1
        try:
            await refusal.refuse(reader, writer, self.limits.max_connections)
        finally:
            self._num_refusals -= 1

    def follow(self, context: WorkerContext) -> None:
        """Unused connections end with the server, at once."""
        if self._ending is None:
            self._ending = asyncio.create_task(self._end_unused(context))

    def abort_all(self) -> None:
        """Cut those that are left, whatever goes on."""
        for connection in list(self._open):
            connection.abort()

    def _make_room(self) -> bool:
        """A place of a connection that was idle for long; a pool in use keeps its own.

        For long is as long as a client may take to begin: whoever holds a place without a request
        for that time loses it when another one comes.
        """
        longest = next(iter(self._idle), None)
        if longest is None:
            return False
        idle_s = asyncio.get_running_loop().time() - self._idle[longest]
        if idle_s < self.limits.header_timeout_s or not longest.end_unused():
            return False
        self.leave(longest)
        return True

    async def _end_unused(self, context: WorkerContext) -> None:
        await context.terminated.wait()
        for connection in list(self._open):
            connection.end_unused()

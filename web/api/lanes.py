"""The streams of one socket. Those of a lane run one after the other, lanes beside each other.

A `stream_id` names a lane; streams without one share a lane of their own. Every stream ends with
exactly one last frame.
"""

import asyncio
from abc import ABC, abstractmethod
from typing import Self

import msgspec

from web.errors import ApiError, Failure, answer_to
from web.services import Services
from web.transport.frame import Frame
from web.transport.resumable import ResumableStream
from web.transport.socket import Message, Socket, StreamId

_MAX_STREAMS = 64  # of one socket, running and waiting


class Lanes:
    """Leaving it cancels all streams."""

    def __init__(self, socket: Socket, services: Services) -> None:
        self.socket = socket
        self.services = services
        self._streams: list[SocketStream] = []  # in the order of their coming
        self._locks: dict[str | None, asyncio.Lock] = {}

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        tasks = [stream.task for stream in self._streams if stream.task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def has(self, stream_id: str | None) -> bool:
        """Whether a stream of this lane runs or waits."""
        return any(stream.id == stream_id for stream in self._streams)

    async def start(self, stream: "SocketStream") -> None:
        """It runs when those before it in its lane are over; one too many is refused."""
        num_bytes = sum(other.num_bytes for other in self._streams) + stream.num_bytes
        limit_bytes = self.services.settings.max_body_bytes
        if len(self._streams) >= _MAX_STREAMS or num_bytes > limit_bytes:
            refusal = (
                f"At most {_MAX_STREAMS} streams of {limit_bytes} bytes together run or wait on "
                "one socket."
            )
            failure = Failure(429, refusal, "too_many_streams", headers={"Retry-After": "1"})
            return await self.socket.send_error(failure, stream.id)
        self._streams.append(stream)
        stream.task = asyncio.create_task(self._run(stream))
        self.socket.hold(stream.task)

    async def _run(self, stream: "SocketStream") -> None:
        try:
            await stream.run(self._locks.setdefault(stream.id, asyncio.Lock()))
        finally:
            self._streams.remove(stream)
            if not self.has(stream.id):
                self._locks.pop(stream.id, None)

    def cancel(self, stream_id: str | None) -> None:
        """Of several in a lane the first that is not over. Raises ApiError where there is none."""
        streams = [stream for stream in self._streams if stream.id == stream_id]
        if not streams:
            name = "without a stream_id" if stream_id is None else repr(stream_id)
            raise ApiError(
                404, f"No stream {name} is running.", param="stream_id", code="stream_not_found"
            )
        next((stream for stream in streams if not stream.is_over), streams[0]).cancel()

    def find(self, response_id: str) -> "SocketStream | None":
        """The stream that answers under this id."""
        return next((s for s in self._streams if s.answer_id == response_id), None)


class SocketStream(ABC):
    """One request on a socket, from its message to its last frame."""

    def __init__(self, socket: Socket, stream_id: str | None, num_bytes: int = 0) -> None:
        self.id = stream_id
        self.num_bytes = num_bytes
        self.task: asyncio.Task[None] | None = None
        self.answer_id: str | None = None
        self._socket = socket
        self._is_waiting = self._is_started = self._is_cancelled = self._is_ending = False

    @property
    def is_over(self) -> bool:
        """Whether its last frame is on its way."""
        return self._is_cancelled or self._is_ending

    def cancel(self) -> None:
        """By the client; answered by the last frame, which may be on its way already."""
        if self.is_over:
            return
        self._is_cancelled = True
        if self._is_started:
            self._cancel()
        elif self._is_waiting and self.task is not None:
            self.task.cancel()

    async def run(self, lane: asyncio.Lock) -> None:
        """Answer; whatever happens but the socket's end is told in the last frame."""
        self._is_waiting = True
        try:
            if not self._is_cancelled:
                async with lane:
                    self._is_started = True
                    return await self._answer()
        except asyncio.CancelledError:
            if self._is_started or not self._is_cancelled or self.task is None:
                raise
            self.task.uncancel()
        except Exception as error:
            self._is_ending = True
            failure = answer_to(error, self._socket.request_id)
            return await self._socket.send_error(failure, self.id)
        try:
            await self._send_cancelled()
        except Exception as error:
            await self._socket.send_error(answer_to(error, self._socket.request_id), self.id)

    @abstractmethod
    async def _answer(self) -> None:
        """All frames to the last one. What it raises is told as the last one."""

    @abstractmethod
    def _cancel(self) -> None:
        """Make `_answer` come to its end soon."""

    @abstractmethod
    async def _send_cancelled(self) -> None:
        """The last frame of one that was cancelled before it began."""

    async def _send(self, frame: Frame) -> None:
        await self._socket.send(named(frame.body, self.id))


class AskedStream(SocketStream):
    """One that its message asks for."""

    def __init__(self, lanes: Lanes, message: Message, body: bytes) -> None:
        super().__init__(lanes.socket, message.stream_id, len(body))
        self._body = body
        self._services = lanes.services
        self._wants_progress = lanes.socket.wants_progress or "progress" in (message.events or ())


class ResumeMessage(msgspec.Struct):
    """A client that comes back: `after` is the number of the last event that it has."""

    resume_token: str
    after: int = -1
    stream_id: StreamId | None = None


class ResumedStream(SocketStream):
    """A stream that goes on where another connection, or this one, follows it."""

    def __init__(
        self, socket: Socket, stream_id: str | None, stream: ResumableStream, after: int = -1
    ) -> None:
        super().__init__(socket, stream_id)
        self.answer_id = stream.name
        self._stream = stream
        self._after = after

    async def _answer(self) -> None:
        await follow(self._socket, self.id, self._stream, self._after)

    def _cancel(self) -> None:
        self._stream.cancel()

    async def _send_cancelled(self) -> None:
        self._stream.cancel()
        await self._answer()


async def resume(lanes: Lanes, kind: str, message: ResumeMessage) -> None:
    """Begin to follow a stream of this kind in a lane: the one it had, if none is named."""
    stream = lanes.services.streams.find(message.resume_token, kind)
    stream_id = message.stream_id if message.stream_id is not None else stream.stream_id
    if lanes.has(stream_id):
        raise ApiError(
            400, f"Stream {stream_id!r} is still running here; choose another stream_id.",
            param="stream_id", code="stream_id_in_use",
        )  # fmt: skip
    await lanes.start(ResumedStream(lanes.socket, stream_id, stream, message.after))


async def follow(
    socket: Socket, stream_id: str | None, stream: ResumableStream, after: int = -1
) -> None:
    """Send what a journal has behind this number, and what comes, to the end."""
    with stream.read(lambda: socket.is_lost) as journal:
        async for frames in journal.follow(after):
            for frame in frames:
                await socket.send(named(frame.body, stream_id))


def named(body: bytes, stream_id: str | None) -> bytes:
    """A JSON object with the stream's id."""
    if stream_id is None:
        return body
    return b'{"stream_id":' + msgspec.json.encode(stream_id) + b"," + body[1:]

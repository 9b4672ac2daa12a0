"""Streams that outlive their connection: each has a token, for whoever comes back with it.

A connection that is lost, without a word of the client, starts a time of grace, in which the stream
goes on into a journal. A client that says it leaves ends it at once.
"""

import asyncio
import secrets
from collections.abc import AsyncGenerator, Callable, Iterator
from contextlib import aclosing, contextmanager

from web.errors import ApiError

from .frame import Frame
from .journal import Journal

_MAX_KEPT_BYTES = 128 << 20  # of streams that are over
_MAX_KEPT = 1024
_CLOSE_S = 5.0


class ResumableStream:
    """A journal, whoever writes it, and its readers."""

    def __init__(
        self,
        streams: "ResumableStreams",
        stream_id: str | None,
        cancel: Callable[[], None],
        *,
        name: str | None,
        outlives_readers: bool,
    ) -> None:
        """`cancel` makes the frames come to their end soon; it is called when nobody will come
        back, but not for one that outlives its readers."""
        self.token = f"rt_{secrets.token_urlsafe(24)}"
        self.stream_id = stream_id
        self.name = name
        self.journal = Journal()
        self.cancel = cancel
        self._streams = streams
        self._outlives_readers = outlives_readers
        self._num_readers = 0
        self._grace: asyncio.TimerHandle | None = None

    @property
    def is_idle(self) -> bool:
        """Whether it is over and nobody reads it."""
        return self.journal.is_closed and not self._num_readers

    def write(self, frames: AsyncGenerator[Frame, None]) -> None:
        """Begin: all of them go into the journal, which is kept for a while behind the last."""
        writer = asyncio.create_task(self._write(frames))
        self._streams.writers.add(writer)
        writer.add_done_callback(self._streams.writers.discard)

    async def _write(self, frames: AsyncGenerator[Frame, None]) -> None:
        try:
            async with aclosing(frames):
                async for frame in frames:
                    self.journal.append(frame)
        finally:
            self.journal.close()
            if not self._num_readers and self._grace is None:
                self._wait()

    @contextmanager
    def read(self, was_lost: Callable[[], bool] = lambda: True) -> Iterator[Journal]:
        """Held by a reader; `was_lost` is asked at the end: whether its client said nothing."""
        self._num_readers += 1
        if self._grace is not None:
            self._grace.cancel()
            self._grace = None
        try:
            yield self.journal
        finally:
            self._num_readers -= 1
            if not self._num_readers:
                if self.journal.is_closed or self._outlives_readers or was_lost():
                    self._wait()
                else:
                    self._expire()

    def _wait(self) -> None:
        if self.journal.is_closed or not self._outlives_readers:
            loop = asyncio.get_running_loop()
            self._grace = loop.call_later(self._streams.grace_s, self._expire)

    def _expire(self) -> None:
        self._streams.forget(self)
        if not self.journal.is_closed:
            self.cancel()


class ResumableStreams:
    """All that can be come back to."""

    def __init__(self, grace_s: float) -> None:
        self.grace_s = grace_s
        self._by_token: dict[str, ResumableStream] = {}
        self._by_name: dict[str, ResumableStream] = {}
        self.writers: set[asyncio.Task[None]] = set()

    def open(
        self,
        cancel: Callable[[], None],
        stream_id: str | None = None,
        *,
        name: str | None = None,
        outlives_readers: bool = False,
    ) -> ResumableStream:
        """A new one, to be written; the oldest that are over make room for it."""
        self._make_room()
        stream = ResumableStream(
            self, stream_id, cancel, name=name, outlives_readers=outlives_readers
        )
        self._by_token[stream.token] = stream
        if name is not None:
            self._by_name[name] = stream
        return stream

    def __len__(self) -> int:
        return len(self._by_token)

    def find(self, token: str) -> ResumableStream:
        """Raises ApiError for one that is foreign, or that nobody came back to in time."""
        if (stream := self._by_token.get(token)) is None:
            raise ApiError(
                404, "No stream is kept under this resume_token: it is none of this server's, or "
                f"nobody came back within {self.grace_s:g} s.",
                param="resume_token", code="resume_token_not_found",
            )  # fmt: skip
        return stream

    def named(self, name: str) -> ResumableStream | None:
        """The one that was opened under this name, while it is kept."""
        return self._by_name.get(name)

    def forget(self, stream: ResumableStream) -> None:
        """Nobody can come back to it."""
        self._by_token.pop(stream.token, None)
        if stream.name is not None:
            self._by_name.pop(stream.name, None)

    async def close(self) -> None:
        """Wait for what is still written: answers that the drain has ended."""
        if self.writers:
            await asyncio.wait(self.writers, timeout=_CLOSE_S)

    def _make_room(self) -> None:
        over = [stream for stream in self._by_token.values() if stream.is_idle]
        num_bytes = sum(stream.journal.num_bytes for stream in over)
        for stream in over:
            if num_bytes <= _MAX_KEPT_BYTES and len(self._by_token) < _MAX_KEPT:
                break
            num_bytes -= stream.journal.num_bytes
            self.forget(stream)

"""Streams that outlive their connection: each has a token, for whoever comes back with it.

A connection that is lost, without a word of the client, starts a time of grace, in which the stream
goes on into a journal. A client that says it leaves ends it at once.
"""

import asyncio
import secrets
from collections.abc import AsyncGenerator, Callable, Iterator
from contextlib import aclosing, contextmanager

from web.errors import ApiError

from .frame import Frames
from .journal import Journal

_MAX_KEPT_BYTES = 128 << 20  # of streams that are over
_MAX_KEPT = 1024
_CLOSE_S = 5.0


class ResumableStream:
    """A journal, whoever writes it, and its readers."""

    def __init__(
        self,
        streams: "ResumableStreams",
        cancel: Callable[[], None],
        kind: str,
        stream_id: str | None,
        name: str | None,
        *,
        outlives_readers: bool,
    ) -> None:
        self.token = f"rt_{secrets.token_urlsafe(24)}"
        self.cancel = cancel
        self.kind = kind
        self.stream_id = stream_id
        self.name = name
        self.journal = Journal()
        self._streams = streams
        self._outlives_readers = outlives_readers
        self._readers: list[object] = []  # in the order of their coming
        self._grace: asyncio.TimerHandle | None = None

    @property
    def is_idle(self) -> bool:
        """Whether it is over and nobody reads it."""
        return self.journal.is_closed and not self._readers

    def write(self, frames: AsyncGenerator[Frames, None]) -> None:
        """Begin: all of them go into the journal, which is kept for a while behind the last."""
        writer = asyncio.create_task(self._write(frames))
        self._streams.writers.add(writer)
        writer.add_done_callback(self._streams.writers.discard)
        self._wait()  # its first reader may be gone before it comes

    async def _write(self, frames: AsyncGenerator[Frames, None]) -> None:
        try:
            async with aclosing(frames):
                async for some in frames:
                    for frame in some:
                        self.journal.append(frame)
        finally:
            self.journal.close()
            if not self._readers and self._grace is None:
                self._wait()
            self._streams.make_room()

    @contextmanager
    def read(self, was_lost: Callable[[], bool] = lambda: True) -> Iterator[Journal]:
        """Held by a reader; `was_lost` is asked at the end: whether its client said nothing.

        Who came last is the client: if that one says it leaves, another connection of it, whose end
        was not seen yet, keeps nothing alive.
        """
        reader = object()
        self._readers.append(reader)
        self.stop_waiting()
        try:
            yield self.journal
        finally:
            is_last = self._readers[-1] is reader
            self._readers.remove(reader)
            if is_last and not (self.journal.is_closed or self._outlives_readers or was_lost()):
                self._expire()
            elif not self._readers:
                self._wait()

    def _wait(self) -> None:
        """For a reader to come, or to come back."""
        if self.journal.is_closed or not self._outlives_readers:
            loop = asyncio.get_running_loop()
            self._grace = loop.call_later(self._streams.grace_s, self._expire)

    def stop_waiting(self) -> None:
        """A reader is there, or nobody can come."""
        if self._grace is not None:
            self._grace.cancel()
            self._grace = None

    def _expire(self) -> None:
        self._streams.forget(self)
        if not self.journal.is_closed:
            self.cancel()


class ResumableStreams:
    """All that can be come back to."""

    def __init__(self, grace_s: float) -> None:
        self.grace_s = grace_s
        self.writers: set[asyncio.Task[None]] = set()
        self._by_token: dict[str, ResumableStream] = {}
        self._by_name: dict[str, ResumableStream] = {}

    def open(
        self,
        cancel: Callable[[], None],
        kind: str,
        stream_id: str | None = None,
        *,
        name: str | None = None,
        outlives_readers: bool = False,
    ) -> ResumableStream:
        """A new one, to be written; the oldest that are over make room for it.

        `cancel` makes its frames come to their end soon; it is called when nobody will come back,
        but not for one that outlives its readers. `kind` are streams with frames alike.
        """
        self.make_room()
        stream = ResumableStream(
            self, cancel, kind, stream_id, name, outlives_readers=outlives_readers
        )
        self._by_token[stream.token] = stream
        if name is not None:
            self._by_name[name] = stream
        return stream

    def __len__(self) -> int:
        return len(self._by_token)

    def find(self, token: str, kind: str) -> ResumableStream:
        """Raises ApiError for one that is foreign, or that nobody came back to in time."""
        stream = self._by_token.get(token)
        if stream is None or stream.kind != kind:
            raise ApiError(
                404, "No stream is kept under this resume_token: it is none of this socket's kind, "
                f"or nobody came back within {self.grace_s:g} s.",
                param="resume_token", code="resume_token_not_found",
            )  # fmt: skip
        return stream

    def named(self, name: str) -> ResumableStream | None:
        """The one that was opened under this name, while it is kept."""
        return self._by_name.get(name)

    def forget(self, stream: ResumableStream) -> None:
        """Nobody can come back to it."""
        stream.stop_waiting()
        self._by_token.pop(stream.token, None)
        if stream.name is not None:
            self._by_name.pop(stream.name, None)

    def make_room(self) -> None:
        """Of those that are over and not read the oldest go, where they are too many."""
        over = [stream for stream in self._by_token.values() if stream.is_idle]
        num_bytes = sum(stream.journal.num_bytes for stream in over)
        for stream in over:
            if num_bytes <= _MAX_KEPT_BYTES and len(self._by_token) < _MAX_KEPT:
                break
            num_bytes -= stream.journal.num_bytes
            self.forget(stream)

    async def close(self) -> None:
        """Wait for what is still written: answers that the drain has ended."""
        if self.writers:
            await asyncio.wait(self.writers, timeout=_CLOSE_S)
        for stream in list(self._by_token.values()):
            self.forget(stream)

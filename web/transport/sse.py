"""Server-sent events as bytes, and signs of life while nothing happens.

Verified with the SDKs: heartbeats are comments, `id:` and `retry:` lines are never used, and an
error is `event: error` with a top-level `error` object (reference: WHATWG HTML, 9.2).
"""

import asyncio
from collections.abc import AsyncGenerator, Callable
from typing import Any

from quart import Response

from .encoding import encode
from .frame import Frame, Frames

_HEADERS = {
    "Content-Type": "text/event-stream; charset=utf-8",
    "Cache-Control": "no-cache",
    "X-Accel-Buffering": "no",
}
DONE = b"data: [DONE]\n\n"
HEARTBEAT = b": keep-alive\n\n"


RESTARTED = b": restarted\n\n"  # the engine died, and a new one goes on


def event(frame: Frame) -> bytes:
    """One event; its name only where the wire has names."""
    if frame.name is None:
        return b"data: " + frame.body + b"\n\n"
    return b"event: " + frame.name.encode() + b"\ndata: " + frame.body + b"\n\n"


def events(frames: Frames) -> bytes:
    """Some that leave together: one piece costs the server as much as several events."""
    return b"".join([event(frame) for frame in frames])


def data(value: Any) -> bytes:
    """One event with a compact JSON value."""
    return b"data: " + encode(value) + b"\n\n"


def error(body: Any) -> bytes:
    """The event that ends a stream which failed; official SDKs raise it."""
    return b"event: error\ndata: " + encode(body) + b"\n\n"


def reply(
    pieces: AsyncGenerator[bytes, None],
    heartbeat_s: float,
    heartbeat: Callable[[], bytes] = lambda: HEARTBEAT,
) -> Response:
    """A response that streams these pieces, for as long as it takes."""
    response = Response(with_heartbeat(pieces, heartbeat_s, heartbeat), headers=_HEADERS)
    response.timeout = None  # Quart's own would cut it after a minute
    return response


async def with_heartbeat(
    pieces: AsyncGenerator[bytes, None], interval_s: float, heartbeat: Callable[[], bytes]
) -> AsyncGenerator[bytes, None]:
    """The pieces, and a heartbeat whenever none came for `interval_s` of wall-clock time."""
    pending: asyncio.Future[bytes] | None = None
    try:
        while True:
            if pending is None:
                pending = asyncio.ensure_future(anext(pieces))
            # Not `wait_for`: at its time-out it would cancel the generator, which ends it for good.
            done, _ = await asyncio.wait({pending}, timeout=interval_s)
            if not done:
                yield heartbeat()
                continue
            try:
                piece = pending.result()
            except StopAsyncIteration:
                return
            pending = None
            yield piece
    finally:
        if pending is not None:
            pending.cancel()
            await asyncio.wait({pending})
        await pieces.aclose()

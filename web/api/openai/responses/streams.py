"""Responses as server-sent events: once, followed by who may come back, or told again."""

from collections.abc import AsyncGenerator
from contextlib import aclosing

import msgspec
from quart import Response, g

from web.dialect import OPENAI
from web.errors import ApiError, answer_to
from web.services import Services
from web.transport import sse
from web.transport.frame import Frame
from web.transport.resumable import ResumableStream

from .run import Run, Runs, not_found

_AT_ONCE = 64  # events that are told again


async def direct(run: Run, services: Services) -> Response:
    """A client that leaves ends it."""
    frames = run.frames()
    # Now it is under way: should the client be gone already, dropping it ends the answer.
    first = await anext(frames)

    async def pieces() -> AsyncGenerator[bytes, None]:
        async with aclosing(frames):
            yield sse.events(first)
            async for some in frames:
                yield sse.events(some)
        yield sse.DONE

    def heartbeat() -> bytes:
        frame = run.heartbeat()
        return sse.HEARTBEAT if frame is None else sse.event(frame)

    return sse.reply(pieces(), services.settings.heartbeat_s, heartbeat)


def followed(
    stream: ResumableStream, services: Services, after: int = -1, param: str = "after"
) -> Response:
    """A client that leaves may come back. Raises ApiError that names `param`."""
    stream.journal.check(after, param)
    request_id = g.request_id

    async def pieces() -> AsyncGenerator[bytes, None]:
        with stream.read() as journal:
            try:
                async with aclosing(journal.follow(after)) as followed:
                    async for frames in followed:
                        yield sse.events(frames)
                yield sse.DONE
            except ApiError as error:  # it was so slow that what it had to read is dropped
                yield sse.error(answer_to(error, request_id).body(OPENAI))

    return sse.reply(pieces(), services.settings.heartbeat_s)


async def again(response_id: str, after: int, services: Services, runs: Runs) -> Response:
    """What its stream told behind this number, and goes on to tell. Raises ApiError."""
    if (stream := services.streams.named(response_id)) is not None:
        return followed(stream, services, after, "starting_after")
    if runs.find(response_id) is None and await services.archive.body(response_id) is None:
        raise not_found(response_id)
    events = await services.archive.events(response_id)
    if events is None:
        raise ApiError(
            400, "The stream of this response was not kept: that is so for those that are created "
            "with 'background' or 'resumable', and end within bounds.",
            param="stream",
        )  # fmt: skip
    if after >= len(events):
        raise ApiError(
            400, f"There is no event {after}; the last one is {len(events) - 1}.",
            param="starting_after",
        )  # fmt: skip
    return sse.reply(_stored(events[after + 1 :]), services.settings.heartbeat_s)


class _Named(msgspec.Struct):
    type: str


async def _stored(events: list[bytes]) -> AsyncGenerator[bytes, None]:
    for begin in range(0, len(events), _AT_ONCE):
        yield sse.events([_frame(event) for event in events[begin : begin + _AT_ONCE]])
    yield sse.DONE


def _frame(event: bytes) -> Frame:
    return Frame(event, msgspec.json.decode(event, type=_Named).type)

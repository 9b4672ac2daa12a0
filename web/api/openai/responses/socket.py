"""Responses over a WebSocket: each message `response.create` begins one, in the lane it names.

What is not stored belongs to the connection: the next request on it may go on from there. The
events of a client are OpenAI's; `response.cancel` and `resume` are ours.
"""

from collections.abc import Iterable
from contextlib import aclosing

import msgspec
from quart import Blueprint, websocket

from registry.checkpoint.config import Json
from runtime.errors import Cancelled
from web.api.lanes import AskedStream, Lanes, ResumeMessage, follow, resume
from web.dialect import Dialect
from web.door.body import decode
from web.errors import ApiError
from web.services import Services
from web.transport.encoding import encode
from web.transport.frame import Frame
from web.transport.socket import Message, Socket, StreamId

from .body import ResponseBody
from .history import ConnectionMemory, History
from .request import read
from .run import Run, Runs

KIND = "responses"  # of streams: they are alike in both dialects


def blueprint(dialect: Dialect, services: Services, runs: Runs) -> Blueprint:
    """The socket of one dialect."""
    routes = Blueprint(f"{dialect.name}-responses-socket", __name__, url_prefix=dialect.base)

    @routes.websocket("/responses")
    async def responses_socket() -> None:
        await services.sockets.serve(
            websocket, dialect, lambda socket: ResponseChannel(socket, services, runs)
        )

    return routes


class NamedMessage(msgspec.Struct):
    """What a request goes on from."""

    previous_response_id: str | None = None


class CancelMessage(msgspec.Struct):
    """Which response: by its id, or the first of a lane."""

    response_id: str | None = None
    stream_id: StreamId | None = None


class SteerMessage(msgspec.Struct):
    """More input for a response under way."""

    previous_response_id: str | None = None
    input: Json = None


class ResponseChannel(Lanes):
    """The responses of one socket."""

    def __init__(self, socket: Socket, services: Services, runs: Runs) -> None:
        super().__init__(socket, services)
        self.runs = runs
        self.memory = ConnectionMemory()

    async def receive(self, message: Message, body: bytes) -> None:
        """See `web.transport.socket.Channel`."""
        match message.type:
            case "response.create":
                await self.start(ResponseStream(self, message, body))
            case "response.cancel":
                self._cancel(decode(body, CancelMessage))
            case "response.steer":
                await self._refuse_steer(decode(body, SteerMessage))
            case "resume":
                await resume(self, KIND, decode(body, ResumeMessage))
            case _:
                raise ApiError(
                    400,
                    f"'type' is {message.type[:100]!r}; this socket knows response.create, "
                    "response.cancel and resume.",
                    param="type",
                )

    def _cancel(self, message: CancelMessage) -> None:
        if message.response_id is None:
            return self.cancel(message.stream_id)
        if (stream := self.find(message.response_id)) is None:
            raise ApiError(
                404, f"No response {message.response_id[:100]!r} is under way on this socket.",
                param="response_id", code="response_not_found",
            )  # fmt: skip
        stream.cancel()

    async def _refuse_steer(self, message: SteerMessage) -> None:
        """A prompt that was read cannot be added to."""
        steer: dict[str, Json] = {
            "previous_response_id": message.previous_response_id, "input": message.input
        }  # fmt: skip
        error: dict[str, Json] = {
            "type": "invalid_request_error",
            "code": "steering_not_supported",
            "message": "A response under way takes no more input; create another one behind it.",
        }
        told = {"type": "response.steer.failed", "sequence_number": 0, "steer": steer}
        await self.socket.send(encode(told | {"error": error}))


class ResponseStream(AskedStream):
    """A response on its socket."""

    def __init__(self, channel: ResponseChannel, message: Message, body: bytes) -> None:
        super().__init__(channel, message, body)
        self._runs = channel.runs
        self._memory = channel.memory
        self._run: Run | None = None

    async def _answer(self) -> None:
        try:
            run = await self._read()
            try:
                await run.begin()
            except Cancelled:
                return await self._send_all(run.never_begun())
        except Exception:  # what it was to go on from is not kept for another try
            named = decode(self._body, NamedMessage)
            if named.previous_response_id is not None:
                self._memory.evict(named.previous_response_id)
            raise
        self._body = b""
        if run.request.body.resumable:
            return await follow(self._socket, self.id, run.outlive(KIND, self.id))
        async with aclosing(run.frames()) as frames:
            async for some in frames:
                await self._send_all(some)

    async def _read(self) -> Run:
        body = decode(self._body, ResponseBody)
        if body.background:
            raise ApiError(
                400, "'background' is for HTTP; on a socket a response may be 'resumable'.",
                param="background", code="unsupported_parameter",
            )  # fmt: skip
        body.stream = True  # there is no other way here
        history = History(self._services.archive, self._memory)
        asked = await read(self._services, body, self._socket.headers, history)
        self._run = run = Run(
            self._runs, self._services, asked, self._socket.request_id, self._memory,
            tells_progress=self._wants_progress,
        )  # fmt: skip
        self.answer_id = run.response.id
        if self._is_cancelled:
            run.cancel()
        return run

    def _cancel(self) -> None:
        if self._run is not None:
            self._run.cancel()

    async def _send_cancelled(self) -> None:
        await self._send_all((await self._read()).never_begun())

    async def _send_all(self, frames: Iterable[Frame]) -> None:
        for frame in frames:
            await self._send(frame)

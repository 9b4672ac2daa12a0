"""Chats over a WebSocket: many at once on one socket, each cancelled by a message.

The wire is ours (no API of OpenAI's chats over sockets), in the manner of their Responses socket:
a `stream_id` names a stream on every frame of it. Creates without one share a lane and run one
after the other. Every stream ends with exactly one frame, `chat.completion.done` or `error`;
an error that names no stream ends none.
"""

import asyncio
import contextlib

from quart import Blueprint, websocket

from registry.checkpoint.config import Json
from runtime.events import Event, Loading, Prefill, Queued, Restarted, Usage
from web.api.answering import follow_all
from web.dialect import Dialect
from web.door.body import decode
from web.errors import ApiError, Failure, answer_to
from web.services import Services
from web.serving import servable
from web.transport.encoding import encode
from web.transport.socket import Message, Socket

from .chat import rendering_of
from .chat_answer import ChatAnswer
from .chat_body import ChatBody, generation_request
from .usage import usage_of

_MAX_STREAMS = 64  # of one socket, running and waiting


def blueprint(dialect: Dialect, services: Services) -> Blueprint:
    """The socket of one dialect."""
    routes = Blueprint(f"{dialect.name}-chat-socket", __name__, url_prefix=dialect.base)

    @routes.websocket("/chat/completions")
    async def chat_socket() -> None:
        await services.sockets.serve(
            websocket, dialect, lambda socket: ChatChannel(socket, services)
        )

    return routes


class ChatChannel:
    """The streams of one socket. Leaving it cancels them all."""

    def __init__(self, socket: Socket, services: Services) -> None:
        self._socket = socket
        self._services = services
        self._streams: list[ChatStream] = []  # in the order of their coming
        self._default_lane = asyncio.Lock()

    async def __aenter__(self) -> "ChatChannel":
        return self

    async def __aexit__(self, *_: object) -> None:
        tasks = [stream.task for stream in self._streams if stream.task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def receive(self, message: Message, body: bytes) -> None:
        """See `socket.Channel`."""
        match message.type:
            case "chat.completion.create":
                await self._create(message, body)
            case "chat.completion.cancel":
                self._running(message.stream_id).cancel()
            case _:
                raise ApiError(
                    400,
                    f"'type' is {message.type[:100]!r}; this socket knows chat.completion.create "
                    "and chat.completion.cancel.",
                    param="type",
                )

    async def _create(self, message: Message, body: bytes) -> None:
        stream_id = message.stream_id
        if stream_id is not None and any(s.id == stream_id for s in self._streams):
            raise ApiError(
                400, f"Stream {stream_id!r} is still running; choose another stream_id.",
                param="stream_id", code="stream_id_in_use",
            )  # fmt: skip
        num_bytes = sum(stream.num_bytes for stream in self._streams) + len(body)
        limit = self._services.settings.max_body_bytes
        if len(self._streams) >= _MAX_STREAMS or num_bytes > limit:
            refusal = (
                f"At most {_MAX_STREAMS} streams of {limit} bytes together run or wait on one "
                "socket."
            )
            failure = Failure(429, refusal, "too_many_streams", headers={"Retry-After": "1"})
            return await self._socket.send_error(failure, stream_id)
        wants_progress = self._socket.wants_progress or "progress" in (message.events or ())
        stream = ChatStream(stream_id, body, self._socket, wants_progress)
        self._streams.append(stream)
        stream.task = asyncio.create_task(self._run(stream))

    async def _run(self, stream: "ChatStream") -> None:
        try:
            # Streams of the default lane run one after the other; a named one waits for nobody.
            lane = self._default_lane if stream.id is None else contextlib.nullcontext()
            await stream.run(self._services, lane)
        finally:
            self._streams.remove(stream)

    def _running(self, stream_id: str | None) -> "ChatStream":
        streams = [stream for stream in self._streams if stream.id == stream_id]
        if streams:  # several in the default lane: the first one that is not cancelled yet
            return next((s for s in streams if not s.is_over), streams[0])
        name = "without a stream_id" if stream_id is None else repr(stream_id)
        raise ApiError(
            404, f"No stream {name} is running.", param="stream_id", code="stream_not_found"
        )


class ChatStream:
    """One request on the socket, from its message to its last frame."""

    def __init__(
        self, stream_id: str | None, body: bytes, socket: Socket, wants_progress: bool
    ) -> None:
        self.id = stream_id
        self.num_bytes = len(body)
        self.task: asyncio.Task[None] | None = None
        self._body = body
        self._socket = socket
        self._wants_progress = wants_progress
        self._names: dict[str, Json] = {} if stream_id is None else {"stream_id": stream_id}
        self._answers: ChatAnswer | None = None
        self._is_started = self._is_cancelled = self._is_ending = False

    @property
    def is_over(self) -> bool:
        """Whether its last frame is on its way."""
        return self._is_cancelled or self._is_ending

    def cancel(self) -> None:
        """By the client; answered by the last frame, which may be on its way already."""
        if not self.is_over:
            self._is_cancelled = True
            if self._is_started and self.task is not None:
                self.task.cancel()

    async def run(
        self, services: Services, lane: contextlib.AbstractAsyncContextManager[None]
    ) -> None:
        """Answer; whatever happens but the socket's end is told in the last frame."""
        self._is_started = True
        try:
            if not self._is_cancelled:
                async with lane:
                    return await self._answer(services)
        except asyncio.CancelledError:
            if not self._is_cancelled or self.task is None:
                raise
            self.task.uncancel()
        except Exception as error:
            self._is_ending = True
            failure = answer_to(error, self._socket.request_id)
            return await self._socket.send_error(failure, self.id)
        await self._send_done()

    async def _answer(self, services: Services) -> None:
        body = decode(self._body, ChatBody)
        body.stream = True  # there is no other way here
        self._body = b""
        model = servable(services.store, body.model)
        request = generation_request(body, self._socket.headers)
        answers = rendering_of(self._socket.dialect, services, model.id, body)
        self._answers = answers
        head = encode({"type": "chat.completion.chunk", **self._names})[:-1] + b","
        send = self._socket.send
        async with contextlib.AsyncExitStack() as stack:
            generations = await services.pool.begin_all(model, request)
            for generation in generations:
                await stack.enter_async_context(generation)
            is_first = True
            async for number, event in follow_all(generations):
                answers.answers[number].add(event)
                if self._wants_progress and (frame := self._progress(event)):
                    await send(frame)
                if is_first:
                    is_first = False
                    for chunk in answers.begin(len(generation.prompt)):
                        await send(head + chunk.body[1:])
                self._is_ending = answers.is_whole  # a cancel comes too late
                for chunk in answers.frames(number, event):
                    await send(head + chunk.body[1:])
            for chunk in answers.end():
                await send(head + chunk.body[1:])
        await self._send_done()

    def _progress(self, event: Event) -> bytes | None:
        match event:
            case Queued(position):
                told: dict[str, Json] = {"stage": "queued", "position": position}
            case Loading(loaded, total):
                told = {"stage": "loading", "progress": round(event.fraction, 4)}
                told |= {"loaded_bytes": loaded, "total_bytes": total}
            case Prefill(_, done, total, cached):
                told = {"stage": "prefill", "progress": round(done / total, 4)}
                told |= {"done": done, "total": total, "cached": cached}
            case Restarted(reason, num_tokens):
                told = {"stage": "restarted", "reason": reason, "tokens": num_tokens}
            case _:
                return None
        return encode({"type": "progress", **self._names, **told})

    async def _send_done(self) -> None:
        """The last frame; of answers that were cancelled if they are not whole."""
        self._is_ending = True
        answers = self._answers
        frame: dict[str, Json] = {"type": "chat.completion.done", **self._names}
        frame["id"] = answers.id if answers else None
        if answers is not None and answers.is_whole:
            frame |= answers.ending()
        else:
            usages = [answer.usage for answer in answers.answers] if answers else [Usage(0, 0)]
            frame |= {"finish_reason": None, "cancelled": True, "usage": usage_of(usages)}
        await self._socket.send(encode(frame))

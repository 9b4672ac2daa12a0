"""Chats over a WebSocket: many at once on one socket, each cancelled by a message.

The wire is ours (no API of OpenAI's chats over sockets), in the manner of their Responses socket:
a `stream_id` names a stream on every frame of it. Creates without one share a lane and run one
after the other. Every stream ends with exactly one frame, `chat.completion.done` or `error`;
an error that names no stream ends none.
"""

import asyncio
import contextlib

import msgspec
from quart import Blueprint, websocket

from registry.checkpoint.config import Json
from registry.store.store import Store
from runtime.events import Event, Finished, Loading, Prefill, Queued, Restarted, TextDelta, Usage
from runtime.pool import ModelPool
from web.dialect import Dialect
from web.door.body import decode
from web.errors import ApiError, Failure, answer_to
from web.serving import servable
from web.settings import WebSettings
from web.transport.encoding import encode
from web.transport.socket import Message, Socket, Sockets

from .chat import completion_of
from .completion import Completion, Envelope, rate, usage_of
from .schema import ChatBody, generation_request, priority_of

_MAX_STREAMS = 64  # of one socket, running and waiting


def blueprint(
    dialect: Dialect, settings: WebSettings, pool: ModelPool, store: Store, sockets: Sockets
) -> Blueprint:
    """The socket of one dialect."""
    routes = Blueprint(f"{dialect.name}-chat-socket", __name__, url_prefix=dialect.base)

    @routes.websocket("/chat/completions")
    async def chat_socket() -> None:
        await sockets.serve(
            websocket, dialect, lambda socket: ChatChannel(socket, settings, pool, store)
        )

    return routes


class ChatChannel:
    """The streams of one socket. Leaving it cancels them all."""

    def __init__(
        self, socket: Socket, settings: WebSettings, pool: ModelPool, store: Store
    ) -> None:
        self._socket = socket
        self._settings = settings
        self._pool = pool
        self._store = store
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
        if len(self._streams) >= _MAX_STREAMS or num_bytes > self._settings.max_body_bytes:
            refusal = (
                f"At most {_MAX_STREAMS} streams of {self._settings.max_body_bytes} bytes together "
                "run or wait on one socket."
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
            await stream.run(self._pool, self._store, lane)
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
        self._completion: Completion | None = None
        self._usage = Usage(0, 0)  # as far as it has come
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
        self, pool: ModelPool, store: Store, lane: contextlib.AbstractAsyncContextManager[None]
    ) -> None:
        """Answer; whatever happens but the socket's end is told in the last frame."""
        self._is_started = True
        try:
            if not self._is_cancelled:
                async with lane:
                    return await self._answer(pool, store)
        except asyncio.CancelledError:
            if not self._is_cancelled or self.task is None:
                raise
            self.task.uncancel()
        except Exception as error:
            self._is_ending = True
            failure = answer_to(error, self._socket.request_id)
            return await self._socket.send_error(failure, self.id)
        await self._send_done(None)

    async def _answer(self, pool: ModelPool, store: Store) -> None:
        body = decode(self._body, ChatBody)
        body.stream = True  # there is no other way here
        self._body = b""
        model = servable(store, body.model)
        body.model = model.id  # which the answer tells
        body.priority = priority_of(body.priority, self._socket.headers)
        request = generation_request(body)
        head = encode({"type": "chat.completion.chunk", **self._names})[:-1] + b","
        dialect = self._socket.dialect
        completion = completion_of(dialect, pool, body, Envelope(head, b"}"))
        self._completion = completion
        send = self._socket.send
        async with await pool.begin(model, request) as generation:
            is_first = True
            async for event in generation.follow():
                if self._wants_progress and (frame := self._progress(event)):
                    await send(frame)
                if is_first:
                    is_first = False
                    await send(completion.first_chunk())
                self._note(event)
                for chunk in completion.chunks(event):
                    await send(chunk)
                if isinstance(event, Finished):
                    await self._send_done(event)

    def _note(self, event: Event) -> None:
        """For the usage of an answer that is cancelled."""
        match event:
            case TextDelta(_, _, tokens):
                num_tokens = self._usage.completion_tokens + len(tokens)
                self._usage = msgspec.structs.replace(self._usage, completion_tokens=num_tokens)
            case Prefill(_, done, _, cached) if not self._usage.completion_tokens:
                self._usage = Usage(done, 0, cached)
            case Finished():
                self._is_ending = True  # a cancel comes too late

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

    async def _send_done(self, finished: Finished | None) -> None:
        """The last frame; of an answer that was cancelled without `finished`."""
        self._is_ending = True
        completion = self._completion
        frame: dict[str, Json] = {"type": "chat.completion.done", **self._names}
        frame["id"] = completion.id if completion else None
        if finished is None or completion is None:
            frame |= {"finish_reason": None, "cancelled": True, "usage": usage_of(self._usage)}
        else:
            frame |= {"finish_reason": finished.reason, "cancelled": False}
            frame |= {
                "usage": completion.usage(finished),
                "timings": _timings(completion, finished),
            }
        await self._socket.send(encode(frame))


def _timings(completion: Completion, finished: Finished) -> dict[str, Json]:
    timings, num_tokens = finished.timings, finished.usage.completion_tokens
    return {
        "queued_ms": round(timings.queued_s * 1000),
        "prefill_ms": round(timings.prefill_s * 1000),
        "decode_ms": round(timings.decode_s * 1000),
        "ttft_ms": round(completion.first_token_s * 1000),
        "decode_tokens_per_second": rate(num_tokens - 1, timings.decode_s),
    }

"""Chats over a WebSocket: many at once on one socket, each cancelled by a message.

The wire is ours (no API of OpenAI's chats over sockets), in the manner of their Responses socket.
Every stream ends with exactly one frame, `chat.completion.done` or `error`; an error that names no
stream ends none. One that is `resumable` outlives its socket for a while.
"""

import itertools
from collections.abc import AsyncGenerator, Iterable
from contextlib import aclosing

from quart import Blueprint, websocket

from registry.checkpoint.config import Json
from runtime.errors import Cancelled
from runtime.events import Event, Usage
from web.api.lanes import AskedStream, Lanes, ResumeMessage, follow, resume
from web.api.progress import progress_of
from web.api.under_way import UnderWay
from web.dialect import Dialect
from web.door.body import decode
from web.errors import ApiError, answer_to
from web.services import Services
from web.serving import servable
from web.transport.encoding import encode
from web.transport.frame import Frame, Frames
from web.transport.socket import Message, Socket, error_frame

from .chat import rendering_of
from .chat_body import ChatBody, generation_request
from .usage import usage_of


def blueprint(dialect: Dialect, services: Services) -> Blueprint:
    """The socket of one dialect."""
    routes = Blueprint(f"{dialect.name}-chat-socket", __name__, url_prefix=dialect.base)

    @routes.websocket("/chat/completions")
    async def chat_socket() -> None:
        await services.sockets.serve(
            websocket, dialect, lambda socket: ChatChannel(socket, services)
        )

    return routes


class ChatChannel(Lanes):
    """The chats of one socket."""

    async def receive(self, message: Message, body: bytes) -> None:
        """See `socket.Channel`."""
        match message.type:
            case "chat.completion.create":
                await self._create(message, body)
            case "chat.completion.cancel":
                self.cancel(message.stream_id)
            case "resume":
                await resume(self, _kind(self.socket), decode(body, ResumeMessage))
            case _:
                raise ApiError(
                    400,
                    f"'type' is {message.type[:100]!r}; this socket knows chat.completion.create, "
                    "chat.completion.cancel and resume.",
                    param="type",
                )

    async def _create(self, message: Message, body: bytes) -> None:
        stream_id = message.stream_id
        if stream_id is not None and self.has(stream_id):
            raise ApiError(
                400, f"Stream {stream_id!r} is still running; choose another stream_id.",
                param="stream_id", code="stream_id_in_use",
            )  # fmt: skip
        await self.start(ChatStream(self, message, body))


class ChatStream(AskedStream):
    """A chat on its socket."""

    _chat: "Chat | None" = None

    async def _answer(self) -> None:
        body = decode(self._body, ChatBody)
        self._body = b""
        self._chat = chat = Chat(self._services, self._socket, body, self._wants_progress)
        if not body.resumable:
            async with aclosing(chat.frames()) as frames:
                async for frame in frames:
                    self._is_ending = chat.is_whole  # a cancel comes too late
                    await self._send(frame)
            return
        stream = self._services.streams.open(chat.cancel, _kind(self._socket), self.id)
        stream.write(numbered(chat.frames(), stream.token))
        await follow(self._socket, self.id, stream)

    def _cancel(self) -> None:
        if self._chat is not None:
            self._chat.cancel()

    async def _send_cancelled(self) -> None:
        await self._send(Frame(encode(_DONE | {"id": None} | _CANCELLED | _usage([]))))


def _kind(socket: Socket) -> str:
    """Of streams that can be come back to on this socket."""
    return f"chat {socket.dialect.name}"


async def numbered(frames: AsyncGenerator[Frame, None], token: str) -> AsyncGenerator[Frames, None]:
    """With a sequence number in each, and in the first the token to come back with."""
    first: dict[str, Json] = {"resume_token": token}
    async with aclosing(frames):
        for number in itertools.count():
            frame = await anext(frames, None)
            if frame is None:
                return
            told = encode({"sequence_number": number} | (first if number == 0 else {}))
            yield [Frame(told[:-1] + b"," + frame.body[1:])]


class Chat:
    """What one request says on a socket, wherever that is read; cancelled by `cancel`."""

    def __init__(
        self, services: Services, socket: Socket, body: ChatBody, wants_progress: bool
    ) -> None:
        """Raises ApiError for what cannot be honoured."""
        body.stream = True  # there is no other way here
        model = servable(services.store, body.model)
        request = generation_request(body, socket.headers)
        self._answers = rendering_of(socket.dialect, services, model.id, body)
        self._under_way = UnderWay(services.pool, model, [request])
        self._wants_progress = wants_progress
        self._request_id = socket.request_id
        self._dialect = socket.dialect

    @property
    def is_whole(self) -> bool:
        """Whether nothing but its last frames is still to come."""
        return self._answers.is_whole

    def cancel(self) -> None:
        """It comes to its end soon."""
        self._under_way.cancel()

    async def frames(self) -> AsyncGenerator[Frame, None]:
        """All of them; whatever happens is told in the last one."""
        try:
            await self._under_way.begin()
            async with self._under_way:
                async for frame in self._chunks():
                    yield frame
        except Cancelled as error:
            if not self._under_way.is_cancelled:
                yield self._error(error)
                return
        except Exception as error:
            yield self._error(error)
            return
        yield self._done()

    async def _chunks(self) -> AsyncGenerator[Frame, None]:
        answers = self._answers
        is_first = True
        async for number, event in self._under_way.events():
            answers.answers[number].add(event)
            if self._wants_progress and (told := _progress(event)):
                yield told
            if is_first:
                is_first = False
                for frame in _chunks(answers.begin(self._under_way.num_prompt_tokens)):
                    yield frame
            for frame in _chunks(answers.frames(number, event)):
                yield frame
        for frame in _chunks(answers.end()):
            yield frame

    def _error(self, error: Exception) -> Frame:
        return Frame(error_frame(answer_to(error, self._request_id), self._dialect))

    def _done(self) -> Frame:
        """Of answers that were cancelled if they are not whole."""
        answers = self._answers
        done = _DONE | {"id": answers.id}
        if answers.is_whole:
            return Frame(encode(done | answers.ending()))
        usages = [answer.usage for answer in answers.answers]
        return Frame(encode(done | _CANCELLED | _usage(usages)))


_DONE: dict[str, Json] = {"type": "chat.completion.done"}
_CANCELLED: dict[str, Json] = {"finish_reason": None, "cancelled": True}
_HEAD = b'{"type":"chat.completion.chunk",'


def _chunks(frames: Iterable[Frame]) -> Iterable[Frame]:
    return (Frame(_HEAD + frame.body[1:]) for frame in frames)


def _usage(usages: list[Usage]) -> dict[str, Json]:
    return {"usage": usage_of(usages or [Usage(0, 0)])}


def _progress(event: Event) -> Frame | None:
    told = progress_of(event)
    return None if told is None else Frame(encode({"type": "progress", **told}))

"""One WebSocket: who may speak, how much a client may send, and how frames leave.

What it carries is a channel's affair: chats, responses or jobs. Each message is one
JSON object in a text frame, with a `type`. Sending waits while the client is slow, so a stream
that sends slows itself down and nobody else; Hypercorn's patches end a client that stalls.
"""

import asyncio
import contextlib
import hmac
import logging
from collections.abc import AsyncGenerator, Callable
from contextlib import AbstractAsyncContextManager
from typing import Annotated, Any, Literal, Protocol

import msgspec
from msgspec import Meta
from quart import Websocket
from werkzeug.datastructures import Headers

from registry.checkpoint.config import Json
from web.dialect import Dialect
from web.door.allowance import Allowance
from web.door.body import decode
from web.door.guard import REQUEST_ID, SENT_KEY
from web.errors import ApiError, Failure, answer_to
from web.settings import WebSettings

from .encoding import encode
from .websocket_stream import CLOSED, MAX_FIRST

logger = logging.getLogger(__name__)

_PROTOCOLS = ("mlx-edge", "realtime")
_AUTH_TIMEOUT_S = 5.0
_MAX_AUTH_CHARACTERS = 2048
_MAX_STORED_CHARACTERS = 16 << 10  # of it; what is longer is not even read
_MESSAGES_PER_S = 50.0
_BURST = 200
_CLOSE_S = 1.0

# RFC 6455, 7.4.1
_POLICY_VIOLATION = 1008
_TOO_BIG = 1009
_INTERNAL_ERROR = 1011
_SERVICE_RESTART = 1012

StreamId = Annotated[str, Meta(min_length=1, max_length=128)]


class Message(msgspec.Struct):
    """What every message of a client says; the rest of its fields are the channel's."""

    type: str
    stream_id: StreamId | None = None
    events: list[Literal["progress"]] | None = None


class _Auth(msgspec.Struct, tag="auth", tag_field="type"):
    """The first message of a client that could send its key nowhere else."""

    api_key: str


class Closed(Exception):
    """The socket is to be closed with this code; the text is the reason that the client reads."""

    def __init__(self, code: int, reason: str, failure: Failure | None = None) -> None:
        super().__init__(reason)
        self.code = code
        self.failure = failure  # told in an error frame before


class Channel(Protocol):
    """What a socket carries."""

    async def receive(self, message: Message, body: bytes) -> None:
        """Act on a message; must not wait long, since the next is read after it.

        Raises what is told to the client in an error frame.
        """


class Socket:
    """One client's socket, accepted and with the right key. Made by `Sockets.serve`."""

    def __init__(self, websocket: Websocket, settings: WebSettings, dialect: Dialect) -> None:
        self.dialect = dialect
        self.request_id = str(websocket.scope.get(REQUEST_ID, ""))
        self.headers: Headers = websocket.headers  # of the upgrade
        self.wants_progress = "progress" in websocket.args.getlist("events")
        self._websocket = websocket
        self._settings = settings
        self._allowance = Allowance(_MESSAGES_PER_S, _BURST)
        self._is_closed = False  # by us
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def is_lost(self) -> bool:
        """Asked when it has ended: whether neither side has said that it closes it."""
        scope: Any = self._websocket.scope
        return not self._is_closed and CLOSED not in scope

    def hold(self, task: "asyncio.Task[None]") -> None:
        """What still has to send something before the socket is closed at the server's end."""
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    @property
    def tasks(self) -> "set[asyncio.Task[None]]":
        """Those that are not over."""
        return self._tasks

    async def send(self, frame: bytes) -> None:
        """One JSON object. Waits while the client is slow."""
        await self._websocket.send(frame)

    async def send_error(self, failure: Failure, stream_id: str | None = None) -> None:
        """An error frame; with a stream's id it is the stream's last frame."""
        names: dict[str, Json] = {} if stream_id is None else {"stream_id": stream_id}
        await self.send(error_frame(failure, self.dialect, names))

    async def serve(self, channel: Channel) -> None:
        """Hand the client's messages to the channel until the socket ends. Raises Closed."""
        async for data in self._texts():
            try:
                await channel.receive(decode(data, Message), data)
            except Exception as error:
                await self.send_error(answer_to(error, self.request_id))

    async def close(self, code: int, reason: str) -> None:
        """Send a close frame; a second one is not sent."""
        self._is_closed = True
        with contextlib.suppress(RuntimeError):
            await self._websocket.close(code, reason)

    async def authenticate(self, sent_key: object) -> None:
        """Raises Closed for a wrong key; where none came yet, the first message must bring it."""
        refusal = Failure(401, "Unauthorized", "invalid_api_key")
        wrong = Closed(_POLICY_VIOLATION, "The API key is wrong.", refusal)
        if sent_key == "wrong":
            raise wrong
        if sent_key == "right":
            return
        try:
            async with asyncio.timeout(_AUTH_TIMEOUT_S):
                data = await self._websocket.receive()
        except TimeoutError:
            limit = f"No key came within {_AUTH_TIMEOUT_S:g} s."
            raise Closed(_POLICY_VIOLATION, limit, refusal) from None
        try:
            if not isinstance(data, str) or len(data) > _MAX_AUTH_CHARACTERS:
                raise ApiError(400, "The first message is no auth message.")
            sent = decode(data.encode(), _Auth).api_key
        except ApiError:
            first = 'The first message must be {"type":"auth","api_key":"..."}.'
            raise Closed(_POLICY_VIOLATION, first, refusal) from None
        if not hmac.compare_digest(sent.encode(), self._settings.api_key.encode()):
            raise wrong
        await self.send(b'{"type":"auth.ok"}')

    async def _texts(self) -> AsyncGenerator[bytes, None]:
        """The messages, within their bounds."""
        while True:
            data = await self._websocket.receive()
            if not self._allowance.take():
                raise Closed(_POLICY_VIOLATION, f"More than {_MESSAGES_PER_S:g} messages a second.")
            if not isinstance(data, str):
                failure = Failure(400, "Send JSON in text frames; this one is binary.")
                await self.send_error(failure)
                continue
            body = data.encode()
            # Hypercorn counts characters.
            if len(body) > self._settings.max_message_bytes:
                raise Closed(_TOO_BIG, "")
            yield body


def error_frame(failure: Failure, dialect: Dialect, names: dict[str, Json] | None = None) -> bytes:
    """An error as sockets tell it."""
    frame: dict[str, Json] = {"type": "error", "status": failure.status, **(names or {})}
    body = failure.body(dialect)
    if failure.headers and isinstance(body["error"], dict):
        body["error"]["headers"] = dict(failure.headers)
    return encode(frame | body)


class Sockets:
    """All open sockets of the server."""

    def __init__(self, settings: WebSettings) -> None:
        self._settings = settings
        self._open: set[Socket] = set()
        self._is_closing = False

    async def serve(
        self,
        websocket: Websocket,
        dialect: Dialect,
        open_channel: Callable[[Socket], AbstractAsyncContextManager[Channel]],
    ) -> None:
        """Accept a client and serve its channel until one of both sides closes the socket."""
        websocket = websocket._get_current_object()  # type: ignore[attr-defined]  # of the proxy
        offered = websocket.requested_subprotocols
        chosen = next((name for name in _PROTOCOLS if name in offered), None)
        scope: Any = websocket.scope
        if scope.get(SENT_KEY) != "right":
            scope[MAX_FIRST] = _MAX_STORED_CHARACTERS
        await websocket.accept(subprotocol=chosen)
        socket = Socket(websocket, self._settings, dialect)
        self._open.add(socket)
        try:
            if self._is_closing:
                raise _restarting()
            await socket.authenticate(scope.get(SENT_KEY, "none"))
            async with open_channel(socket) as channel:
                await socket.serve(channel)
        except Closed as closed:
            if closed.failure is not None:
                await socket.send_error(closed.failure)
            await socket.close(closed.code, str(closed))
        except Exception:
            logger.exception("socket %s failed", socket.request_id)
            await socket.close(_INTERNAL_ERROR, f"An internal error ({socket.request_id}).")
        finally:
            self._open.discard(socket)

    async def close(self) -> None:
        """Tell every client that the server goes away and may be back, those too that still come.

        Not one that reads nothing: its close frame would wait behind the rest.
        """
        self._is_closing = True
        # What was answered is drained, and has but its last frame to tell.
        if ending := [task for socket in self._open for task in socket.tasks]:
            await asyncio.wait(ending, timeout=_CLOSE_S)
        closing = [asyncio.create_task(self._close(socket)) for socket in self._open]
        if closing:
            await asyncio.wait(closing, timeout=_CLOSE_S)

    async def _close(self, socket: Socket) -> None:
        closed = _restarting()
        await socket.close(closed.code, str(closed))


def _restarting() -> Closed:
    return Closed(_SERVICE_RESTART, "The server restarts.")

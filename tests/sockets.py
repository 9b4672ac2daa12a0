"""A WebSocket client as tests want it: frames as values, and answers put together."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from websockets.asyncio.client import ClientConnection, connect
from websockets.typing import Subprotocol

from tests.serving import KEY, ServerProcess

CHAT = "/v1/chat/completions"
JOBS = "/v1/jobs"


@dataclass
class Answer:
    """The frames of one stream."""

    frames: list[dict[str, Any]] = field(default_factory=list)

    @property
    def last(self) -> dict[str, Any]:
        return self.frames[-1]

    @property
    def chunks(self) -> list[dict[str, Any]]:
        return [frame for frame in self.frames if frame["type"] == "chat.completion.chunk"]

    @property
    def progress(self) -> list[dict[str, Any]]:
        return [frame for frame in self.frames if frame["type"] == "progress"]

    @property
    def text(self) -> str:
        deltas = (c["choices"][0]["delta"] for c in self.chunks if c["choices"])
        return "".join(delta.get("content", "") for delta in deltas)


class SocketClient:
    """Sends and receives JSON."""

    def __init__(self, connection: ClientConnection) -> None:
        self.connection = connection

    async def send(self, **message: Any) -> None:
        await self.connection.send(json.dumps(message))

    async def create(self, stream_id: str | None, **body: Any) -> None:
        """Ask `tiny` something that it answers at length, if nothing else is said."""
        names = {} if stream_id is None else {"stream_id": stream_id}
        message = {
            "type": "chat.completion.create",
            "model": "tiny",
            "messages": [{"role": "user", "content": "hello"}],
            "temperature": 0,
            "max_tokens": 16,
        }
        await self.send(**message | names | body)

    async def cancel(self, stream_id: str) -> None:
        await self.send(type="chat.completion.cancel", stream_id=stream_id)

    async def receive(self) -> dict[str, Any]:
        frame: dict[str, Any] = json.loads(await self.connection.recv(decode=True))
        return frame

    async def answers(self, count: int) -> dict[str | None, Answer]:
        """All frames until so many streams have ended."""
        answers: dict[str | None, Answer] = {}
        while count:
            frame = await self.receive()
            answers.setdefault(frame.get("stream_id"), Answer()).frames.append(frame)
            if frame["type"] in ("chat.completion.done", "error"):
                count -= 1
        return answers

    async def until_text(self, stream_id: str) -> None:
        """Until a stream has shown its first text."""
        while True:
            frame = await self.receive()
            assert frame["type"] != "error", frame
            choices = frame.get("choices")
            if (
                frame.get("stream_id") == stream_id
                and choices
                and choices[0]["delta"].get("content")
            ):
                return

    async def closed(self) -> tuple[int, str]:
        """The code and reason the server closes with."""
        await self.connection.wait_closed()
        return self.connection.close_code or 0, self.connection.close_reason or ""


@asynccontextmanager
async def opened(
    server: ServerProcess,
    path: str = CHAT,
    *,
    key: str | None = KEY,
    protocols: list[str] | None = None,
    origin: str | None = None,
    headers: dict[str, str] | None = None,
) -> AsyncIterator[SocketClient]:
    """A socket of this server; with the key in a header, unless it is None."""
    sent = dict(headers or {})
    if key is not None:
        sent["Authorization"] = f"Bearer {key}"
    if origin is not None:
        sent["Origin"] = origin
    offered = [Subprotocol(name) for name in protocols or []] or None
    url = server.url.replace("http://", "ws://") + path
    async with connect(
        url, additional_headers=sent, subprotocols=offered, proxy=None, open_timeout=30,
        max_queue=4,
    ) as connection:  # fmt: skip
        yield SocketClient(connection)

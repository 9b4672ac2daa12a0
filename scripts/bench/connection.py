"""A connection to our server by the cheapest client, so that the server's work is what is timed.

An SDK spends a millisecond and a half on a request, as long as a small model on a short text.
"""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from urllib.parse import urlsplit

import msgspec

from scripts.bench.client import Endpoint


class Connection:
    """HTTP/1.1 with keep-alive, one request after the other. A server ends it after a thousand."""

    _reader: asyncio.StreamReader
    _writer: asyncio.StreamWriter

    def __init__(self, endpoint: Endpoint) -> None:
        self._endpoint = endpoint
        self._url = urlsplit(endpoint.url)
        self._is_open = False

    async def open(self) -> None:
        """Where it is not."""
        if not self._is_open:
            self._reader, self._writer = await asyncio.open_connection(
                self._url.hostname, self._url.port
            )
            self._is_open = True

    def close(self) -> None:
        """Of no more use."""
        self._writer.close()
        self._is_open = False

    async def post(self, path: str, body: object) -> bytes:
        """The answer's body. Raises RuntimeError with the server's words unless it is a 200."""
        return await self._whole(await self._asked("POST", path, msgspec.json.encode(body)))

    async def get(self, path: str) -> bytes:
        """As `post` does."""
        return await self._whole(await self._asked("GET", path))

    async def post_events(self, path: str, body: object) -> AsyncGenerator[bytes, None]:
        """The events of a stream, to be read to its end. Raises as `post` does."""
        length = await self._asked("POST", path, msgspec.json.encode(body))
        async for event in self._events(length):
            yield event

    async def get_events(self, path: str) -> AsyncGenerator[bytes, None]:
        """As `post_events` does."""
        async for event in self._events(await self._asked("GET", path)):
            yield event

    async def _asked(self, method: str, path: str, content: bytes = b"") -> int | None:
        """The length of the answer; None where it comes in chunks."""
        await self.open()
        head = (
            f"{method} {self._url.path}{path} HTTP/1.1\r\nHost: {self._url.netloc}\r\n"
            f"Authorization: Bearer {self._endpoint.key}\r\n"
            f"Content-Type: application/json\r\nContent-Length: {len(content)}\r\n\r\n"
        )
        self._writer.write(head.encode() + content)
        status, *lines = (await self._reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
        headers = dict(line.lower().split(": ", 1) for line in lines if line)
        self._is_open = headers.get("connection") != "close"
        length = int(headers["content-length"]) if "content-length" in headers else None
        if status.split()[1] != "200":
            words = await self._whole(length)
            raise RuntimeError(f"{self._endpoint.url} answered {words.decode()[:300]}")
        return length

    async def _whole(self, length: int | None) -> bytes:
        if length is not None:
            return await self._reader.readexactly(length)
        return b"".join([chunk async for chunk in self._chunks()])

    async def _events(self, length: int | None) -> AsyncGenerator[bytes, None]:
        if length is not None:
            raise RuntimeError(f"expected a stream, not {(await self._whole(length))[:300]!r}")
        rest = b""
        async for chunk in self._chunks():
            *events, rest = (rest + chunk).split(b"\n\n")
            for event in events:
                yield event

    async def _chunks(self) -> AsyncGenerator[bytes, None]:
        while size := int(await self._reader.readuntil(b"\r\n"), 16):
            yield (await self._reader.readexactly(size + 2))[:-2]
        await self._reader.readexactly(2)


@asynccontextmanager
async def connection(endpoint: Endpoint) -> AsyncIterator[Connection]:
    """Open until the end of the block."""
    opened = Connection(endpoint)
    await opened.open()
    try:
        yield opened
    finally:
        opened.close()

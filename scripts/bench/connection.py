"""A connection to our server by the cheapest client, so that the server's work is what is timed.

An SDK spends a millisecond and a half on a request, as long as a small model on a short text.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from urllib.parse import urlsplit

import msgspec

from scripts.bench.client import Endpoint


class Connection:
    """HTTP/1.1 with keep-alive, one request after the other."""

    def __init__(
        self, endpoint: Endpoint, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        self._endpoint = endpoint
        self._reader = reader
        self._writer = writer

    async def post(self, path: str, body: object) -> bytes:
        """The answer's body. Raises RuntimeError with the server's words unless it is a 200."""
        content = msgspec.json.encode(body)
        url = urlsplit(self._endpoint.url)
        head = (
            f"POST {url.path}{path} HTTP/1.1\r\nHost: {url.netloc}\r\n"
            f"Authorization: Bearer {self._endpoint.key}\r\n"
            f"Content-Type: application/json\r\nContent-Length: {len(content)}\r\n\r\n"
        )
        self._writer.write(head.encode() + content)
        status, *lines = (await self._reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
        headers = dict(line.lower().split(": ", 1) for line in lines if line)
        answer = await self._reader.readexactly(int(headers["content-length"]))
        if status.split()[1] != "200":
            raise RuntimeError(f"{self._endpoint.url} answered {answer.decode()[:300]}")
        return answer


@asynccontextmanager
async def connection(endpoint: Endpoint) -> AsyncIterator[Connection]:
    """Open until the end of the block."""
    url = urlsplit(endpoint.url)
    reader, writer = await asyncio.open_connection(url.hostname, url.port)
    try:
        yield Connection(endpoint, reader, writer)
    finally:
        writer.close()

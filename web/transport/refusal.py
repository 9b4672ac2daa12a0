"""What a client is told for whom there is no room: 503, whatever it asks for."""

import asyncio
import contextlib
import secrets

import msgspec

from web.dialect import dialect_of
from web.errors import Failure

from . import closing

_REQUEST_S = 1.0  # clients may drop an answer that comes before they have asked


async def refuse(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, max_connections: int
) -> None:
    """Read the head of its request, for a while, answer it and close."""
    head = b""
    try:
        async with asyncio.timeout(_REQUEST_S):
            head = await reader.readuntil(b"\r\n\r\n")
    except (TimeoutError, asyncio.LimitOverrunError):
        pass
    except (OSError, asyncio.IncompleteReadError):
        return writer.transport.abort()  # it left
    writer.write(answer(head, max_connections))
    await closing.close(reader, writer)


def refuse_at_once(writer: asyncio.StreamWriter, max_connections: int) -> None:
    """Where too many are waiting to be refused; costs nothing, and may be overtaken by a reset."""
    with contextlib.suppress(OSError):
        writer.write(answer(b"", max_connections))
    writer.close()


def answer(head: bytes, max_connections: int) -> bytes:
    """A whole response to the request that begins so, in the dialect of its path."""
    method, _, rest = head.partition(b" ")
    failure = Failure(
        503,
        f"All {max_connections} connections of this server are in use; try again in a moment, or "
        "close some that are idle.",
        "too_many_connections",
    )
    body = msgspec.json.encode(failure.body(dialect_of(rest.split(b" ")[0].decode("latin-1"))))
    lines = [
        "HTTP/1.1 503 Service Unavailable",
        "Content-Type: application/json",
        f"Content-Length: {len(body)}",
        f"x-request-id: req_{secrets.token_hex(12)}",
        "Retry-After: 1",
        "Connection: close",
    ]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + (b"" if method == b"HEAD" else body)

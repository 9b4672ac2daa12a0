"""The end of a connection, so that the client reads the last words that were written to it.

A socket that is closed while something of its client is unread resets the connection, and the reset
overtakes the answer (RFC 9112, 9.6). So the rest is read past, for a while.
"""

import asyncio
import contextlib

_FLUSH_S = 5.0  # for what was written before
_LINGER_S = 2.0  # for the client to close its end
_MAX_READ_BYTES = 64 << 10


async def close(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Say that nothing follows, wait until the client has understood, and close."""
    transport = writer.transport
    try:
        with contextlib.suppress(OSError, RuntimeError):  # a TimeoutError is an OSError
            if not transport.is_closing():
                transport.set_write_buffer_limits(0)  # so that `drain` waits for all of it
                async with asyncio.timeout(_FLUSH_S):
                    await writer.drain()
                writer.write_eof()
                async with asyncio.timeout(_LINGER_S):
                    while await reader.read(_MAX_READ_BYTES):
                        pass
    finally:
        transport.abort()
    with contextlib.suppress(OSError):
        await writer.wait_closed()

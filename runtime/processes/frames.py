"""Length-prefixed frames on a stream socket: four bytes big-endian, then the payload."""

import asyncio
import contextlib
import socket
import struct

_LENGTH = struct.Struct(">I")
MAX_FRAME_BYTES = 1 << 28  # a peer that claims more is broken


def pack(payload: bytes) -> bytes:
    """The frame of one payload."""
    return _LENGTH.pack(len(payload)) + payload


def send_blocking(sock: socket.socket, payload: bytes) -> None:
    """Send one frame. Silently lost when the peer is gone: who reads from it learns that."""
    with contextlib.suppress(ConnectionError):
        sock.sendall(pack(payload))


def read_blocking(sock: socket.socket) -> bytes | None:
    """The next payload, or None at the end of the stream."""
    header = _read_exactly(sock, _LENGTH.size)
    return None if header is None else _read_exactly(sock, _length(header))


async def read(reader: asyncio.StreamReader) -> bytes | None:
    """The next payload, or None at the end of the stream."""
    try:
        return await reader.readexactly(_length(await reader.readexactly(_LENGTH.size)))
    except (asyncio.IncompleteReadError, ConnectionError):
        return None


def _length(header: bytes) -> int:
    (length,) = _LENGTH.unpack(header)
    if length > MAX_FRAME_BYTES:
        raise ValueError(f"a frame of {length} bytes; at most {MAX_FRAME_BYTES} are possible")
    return int(length)


def _read_exactly(sock: socket.socket, count: int) -> bytes | None:
    buffer = bytearray()
    while len(buffer) < count:
        piece = sock.recv(count - len(buffer))
        if not piece:
            return None
        buffer += piece
    return bytes(buffer)

"""One child Python process and its socket: start it, send and receive frames, end it.

Shared by `engine_process` and `text_workers`. The child's end of the socket is its file
descriptor number in argv; end of file on it means that the parent is gone.
"""

import asyncio
import contextlib
import socket

from . import frames
from .spawn import kill, spawn


class Child:
    """A running child. Owned by one task; `send` may be called by any coroutine of the loop."""

    def __init__(
        self,
        process: asyncio.subprocess.Process,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
    ) -> None:
        self._process = process
        self._reader = reader
        self._writer = writer
        self.pid = process.pid

    @classmethod
    async def spawn(cls, module: str, *arguments: str) -> "Child":
        """Start `python -m module FD arguments…` with one end of a socket pair as FD."""
        ours, theirs = socket.socketpair()
        with theirs:
            # Before the process: once that runs nothing is waited for, so no cancel can lose it.
            reader, writer = await asyncio.open_connection(sock=ours)
            try:
                process = await spawn(
                    *(module, str(theirs.fileno()), *arguments),
                    stdin=asyncio.subprocess.DEVNULL,
                    pass_fds=[theirs.fileno()],
                )
            except BaseException:
                writer.close()
                raise
        return cls(process, reader, writer)

    @property
    def is_running(self) -> bool:
        return self._process.returncode is None

    def send(self, payload: bytes) -> None:
        """Queue one frame. Silently lost when the child is gone: `receive` tells that."""
        if not self._writer.is_closing():
            self._writer.write(frames.pack(payload))

    async def receive(self) -> bytes | None:
        """The next payload from the child, or None when it closed its end."""
        return await frames.read(self._reader)

    async def stop(self, grace_s: float) -> int:
        """Close the socket, wait for the end, kill after `grace_s`. Returns the exit status."""
        self._writer.close()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(grace_s):
                return await self._process.wait()
        return await self.kill()

    async def kill(self) -> int:
        """SIGKILL, reap, and return the exit status."""
        self._writer.close()  # in the loop's next turn, so SIGKILL comes first
        return await kill(self._process)

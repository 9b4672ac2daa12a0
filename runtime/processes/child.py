"""One child Python process and its socket: spawn, send and receive frames, end it.

Shared by `engine_process` and `text_workers`. The child's end of the socket is its file
descriptor number in argv; end of file on it means that the parent is gone.
"""

import asyncio
import contextlib
import os
import socket
import sys
from pathlib import Path

from . import frames

_IMPORT_ROOT = Path(__file__).resolve().parents[2]  # what makes `runtime` importable
_SECRETS = ("MLX_EDGE_API_KEY", "HF_TOKEN", "HUGGING_FACE_HUB_TOKEN")


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
        spawning = asyncio.ensure_future(cls._spawn(module, *arguments))
        try:
            return await asyncio.shield(spawning)
        except asyncio.CancelledError:
            # A child that is half started belongs to nobody yet: it must not outlive this.
            await (await spawning).kill()
            raise

    @classmethod
    async def _spawn(cls, module: str, *arguments: str) -> "Child":
        ours, theirs = socket.socketpair()
        with theirs:
            environment = {k: v for k, v in os.environ.items() if k not in _SECRETS}
            environment["PYTHONPATH"] = str(_IMPORT_ROOT)
            try:
                process = await asyncio.create_subprocess_exec(
                    *(sys.executable, "-P", "-m", module, str(theirs.fileno()), *arguments),
                    stdin=asyncio.subprocess.DEVNULL,
                    pass_fds=[theirs.fileno()],
                    env=environment,
                    # A Ctrl-C in the terminal is the parent's to handle: it drains first.
                    start_new_session=True,
                )
            except BaseException:
                ours.close()
                raise
        reader, writer = await asyncio.open_connection(sock=ours)
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
        with contextlib.suppress(ProcessLookupError):
            self._process.kill()
        self._writer.close()
        return await self._process.wait()

"""A child that is run to its end for what it says: sealed, as all are, and within a limit."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import NamedTuple, TypeAlias

from .spawn import kill, spawn

Start: TypeAlias = Callable[..., Awaitable[asyncio.subprocess.Process]]


class Ended(NamedTuple):
    status: int  # negative: the number of the signal that ended it
    said: bytes
    last_words: str  # the last line of its complaint; empty where it had none


async def run(module: str, *arguments: str, limit_s: float, start: Start = spawn) -> Ended:
    """Start it by `start`, and wait for its end. Raises TimeoutError, when it is gone too; OSError
    where it cannot be started.
    """
    process = await start(
        *(module, *arguments),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        async with asyncio.timeout(limit_s):
            said, complaint = await process.communicate()
    finally:
        status = await kill(process)
    words = complaint.decode(errors="replace").strip().splitlines()
    return Ended(status, said, words[-1] if words else "")

"""A child that is run to its end for what it says: sealed, as all are, and within a limit."""

import asyncio
import os
from collections.abc import Awaitable, Callable
from typing import NamedTuple, TypeAlias

from . import sealed
from .spawn import kill, spawn

_SEALING_S = 20.0  # Python may have to be read from a disk that sleeps

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


async def why_not_sealed(limit_s: float = _SEALING_S) -> str | None:
    """Why children cannot be kept from the network here; None where they can, or need not."""
    if os.environ.get(sealed.UNSEALED) == "1":
        return None
    try:  # a child that does nothing else
        ended = await run("runtime.processes.sealed", limit_s=limit_s)
    except TimeoutError:
        return f"a child that was to seal itself had not done so in {limit_s:g} s"
    except OSError as error:
        return str(error)
    if ended.status == 0:
        return None
    return ended.last_words or f"a child ended with status {ended.status}"

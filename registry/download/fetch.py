"""Downloads one file, in several attempts if need be.

`jobs.acquire` calls `fetch`, which keeps what has arrived in NAME.part (`part`) and has `transfer`
make one attempt after the other.
"""

import asyncio
import errno
import importlib
import random
from dataclasses import dataclass
from pathlib import Path

from registry.errors import DownloadFailed

from .part import Part, blocking, free_bytes
from .remote import DownloadSettings, Interrupted, OnProgress, Remote, Restarted


@dataclass(frozen=True, slots=True)
class Fetched:
    """A file that has arrived, whole and synced to the disk."""

    size: int
    sha256: str
    etag: str | None


async def fetch(
    remote: Remote, target: Path, report: OnProgress, settings: DownloadSettings
) -> Fetched:
    """Bring the file to `target`, going on from what an earlier call has left.

    Raises SourceRefused when it cannot be had, and DownloadFailed when the download broke. Then,
    and when the caller is cancelled, what has arrived is kept.
    """
    part = Part(target, remote.url, settings.sync_bytes)
    try:
        await blocking(part.open)
        if remote.size is not None and part.state.size not in (None, remote.size):
            await blocking(part.restart)
        while await blocking(part.hash_more):
            pass
        # Before the first download nobody needs httpx, which takes a while to import.
        await blocking(importlib.import_module, ".transfer", __package__)
        await _receive(part, remote, report, settings)
        await _check_sha256(part, remote)
        await blocking(part.finish)
        return Fetched(part.size, part.sha256(), part.state.etag)
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            total = remote.size or part.state.size or part.size
            free = await blocking(free_bytes, target.parent)
            raise part.disk_full(total - part.size - free) from error
        raise DownloadFailed(f"{target.name} cannot be written: {error}.") from error
    finally:
        await blocking(part.close)


async def _receive(
    part: Part, remote: Remote, report: OnProgress, settings: DownloadSettings
) -> None:
    """One attempt after the other, until all of the file has arrived."""
    from .exchange import Exchange
    from .transfer import Transfer

    num_failures = num_restarts = 0
    most = part.size
    async with await Exchange.open(remote, settings) as exchange:
        transfer = Transfer(remote, part, report, settings, exchange)
        while not transfer.is_complete:
            try:
                await transfer.attempt()
                if not transfer.is_complete:
                    raise Interrupted("the server sent only a part of the rest")
            except Restarted as error:
                num_restarts += 1
                if num_restarts >= settings.max_attempts:
                    raise DownloadFailed(
                        f"{part.target.name} had to be begun anew {num_restarts} times: {error}."
                    ) from error
            except Interrupted as error:
                has_advanced = part.size - most >= settings.progress_bytes
                most = max(most, part.size)
                num_failures = 1 if has_advanced else num_failures + 1
                if num_failures >= settings.max_attempts:
                    raise DownloadFailed(_give_up(part, num_failures, str(error))) from error
                await asyncio.sleep(_wait_s(num_failures, error, part, settings))


async def _check_sha256(part: Part, remote: Remote) -> None:
    got = part.sha256()
    if remote.sha256 not in (None, got):
        await blocking(part.restart)
        raise DownloadFailed(
            f"{part.target.name} arrived with the SHA-256 {got}, expected was {remote.sha256}: it "
            "is not the file it should be, or was damaged on the way. It was deleted; try again."
        )


def _wait_s(num_failures: int, error: Interrupted, part: Part, settings: DownloadSettings) -> float:
    """The pause, doubled each time, with jitter so that clients do not all come back at once."""
    asked = error.retry_after_s or 0.0
    if asked > settings.max_wait_s:
        raise DownloadFailed(_give_up(part, num_failures, f"{error}, come back in {asked:.0f} s"))
    backoff = settings.backoff_s * 2.0 ** (num_failures - 1) * random.uniform(0.75, 1.25)
    return max(asked, min(backoff, settings.max_wait_s))


def _give_up(part: Part, num_failures: int, reason: str) -> str:
    total = "an unknown number of" if part.state.size is None else str(part.state.size)
    return (
        f"{part.target.name} broke off at {part.size} of {total} bytes, {num_failures} times in a "
        f"row: {reason}. What has arrived is kept; try again to go on from there."
    )

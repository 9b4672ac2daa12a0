"""A download as the tests of registry.download make it; their fixtures are in its conftest."""

import asyncio
import hashlib
import random
import stat
from pathlib import Path

import pytest

from registry.download.fetch import Fetched, fetch
from registry.download.remote import DownloadSettings, OnProgress, Remote
from tests.hub.hub_server import HubServer

DATA = random.Random(4).randbytes(1_000_000)
SHA256 = hashlib.sha256(DATA).hexdigest()
HALF = 500_000
SETTINGS = DownloadSettings(
    allowed_private_hosts=("127.0.0.1", "localhost"),
    stall_s=5,
    backoff_s=0.001,
    max_attempts=3,
    reserve_bytes=0,
    write_bytes=50_000,
    sync_bytes=100_000,
    progress_bytes=100_000,
)


def _ignore(done: int, total: int | None) -> None:
    pass


async def get(
    hub: HubServer,
    target: Path,
    settings: DownloadSettings = SETTINGS,
    *,
    size: int | None = None,
    sha256: str | None = None,
    report: OnProgress = _ignore,
) -> Fetched:
    """The hub's a.gguf."""
    remote = Remote(f"{hub.url}/files/a.gguf", size, sha256)
    return await get_from(remote, target, settings, report)


async def get_from(
    remote: Remote,
    target: Path,
    settings: DownloadSettings = SETTINGS,
    report: OnProgress = _ignore,
) -> Fetched:
    """Any other file."""
    return await fetch(remote, target, report, settings)


async def get_some(hub: HubServer, target: Path, num_bytes: int = 1) -> None:
    """Cancelled as soon as so many bytes have arrived."""

    def report(done: int, _: int | None) -> None:
        if done >= num_bytes:
            task.cancel()

    task = asyncio.create_task(get(hub, target, report=report))
    with pytest.raises(asyncio.CancelledError):
        await task


def leave(target: Path, part: bytes, state: str) -> None:
    """What an earlier run may have left."""
    target.parent.mkdir(exist_ok=True)
    for suffix, content in ((".part", part), (".part-state", state.encode())):
        path = target.with_name(target.name + suffix)
        path.write_bytes(content)
        path.chmod(0o600)


def ranges(hub: HubServer) -> list[str | None]:
    return [request.headers.get("range") for request in hub.requests]


def is_whole(target: Path) -> bool:
    """The file alone, private, with nothing left beside it."""
    assert stat.S_IMODE(target.stat().st_mode) == 0o600
    assert [path.name for path in target.parent.iterdir()] == [target.name]
    return target.read_bytes() == DATA

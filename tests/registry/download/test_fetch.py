"""Tests of registry.download.fetch: attempt follows attempt until the file is whole, or in vain."""

import asyncio
import contextlib
import os
import random
import time
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from registry.download.fetch import Fetched
from registry.download.remote import DownloadSettings, Remote
from registry.errors import DownloadFailed, SourceRefused
from tests.downloads import DATA, HALF, SETTINGS, SHA256, get, get_from, is_whole, ranges
from tests.hub.hub_server import (
    ChangeETag,
    Corrupt,
    Endless,
    Fault,
    HubServer,
    IgnoreRange,
    NoValidators,
    RefuseRange,
    Reset,
    ShortRange,
    Status,
    Truncate,
    WrongLength,
    WrongRange,
)


async def test_a_file_arrives_whole(hub: HubServer, target: Path) -> None:
    """With its hash, its ETag, and progress up to its size."""
    seen: list[tuple[int, int | None]] = []
    fetched = await get(
        hub, target, size=len(DATA), sha256=SHA256, report=lambda *step: seen.append(step)
    )
    assert fetched == Fetched(len(DATA), SHA256, f'"{SHA256}"')
    assert is_whole(target)
    assert seen[0] == (0, len(DATA)) and seen[-1] == (len(DATA), len(DATA))
    assert seen == sorted(seen)


async def test_an_empty_file_arrives(hub: HubServer, target: Path) -> None:
    hub.add_file("a.gguf", b"")
    assert (await get(hub, target)).size == 0
    assert target.read_bytes() == b""


async def test_attempts_that_bring_something_do_not_count(hub: HubServer, target: Path) -> None:
    """Nine breaks with three attempts allowed: each brought a tenth of the file."""
    hub.misbehave("a.gguf", Truncate(100_000), times=9)
    await get(hub, target)
    assert is_whole(target)


async def test_attempts_in_vain_end(hub: HubServer, target: Path) -> None:
    """The error says how far it came, why it ends, and what to do; the next call goes on."""
    hub.misbehave("a.gguf", Truncate(HALF), times=1)
    hub.misbehave("a.gguf", Truncate(10))
    with pytest.raises(DownloadFailed, match="broke off at 500020 of 1000000 bytes, 3 times"):
        await get(hub, target)
    assert not target.exists()
    hub.behave()
    hub.requests.clear()
    await get(hub, target)
    assert ranges(hub) == ["bytes=500020-"]
    assert is_whole(target)


async def test_a_file_that_never_stops_changing_ends(hub: HubServer, target: Path) -> None:
    """Bytes that have to be thrown away are no progress."""
    for _ in range(9):
        hub.misbehave("a.gguf", Truncate(HALF), times=1)
        hub.misbehave("a.gguf", WrongRange(), times=1)
    with pytest.raises(DownloadFailed, match="3 times in a row"):
        await get(hub, target)
    assert len(hub.requests) == 5


async def test_a_server_that_always_refuses_ranges_ends(hub: HubServer, target: Path) -> None:
    """416, also where no range was asked for."""
    hub.misbehave("a.gguf", Status(416))
    with pytest.raises(DownloadFailed, match="begun anew 3 times"):
        await get(hub, target)


async def test_a_wrong_hash_fails_and_is_forgotten(hub: HubServer, target: Path) -> None:
    hub.misbehave("a.gguf", Corrupt(at=HALF))
    with pytest.raises(DownloadFailed, match=f"expected was {SHA256}"):
        await get(hub, target, size=len(DATA), sha256=SHA256)
    assert not target.exists()
    hub.behave()
    await get(hub, target, size=len(DATA), sha256=SHA256)
    assert is_whole(target)


@pytest.mark.parametrize(
    "fault",
    [
        Status(500),
        Status(503, {"Retry-After": "0"}),
        Status(429, {"Retry-After": "Wed, 21 Oct 2015 07:28:00 GMT"}),
        Status(408, {"Retry-After": "soon"}),
    ],
)
async def test_a_busy_server_is_asked_again(hub: HubServer, target: Path, fault: Fault) -> None:
    hub.misbehave("a.gguf", fault, times=2)
    await get(hub, target)
    assert len(hub.requests) == 3


async def test_retry_after_is_kept(
    hub: HubServer, target: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So many seconds are waited, if they are not too many."""
    waits: list[float] = []

    async def sleep(seconds: float) -> None:
        waits.append(seconds)

    monkeypatch.setattr("registry.download.fetch.asyncio.sleep", sleep)
    hub.misbehave("a.gguf", Status(429, {"Retry-After": "7"}), times=1)
    await get(hub, target)
    assert waits == [7]
    hub.misbehave("a.gguf", Status(429, {"Retry-After": "3600"}))
    with pytest.raises(DownloadFailed, match="answered 429, come back in 3600 s"):
        await get(hub, target)
    assert waits == [7]


@pytest.mark.parametrize(
    "status, says",
    [(401, "HF_TOKEN"), (403, "HF_TOKEN"), (404, "no such file"), (400, "400"), (304, "304")],
)
async def test_a_refusal_is_final(hub: HubServer, target: Path, status: int, says: str) -> None:
    """One request, and an error that says what to do."""
    hub.misbehave("a.gguf", Status(status))
    with pytest.raises(SourceRefused, match=says):
        await get(hub, target)
    assert len(hub.requests) == 1


async def test_a_server_that_is_gone_fails(hub: HubServer, target: Path) -> None:
    with pytest.raises(DownloadFailed, match="3 times in a row: ConnectError"):
        await get_from(Remote("http://127.0.0.1:1/a"), target)


async def test_the_event_loop_is_never_held_up(
    hub: HubServer, target: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A disk that takes 50 ms for every write and sync is waited for elsewhere."""
    pwrite, fsync = os.pwrite, os.fsync

    def slow_pwrite(descriptor: int, data: bytes, offset: int) -> int:
        time.sleep(0.05)
        return pwrite(descriptor, data, offset)

    def slow_fsync(descriptor: int) -> None:
        time.sleep(0.05)
        fsync(descriptor)

    monkeypatch.setattr(os, "pwrite", slow_pwrite)
    monkeypatch.setattr(os, "fsync", slow_fsync)
    num_ticks = 0

    async def tick() -> None:
        nonlocal num_ticks
        while True:
            await asyncio.sleep(0.005)
            num_ticks += 1

    ticking = asyncio.create_task(tick())
    started = time.monotonic()
    await get(hub, target, replace(SETTINGS, write_bytes=200_000))
    ticking.cancel()
    assert num_ticks > (time.monotonic() - started) / 0.005 / 4


async def test_memory_stays_flat(hub: HubServer, target: Path, tmp_path: Path) -> None:
    """64 MB pass through, a few of them are ever held."""
    large = tmp_path / "large"
    with large.open("wb") as file:
        file.truncate(64_000_000)
    hub.add_file("a.gguf", large)
    process = psutil.Process()
    before = process.memory_info().rss
    most = 0

    def report(done: int, _: int | None) -> None:
        nonlocal most
        most = max(most, process.memory_info().rss)

    settings = DownloadSettings(allowed_private_hosts=SETTINGS.allowed_private_hosts)
    await get(hub, target, settings, report=report)
    assert most - before < 24_000_000


@pytest.mark.parametrize("seed", range(20))
async def test_no_sequence_of_faults_makes_a_wrong_file(
    hub: HubServer, target: Path, seed: int
) -> None:
    """Any faults, cancelled anywhere: an error or the file, and once all is well the file."""
    random_ = random.Random(seed)
    for _ in range(random_.randrange(1, 9)):
        size = random_.randrange(1, len(DATA))
        faults: list[Fault] = [
            *(Truncate(size), Reset(size), ShortRange(size), IgnoreRange(), RefuseRange()),
            *(RefuseRange(size), WrongRange(), WrongRange(-1), ChangeETag('W/"1"'), Status(500)),
            *(NoValidators(), NoValidators(ranges=False), WrongLength(5), WrongLength(-5)),
            *(Corrupt(size), Endless()),
        ]
        hub.misbehave("a.gguf", random_.choice(faults), times=1)
    for _ in range(4):
        cancel_at = random_.choice([None, random_.randrange(1, len(DATA))])
        task = asyncio.create_task(
            get(hub, target, size=len(DATA), sha256=SHA256, report=lambda done, _: stop(done))
        )

        def stop(done: int, at: int | None = cancel_at, task: asyncio.Task[Fetched] = task) -> None:
            if at is not None and done >= at:
                task.cancel()

        with contextlib.suppress(asyncio.CancelledError, DownloadFailed):
            await task
            break
    hub.behave()
    assert (await get(hub, target, size=len(DATA), sha256=SHA256)).sha256 == SHA256
    assert is_whole(target)

"""Tests of registry.download.part: what has arrived outlives kills, full disks, other versions."""

import asyncio
import errno
import hashlib
import json
import os
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from registry.download.remote import DownloadSettings
from registry.errors import DownloadFailed
from tests.downloads import DATA, HALF, SETTINGS, SHA256, get, get_some, is_whole, leave, ranges
from tests.hub.hub_server import HubServer, NoValidators, RefuseRange, Slow, Stall, Truncate
from tests.serving import ROOT


async def test_a_part_that_is_complete_is_not_fetched_again(hub: HubServer, target: Path) -> None:
    """416 with our size is the end of the file; a known size needs no request at all."""
    url = f"{hub.url}/files/a.gguf"
    state = {"url": url, "synced": len(DATA), "etag": f'"{SHA256}"'}
    for size in (None, len(DATA)):
        leave(target, DATA, json.dumps(state))
        assert (await get(hub, target, size=size)).sha256 == SHA256
        assert is_whole(target)
    assert ranges(hub) == ["bytes=1000000-"]


async def test_a_refused_range_is_no_end_of_another_size(hub: HubServer, target: Path) -> None:
    """416 with a size that is not ours: what has arrived is not the file."""
    state = {"url": f"{hub.url}/files/a.gguf", "synced": HALF, "etag": f'"{SHA256}"'}
    leave(target, bytes(HALF), json.dumps(state))
    hub.misbehave("a.gguf", RefuseRange(total=len(DATA)), times=1)
    await get(hub, target)
    assert ranges(hub) == ["bytes=500000-", None]
    assert is_whole(target)


@pytest.mark.parametrize("cut", range(0, 110, 7))
async def test_a_torn_state_costs_a_restart_at_most(hub: HubServer, target: Path, cut: int) -> None:
    """Cut at any byte, and the bytes after the last sync damaged: the file is right."""
    url = f"{hub.url}/files/a.gguf"
    state = json.dumps({"url": url, "etag": f'"{SHA256}"', "synced": HALF})
    leave(target, DATA[:HALF] + bytes(1000), state[: len(state) - cut])
    await get(hub, target)
    assert is_whole(target)
    assert ranges(hub) == (["bytes=500000-"] if cut == 0 else [None])


@pytest.mark.parametrize("other", ["url", "size", "told size"])
async def test_a_part_of_another_source_is_not_used(
    hub: HubServer, target: Path, other: str
) -> None:
    """By its URL or its size: the one known beforehand, or the one that a server told before."""
    url = f"{hub.url}/files/{'b' if other == 'url' else 'a'}.gguf"
    size = len(DATA) + (other != "url")
    state = {"url": url, "etag": f'"{SHA256}"', "synced": HALF, "size": size}
    leave(target, bytes(HALF), json.dumps(state))
    await get(hub, target, size=None if other == "told size" else len(DATA))
    assert ranges(hub) == (["bytes=500000-", None] if other == "told size" else [None])
    assert is_whole(target)


async def test_a_resumed_part_is_hashed_as_well(hub: HubServer, target: Path) -> None:
    """Damage that the disk did to the part shows in the hash."""
    hub.misbehave("a.gguf", Truncate(HALF))
    with pytest.raises(DownloadFailed):
        await get(hub, target, replace(SETTINGS, max_attempts=1))
    part = target.with_name("a.gguf.part")
    part.write_bytes(b"X" + part.read_bytes()[1:])
    hub.behave()
    with pytest.raises(DownloadFailed, match="damaged"):
        await get(hub, target, sha256=SHA256)


async def test_a_cancelled_download_goes_on_later(hub: HubServer, target: Path) -> None:
    """All that was received is kept, and nothing writes any more once the task is over."""
    hub.misbehave("a.gguf", Stall(HALF))
    await get_some(hub, target, HALF)
    assert target.with_name("a.gguf.part").read_bytes() == DATA[:HALF]
    hub.behave()
    await get(hub, target)
    assert ranges(hub) == [None, "bytes=500000-"]
    assert is_whole(target)


async def test_kill_9_costs_less_than_8_mib(hub: HubServer, target: Path, tmp_path: Path) -> None:
    """With the real settings, a killed process leaves a part from which the next one goes on."""
    large = tmp_path / "large"
    large.write_bytes(DATA * 30)
    hub.add_file("a.gguf", large)
    hub.misbehave("a.gguf", Slow(0.001), times=1)
    settings = DownloadSettings(allowed_private_hosts=SETTINGS.allowed_private_hosts)
    script = f"""if True:
        import asyncio, pathlib
        from registry.download.fetch import fetch
        from registry.download.remote import DownloadSettings, Remote
        remote, target = Remote("{hub.url}/files/a.gguf"), pathlib.Path({str(target)!r})
        settings = DownloadSettings(allowed_private_hosts={settings.allowed_private_hosts})
        asyncio.run(fetch(remote, target, lambda done, _: print(done, flush=True), settings))
    """
    command = [sys.executable, "-c", script]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        arrived = 0
        for line in process.stdout:
            if (arrived := int(line)) > 15_000_000:
                break
        process.kill()
        arrived = max([arrived, *(int(line) for line in process.stdout if line.endswith("\n"))])
    hub.behave()
    fetched = await get(hub, target, settings)
    begun = int((ranges(hub)[-1] or "").removeprefix("bytes=").removesuffix("-"))
    assert arrived - 8 * 1024 * 1024 < begun <= arrived
    assert fetched.sha256 == hashlib.sha256(DATA * 30).hexdigest()


async def test_two_downloads_do_not_share_a_part(hub: HubServer, target: Path) -> None:
    hub.misbehave("a.gguf", Stall(HALF))
    task = asyncio.create_task(get(hub, target, replace(SETTINGS, stall_s=60)))
    while not target.with_name("a.gguf.part-state").exists():  # now it is locked
        await asyncio.sleep(0.01)
    with pytest.raises(DownloadFailed, match="Another process"):
        await get(hub, target)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_a_link_in_the_place_of_the_part_is_not_followed(
    hub: HubServer, target: Path, tmp_path: Path
) -> None:
    outside = tmp_path / "outside"
    outside.write_text("mine")
    target.parent.mkdir()
    target.with_name("a.gguf.part").symlink_to(outside)
    with pytest.raises(DownloadFailed, match="cannot be written"):
        await get(hub, target)
    assert outside.read_text() == "mine"


async def test_a_disk_that_is_too_small_is_seen_before(hub: HubServer, target: Path) -> None:
    free = shutil.disk_usage(target.parent.parent).free
    with pytest.raises(DownloadFailed, match=r"\d+ bytes are missing. Free as much"):
        await get(hub, target, replace(SETTINGS, reserve_bytes=free))
    assert target.with_name("a.gguf.part").stat().st_size == 0


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT, errno.EIO])
async def test_a_disk_that_fails_midway_keeps_the_part(
    hub: HubServer, target: Path, code: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The error says how much is missing; with room again, the download goes on."""
    pwrite = os.pwrite

    def full(descriptor: int, data: bytes, offset: int) -> int:
        room = HALF - offset
        if room <= 0:
            raise OSError(code, os.strerror(code))
        return pwrite(descriptor, data[:room], offset)

    with monkeypatch.context() as patched:
        patched.setattr(os, "pwrite", full)
        patched.setattr("registry.download.fetch.free_bytes", lambda _: 1000)
        expected = "Input/output" if code == errno.EIO else "499000 bytes are missing"
        with pytest.raises(DownloadFailed, match=expected):
            await get(hub, target)
    await get(hub, target)
    assert ranges(hub) == [None, "bytes=500000-"]
    assert is_whole(target)


@pytest.mark.skipif(sys.platform != "linux", reason="mounts a tmpfs")
async def test_a_full_tmpfs(hub: HubServer, tmp_path: Path) -> None:
    """The real thing: no room for the file, and after making some it goes on."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=1200k", "tmpfs", str(disk)]
    if os.geteuid() != 0 or subprocess.run(mount, capture_output=True).returncode != 0:
        pytest.skip("only root may mount")
    try:
        filler = disk / "filler"
        filler.write_bytes(bytes(600_000))
        hub.misbehave("a.gguf", NoValidators(ranges=False), times=1)  # no length to check before
        with pytest.raises(DownloadFailed, match="bytes are missing"):
            await get(hub, disk / "a.gguf")
        hub.misbehave("a.gguf", Truncate(HALF), times=1)
        with pytest.raises(DownloadFailed, match="bytes are missing"):
            await get(hub, disk / "a.gguf")
        filler.unlink()
        await get(hub, disk / "a.gguf")
        assert is_whole(disk / "a.gguf")
    finally:
        subprocess.run(["umount", str(disk)], check=True)

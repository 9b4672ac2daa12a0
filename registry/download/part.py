"""A file that is still arriving: its bytes in NAME.part, where they are from in NAME.part-state.

All of it blocks, so `fetch` calls it in threads (`blocking`). The state counts only bytes that are
on the disk; after a crash, the part is cut there.
"""

import contextlib
import fcntl
import hashlib
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import ParamSpec, TypeVar

import msgspec

from registry.errors import DownloadFailed
from registry.store import durable
from registry.threads import in_thread

P = ParamSpec("P")
T = TypeVar("T")

_HASH_BYTES = 16 << 20


class State(msgspec.Struct, omit_defaults=True):
    """NAME.part-state."""

    url: str
    etag: str | None = None
    last_modified: str | None = None
    size: int | None = None  # of the whole file
    synced: int = 0  # bytes that are on the disk


class Part:
    """Owned by one task. `open` first, `close` in any case; `size` bytes have arrived."""

    def __init__(self, target: Path, url: str, sync_bytes: int) -> None:
        self.target = target
        self.size = 0
        self.state = State(url)
        self._path = target.with_name(f"{target.name}.part")
        self._sync_bytes = sync_bytes
        self._descriptor: int | None = None
        self._hash = hashlib.sha256()
        self._num_hashed = 0

    def open(self) -> None:
        """Take the part up where it was left, or begin one. Raises DownloadFailed if it is busy."""
        self.target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
        self._descriptor = os.open(self._path, flags, 0o600)
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            os.close(self._descriptor)
            self._descriptor = None
            raise DownloadFailed(f"Another process is downloading {self.target.name}.") from error
        if state := self._read_state():
            self.state = state
            self.size = min(state.synced, os.fstat(self._descriptor).st_size)
        os.ftruncate(self._descriptor, self.size)

    def hash_more(self) -> bool:
        """Hash the next piece of what an earlier run left; False when all of it is hashed."""
        wanted = min(_HASH_BYTES, self.size - self._num_hashed)
        piece = os.pread(self._fd, wanted, self._num_hashed)
        self._hash.update(piece)
        self._num_hashed += len(piece)
        return bool(piece)

    def append(self, data: bytes) -> None:
        """Write at the end. On an OSError, `size` says how far it came."""
        view = memoryview(data)
        while view:
            num_written = os.pwrite(self._fd, view, self.size)
            self._hash.update(view[:num_written])
            self.size += num_written
            self._num_hashed = self.size
            view = view[num_written:]
        if self.size - self.state.synced >= self._sync_bytes:
            self.sync()

    def sync(self) -> None:
        """Put all that arrived on the disk, so that it survives a crash."""
        os.fsync(self._fd)
        self.state.synced = self.size
        self._write_state()

    def restart(self) -> None:
        """Forget what has arrived: it belongs to another version of the file, or is wrong."""
        self.state = State(self.state.url)
        self._write_state()
        os.ftruncate(self._fd, 0)
        self.size = self._num_hashed = 0
        self._hash = hashlib.sha256()

    def sha256(self) -> str:
        assert self._num_hashed == self.size
        return self._hash.hexdigest()

    def finish(self) -> None:
        """Rename the part to the target; from now on it is the file."""
        durable.sync(self._path)
        os.replace(self._path, self.target)
        self._path.with_suffix(".part-state").unlink(missing_ok=True)
        durable.sync(self.target.parent)
        self._close()

    def close(self) -> None:
        """Keep what has arrived, as far as the disk allows."""
        if self._descriptor is not None:
            with contextlib.suppress(OSError):
                if self.size > self.state.synced:
                    self.sync()
            self._close()

    def disk_full(self, lacking: int) -> DownloadFailed:
        return DownloadFailed(
            f"The disk is too full for {self.target.name}: {max(lacking, 1)} bytes are missing. "
            "Free as much, then try again: what has arrived is kept."
        )

    @property
    def _fd(self) -> int:
        assert self._descriptor is not None
        return self._descriptor

    def _close(self) -> None:
        os.close(self._fd)
        self._descriptor = None

    def _read_state(self) -> State | None:
        with contextlib.suppress(OSError, msgspec.MsgspecError):
            content = self._path.with_suffix(".part-state").read_bytes()
            state = msgspec.json.decode(content, type=State)
            if state.url == self.state.url and state.synced >= 0:
                return state
        return None

    def _write_state(self) -> None:
        path = self._path.with_suffix(".part-state")
        beside = self._path.with_suffix(".part-state-new")
        try:
            # Not synced: after a crash an older state does no harm.
            with open(beside, "wb", opener=lambda name, flags: os.open(name, flags, 0o600)) as file:
                file.write(msgspec.json.encode(self.state))
            os.replace(beside, path)
        except OSError:
            beside.unlink(missing_ok=True)
            raise


def free_bytes(folder: Path) -> int:
    """Free bytes on the disk of a folder."""
    return shutil.disk_usage(folder).free


async def blocking(function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Run one of a part's steps in a thread; a cancelled caller waits until it is done."""
    return await in_thread(lambda _: function(*args, **kwargs), lambda _: None)

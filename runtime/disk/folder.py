"""The folder of a home's prefixes: what all its processes write together, within bounds.

Who writes or removes holds a lock that the kernel frees on any end. A file gets its name when it
is whole, so that a reader needs no lock.
"""

import contextlib
import fcntl
import os
import shutil
import time
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from . import home_key, ledger
from .entry import Entry
from .home_key import derived

_NAME = "prefixes"
_LOCK, _LEDGER, _UNFINISHED, _KEY = ".lock", ".ledger", ".unfinished", ".key-"
_FREE_SHARE = 0.5  # of what would be free without the folder, it takes at most this
_MOST_A_DAY = 50_000_000_000  # bytes; a disk of 1 TB stands some 600 TB in all


class Forgotten(Exception):
    """The key was deleted: what is written under it would never be read."""


@dataclass(frozen=True, slots=True)
class _File:
    entry: Entry
    num_bytes: int
    used_at: int  # its time of modification, in ns: when it was read or written last


class Folder:
    """`limit_bytes` bound the folder, and what is written in a day."""

    def __init__(
        self,
        home: Path,
        limit_bytes: int,
        clock: Callable[[], float] = time.time,
        free_bytes: Callable[[Path], int] = lambda path: shutil.disk_usage(path).free,
    ) -> None:
        self.path = home / _NAME
        self.limit_bytes = limit_bytes
        self._home = home
        self._clock = clock
        self._free_bytes = free_bytes
        self._key_mark = ""

    def open(self) -> bytes:
        """The home's key. What was left unfinished, beyond the limit or under another key is gone.

        Raises OSError and KeyUnavailable.
        """
        self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
        with self._locked():
            key = home_key.load_or_make(self._home)
            self._key_mark = _KEY + derived(key, "mark").hex()[:16]
            if not (self.path / self._key_mark).exists():
                self._clear()
                os.close(os.open(self.path / self._key_mark, os.O_WRONLY | os.O_CREAT, 0o600))
            (self.path / _UNFINISHED).unlink(missing_ok=True)
            self._make_room(self._files(), 0)
        return key

    def trim(self) -> None:
        """Remove what is beyond the limit. Raises OSError."""
        if self.path.exists():
            with self._locked():
                self._make_room(self._files(), 0)

    @property
    def num_bytes(self) -> int:
        """Of all models. Raises OSError."""
        return sum(file.num_bytes for file in self._files())

    @property
    def written_today(self) -> int:
        return ledger.read(self.path / _LEDGER, self._clock).written_bytes

    @property
    def version(self) -> int:
        """Another one when files have come or gone. Raises OSError."""
        return self.path.stat().st_mtime_ns

    def entries(self) -> list[Entry]:
        """Raises OSError."""
        return [entry for name in os.listdir(self.path) if (entry := Entry.of(name)) is not None]

    def read(self, entry: Entry) -> bytes:
        """Raises OSError."""
        return (self.path / entry.name).read_bytes()

    def touch(self, entry: Entry) -> None:
        """It was of use. Raises OSError."""
        os.utime(self.path / entry.name)

    def put(
        self,
        entry: Entry,
        behind: Collection[str],
        num_bytes: int,
        saved_s: float,
        write: Callable[[BinaryIO], None],
    ) -> bool:
        """Write a file, if it is worth it and finds room: `saved_s` is what it is expected to save.

        `behind` are the keys that it goes on from; they stay, and none may be missing. Raises
        OSError and Forgotten.
        """
        with self._locked():
            if not (self.path / self._key_mark).exists():
                raise Forgotten
            files = self._files()
            held = {file.entry.key for file in files}
            former = [file.entry for file in files if file.entry.key == entry.key]
            if entry in former or not held.issuperset(behind):
                return False
            today = ledger.read(self.path / _LEDGER, self._clock)
            is_taken = today.takes(num_bytes, saved_s, min(self.limit_bytes, _MOST_A_DAY))
            is_taken = is_taken and self._make_room(files, num_bytes, behind)
            if is_taken:
                today.written_bytes += num_bytes
            ledger.write(self.path / _LEDGER, today)  # before, so that no crash makes it forget
            if is_taken:
                self._write(entry, write)
                for other in former:  # it held less
                    self._remove(other)
            return is_taken

    def remove(self, entries: Collection[Entry]) -> None:
        """Raises OSError."""
        with self._locked():
            for entry in entries:
                self._remove(entry)

    def clear(self) -> None:
        """Remove everything; who still writes under the key of now is refused. Raises OSError."""
        if self.path.exists():
            with self._locked():
                self._clear()

    # --- under the lock -------------------------------------------------------------------------

    @contextlib.contextmanager
    def _locked(self) -> Iterator[None]:
        descriptor = os.open(self.path / _LOCK, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield
        finally:
            os.close(descriptor)

    def _files(self) -> list[_File]:
        files = []
        with os.scandir(self.path) as found:
            for each in found:
                if (entry := Entry.of(each.name)) is not None:
                    with contextlib.suppress(FileNotFoundError):  # of a reader without the lock
                        status = each.stat()
                        files.append(_File(entry, status.st_size, status.st_mtime_ns))
        return files

    def _make_room(self, files: list[_File], needed: int, kept: Collection[str] = ()) -> bool:
        """Whether so much more fits. What was used longest ago goes, last pieces first: nothing is
        found behind one that is gone.
        """
        used = sum(file.num_bytes for file in files)
        free = self._free_bytes(self.path)
        allowed = min(self.limit_bytes, int((used + free) * _FREE_SHARE))
        if needed > allowed:
            return False
        waiting = sorted(files, key=lambda file: file.used_at, reverse=True)
        num_behind: dict[str, int] = {}
        for file in files:
            num_behind[file.entry.parent] = num_behind.get(file.entry.parent, 0) + 1
        while used + needed > allowed:
            leaves = (
                number
                for number in range(len(waiting) - 1, -1, -1)
                if not num_behind.get(waiting[number].entry.key)
                and waiting[number].entry.key not in kept
            )
            if (oldest := next(leaves, None)) is None:
                return False
            file = waiting.pop(oldest)
            self._remove(file.entry)
            num_behind[file.entry.parent] -= 1
            used -= file.num_bytes
        return True

    def _write(self, entry: Entry, write: Callable[[BinaryIO], None]) -> None:
        beside = self.path / _UNFINISHED
        try:
            flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC
            with open(os.open(beside, flags, 0o600), "wb") as file:
                write(file)
                file.flush()
                os.fsync(file.fileno())
            beside.rename(self.path / entry.name)
        except BaseException:
            beside.unlink(missing_ok=True)
            raise

    def _remove(self, entry: Entry) -> None:
        (self.path / entry.name).unlink(missing_ok=True)

    def _clear(self) -> None:
        for name in os.listdir(self.path):
            if Entry.of(name) is not None or name.startswith(_KEY):
                (self.path / name).unlink(missing_ok=True)


def forget(home: Path) -> bool:
    """Delete a home's key and all that was written under it. Returns whether there was anything.

    Raises OSError and KeychainFailed.
    """
    folder = Folder(home, 0)
    was_there = folder.path.exists()
    home_key.delete(home)  # first: what is left without it is noise
    folder.clear()
    return was_there

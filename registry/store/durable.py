"""Files that a crash leaves whole: synced, replaced by rename, locked. For `store` and `jobs`."""

import contextlib
import fcntl
import os
import secrets
import sys
from collections.abc import Iterator
from pathlib import Path

_NEW = ".new-"


def make_folder(path: Path) -> None:
    """A folder, and those above it that are not there, for the user alone."""
    if not path.parent.exists():
        make_folder(path.parent)  # pathlib's `parents` would let everybody in
    path.mkdir(mode=0o700, exist_ok=True)


def sync(path: Path) -> None:
    """Until a file's content, or a folder's names, are on the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        _sync(descriptor)
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def replacing(path: Path, content: bytes) -> Iterator[None]:
    """The file is the old one, and after the block the new one; a full disk shows before it."""
    beside = path.with_name(f"{_NEW}{secrets.token_hex(8)}")
    try:
        with open(beside, "xb", opener=_open_private) as file:
            file.write(content)
            file.flush()
            _sync(file.fileno())
        yield
        os.replace(beside, path)
    except BaseException:
        beside.unlink(missing_ok=True)
        raise
    sync(path.parent)


def replace(path: Path, content: bytes) -> None:
    """The file is the old one or the new one, at every moment."""
    with replacing(path, content):
        pass


def sweep(folder: Path) -> None:
    """Remove what killed writers left of `replacing`; no other may be at it."""
    for left in folder.glob(f"{_NEW}*"):
        left.unlink()


@contextlib.contextmanager
def locked(path: Path) -> Iterator[None]:
    """One holder at a time among all processes; the kernel frees the lock when one ends."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def try_lock(path: Path) -> int | None:
    """The descriptor of a file that is locked now, or None when another one holds it.

    The file may be deleted by its holder, and by nobody else.
    """
    for _ in range(100):  # each one lost to somebody who let go in between
        try:
            make_folder(path.parent)
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
        except (FileNotFoundError, FileExistsError):
            continue  # the last holder removes the folder at this moment
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if os.path.samestat(os.fstat(descriptor), os.stat(path)):
                return descriptor
        except BlockingIOError:
            os.close(descriptor)
            return None
        except FileNotFoundError:
            pass
        except BaseException:
            os.close(descriptor)
            raise
        os.close(descriptor)  # of a file that was deleted in between
    return None


def _sync(descriptor: int) -> None:
    if sys.platform == "darwin":
        # fsync alone leaves the data in the drive's cache there.
        with contextlib.suppress(OSError):
            fcntl.fcntl(descriptor, fcntl.F_FULLFSYNC)
            return
    os.fsync(descriptor)


def _open_private(name: str, flags: int) -> int:
    return os.open(name, flags, 0o600)

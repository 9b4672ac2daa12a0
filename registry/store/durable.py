"""Files that a crash leaves whole: synced, replaced by rename, locked. For all of `registry`."""

import contextlib
import fcntl
import os
import secrets
import sys
from collections.abc import Iterator
from pathlib import Path

_NEW = ".new-"


def make_folder(path: Path) -> None:
    """Make a folder and its missing parents, for the user alone."""
    if not path.parent.exists():
        make_folder(path.parent)  # mkdir(parents=True) would let everybody read them
    path.mkdir(mode=0o700, exist_ok=True)


def sync(path: Path) -> None:
    """Wait until a file's content, or the names in a folder, are on the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        _sync(descriptor)
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def replacing(path: Path, content: bytes) -> Iterator[None]:
    """Write a new file, run the block, then put the new file in place of the old one.

    A full disk fails before the block; an error in the block leaves the old file.
    """
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
    """Replace a file, which is the old one or the new one at every moment."""
    with replacing(path, content):
        pass


def sweep(folder: Path) -> None:
    """Remove what killed writers left of `replacing`; no writer may be at work in the folder."""
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
    """Lock a file and return its descriptor, or None when somebody else holds it.

    Only the holder may delete the file.
    """
    for _ in range(100):  # a try fails when a holder deletes the file meanwhile
        try:
            make_folder(path.parent)
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
        except (FileNotFoundError, FileExistsError):
            continue  # a holder is just removing the folder
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
        os.close(descriptor)  # its file was deleted before we had the lock
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

"""One job per model among all processes of a home: who holds the lock owns the partial folder."""

import contextlib
import os
import shutil
from pathlib import Path

from registry.errors import ModelBusy

from . import durable

_LOCK = "lock"


class Ownership:
    """HOME/partial/ID, locked until `release` or the end of the process. Raises ModelBusy."""

    def __init__(self, folder: Path, action: str) -> None:
        self.folder = folder
        lock = folder / _LOCK
        descriptor = durable.try_lock(lock)
        if descriptor is None:
            raise ModelBusy(folder.name, _action(lock))
        self._descriptor: int | None = descriptor
        os.truncate(descriptor, 0)
        os.write(descriptor, action.encode())  # for the ModelBusy of whoever asks next

    def discard(self, *, keep: str | None = None) -> None:
        """Remove everything in the folder but the lock and the entry called `keep`."""
        for path in self.folder.iterdir():
            if path.name not in (_LOCK, keep):
                if path.is_dir() and not path.is_symlink():
                    shutil.rmtree(path)
                else:
                    path.unlink()

    def release(self) -> None:
        """Let others in, and remove the folder if nothing is left in it. May be called again."""
        if self._descriptor is None:
            return
        with contextlib.suppress(OSError):  # another process came in, or removed the folder
            if os.listdir(self.folder) == [_LOCK]:
                (self.folder / _LOCK).unlink()
                self.folder.rmdir()
        os.close(self._descriptor)
        self._descriptor = None

    def __enter__(self) -> "Ownership":
        return self

    def __exit__(self, *_: object) -> None:
        self.release()


def _action(lock: Path) -> str:
    try:
        return lock.read_text() or "unknown"
    except OSError:
        return "unknown"

"""A folder for one session of an agent, which is gone when the session is over.

It lies in the home of mlx-edge, not among temporary files: Codex keeps no programs there. Who runs
in it holds its lock, the agent too: so what a killed `launch` leaves is removed by the next one,
and not before its agent has ended.
"""

import contextlib
import os
import shutil
import tempfile
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

from registry.store import durable

_LOCK = "lock"
_TRIES, _PAUSE_S = 20, 0.1  # an agent's own children may still write while it is removed


class PrivateFolder(NamedTuple):
    """Where it is, and the descriptor of its lock, for the agent to inherit."""

    path: Path
    lock: int


@contextlib.contextmanager
def private_folder(parent: Path, name: str, files: Mapping[str, str]) -> Iterator[PrivateFolder]:
    """Make it, with these files by their path in it, and remove it at the end. Raises OSError."""
    durable.make_folder(parent)
    with durable.locked(parent / _LOCK):
        _sweep(parent)
        path = Path(tempfile.mkdtemp(prefix=f"{name}-", dir=parent))
        lock = durable.try_lock(path / _LOCK)
    assert lock is not None
    try:
        for file, content in files.items():
            durable.make_folder((path / file).parent)
            (path / file).write_text(content, encoding="utf-8")
        yield PrivateFolder(path, lock)
    finally:
        _remove(path)
        os.close(lock)


def _sweep(parent: Path) -> None:
    """Remove the folders that nobody runs in. One without a lock is made by hand: `--print`."""
    for lock in parent.glob(f"*/{_LOCK}"):
        descriptor = durable.try_lock(lock)
        if descriptor is not None:
            _remove(lock.parent)
            os.close(descriptor)


def _remove(path: Path) -> None:
    for _ in range(_TRIES):
        shutil.rmtree(path, ignore_errors=True)
        if not path.exists():
            return
        time.sleep(_PAUSE_S)

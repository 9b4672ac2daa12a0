"""A SQLite file with a thread of its own: opened when first asked, begun anew when damaged."""

import asyncio
import logging
import os
import sqlite3
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress
from pathlib import Path
from typing import TypeVar

from registry.store.durable import locked

logger = logging.getLogger(__name__)

T = TypeVar("T")

_PRAGMAS = (
    "journal_mode=WAL",
    "synchronous=NORMAL",  # a killed server loses nothing; a machine without power the last second
    "foreign_keys=ON",
    "secure_delete=ON",
    "wal_autocheckpoint=20000",  # pages: for want of `_write_back`
)
_WRITES = 64  # of which the log takes some 3 MB
_DAMAGES = (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)


class Database:
    """Used on one event loop, by as many processes as like."""

    def __init__(self, path: Path, schema: str) -> None:
        """`schema` may be run on a file that has it."""
        self._path = path
        self._schema = schema
        self._thread = ThreadPoolExecutor(1, path.stem)
        self._log_thread = ThreadPoolExecutor(1, f"{path.stem}-log")
        self._moving = threading.Lock()  # the log is written into the file that it is of
        self._num_writes = 0  # that may be in the log alone
        self._connection: sqlite3.Connection | None = None
        self._file: tuple[int, int] | None = None  # that is open
        self._is_closed = False

    async def do(self, action: Callable[[sqlite3.Connection], T], *, writes: bool = False) -> T:
        """In the thread, and in one transaction: what it reads is of one moment, and what writes
        keeps others from writing. Raises OSError, sqlite3.Error.
        """
        if self._is_closed:
            raise sqlite3.ProgrammingError("it is closed")
        loop = asyncio.get_running_loop()
        done = await loop.run_in_executor(self._thread, self._done, action, writes)
        self._num_writes += writes
        if self._num_writes >= _WRITES and not self._is_closed:
            self._num_writes = 0
            self._log_thread.submit(self._write_back)
        return done

    async def close(self) -> None:
        """Of no more use."""
        self._is_closed = True
        await asyncio.to_thread(self._log_thread.shutdown)  # what it writes is written now
        if self._connection is not None:
            with suppress(sqlite3.Error):
                loop = asyncio.get_running_loop()
                await loop.run_in_executor(self._thread, self._connection.close)
        self._thread.shutdown(wait=False)

    def _done(self, action: Callable[[sqlite3.Connection], T], writes: bool) -> T:
        try:
            return self._committed(action, writes)
        except sqlite3.DatabaseError as error:
            if getattr(error, "sqlite_errorcode", 0) & 0xFF not in _DAMAGES:
                raise  # locked, full, read-only, or a fault of ours: the file is sound
            logger.error("%s is damaged (%s); a new one is begun.", self._path, error)
            self._put_aside()
            return self._committed(action, writes)

    def _committed(self, action: Callable[[sqlite3.Connection], T], writes: bool) -> T:
        if self._connection is not None and self._file != _file_at(self._path):
            self._connection.close()  # somebody has removed it, or put another in its place
            self._connection = None
        if self._connection is None:
            self._connection = self._opened()
            self._file = _file_at(self._path)
        connection = self._connection
        connection.execute("BEGIN IMMEDIATE" if writes else "BEGIN")
        try:
            done = action(connection)
            connection.execute("COMMIT")
        except BaseException:
            if connection.in_transaction:  # SQLite itself ends some
                connection.execute("ROLLBACK")
            raise
        return done

    def _write_back(self) -> None:
        """Bring what is in the log into the file. On a connection of its own, for that waits for
        the disk, some 10 ms, and whoever stores the next response is not to wait for it.
        """
        address = f"{self._path.absolute().as_uri()}?mode=rw"
        with self._moving, suppress(sqlite3.Error):
            with closing(sqlite3.connect(address, uri=True)) as connection:
                connection.execute("PRAGMA wal_checkpoint")

    def _opened(self) -> sqlite3.Connection:
        # One server after the other: SQLite does not wait where two begin a log (`journal_mode`).
        with locked(self._path.with_name(f"{self._path.name}.lock")):
            with suppress(FileExistsError):  # to close one that is in use would end its locks
                # What people say to their model is theirs alone.
                os.close(os.open(self._path, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600))
            connection = sqlite3.connect(
                self._path, timeout=5, isolation_level=None, check_same_thread=False
            )
            try:
                for pragma in _PRAGMAS:
                    connection.execute(f"PRAGMA {pragma}")
                connection.executescript(self._schema)
            except BaseException:
                connection.close()
                raise
        return connection

    def _put_aside(self) -> None:
        """For a person to look into; what is not written back yet goes along."""
        if self._connection is not None:
            with suppress(sqlite3.Error):
                self._connection.close()
            self._connection = None
        aside = f"{self._path}.damaged-{time.time_ns()}"
        with self._moving:
            for suffix in ("", "-wal", "-shm"):
                with suppress(FileNotFoundError):
                    os.replace(f"{self._path}{suffix}", f"{aside}{suffix}")


def _file_at(path: Path) -> tuple[int, int] | None:
    """Which file it is; None where there is none."""
    try:
        found = os.stat(path)
    except FileNotFoundError:
        return None
    return found.st_dev, found.st_ino

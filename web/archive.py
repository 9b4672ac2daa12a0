"""Responses that were stored: SQLite in the home, for the next turn and for who asks again.

Bounded by number, bytes and age. What goes first is what nothing goes on from: the oldest last
response of a conversation. So a conversation that is used keeps its beginning, whatever its age.
"""

import asyncio
import logging
import os
import sqlite3
import time
import zlib
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeAlias, TypeVar

import msgspec
import psutil

from registry.checkpoint.config import Json

from .errors import ApiError
from .settings import ArchiveLimits

logger = logging.getLogger(__name__)

T = TypeVar("T")
Item: TypeAlias = dict[str, Any]  # of a conversation; `web.api.openai.responses.items` knows them
# Of a response: what its request said; what the model did; and what its request went on from that
# is stored nowhere else.
Kind: TypeAlias = Literal["input", "output", "context"]

FILE = "responses.sqlite3"
UNDER_WAY = ("queued", "in_progress")
NOT_WHOLE = (*UNDER_WAY, "failed")

_MAX_CHAIN = 10_000  # responses that one goes on from
_PRUNED = 64  # at a time
_SCHEMA = """
CREATE TABLE IF NOT EXISTS responses (
    id TEXT PRIMARY KEY,
    previous_id TEXT,
    stored_at REAL NOT NULL,
    status TEXT NOT NULL,
    owner TEXT NOT NULL,
    num_bytes INTEGER NOT NULL,
    body BLOB NOT NULL,
    events BLOB
);
CREATE INDEX IF NOT EXISTS responses_by_previous ON responses (previous_id);
CREATE INDEX IF NOT EXISTS responses_by_age ON responses (stored_at);
CREATE TABLE IF NOT EXISTS items (
    response_id TEXT NOT NULL REFERENCES responses (id) ON DELETE CASCADE,
    position INTEGER NOT NULL,
    kind TEXT NOT NULL,
    id TEXT NOT NULL,
    body BLOB NOT NULL,
    PRIMARY KEY (response_id, position)
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS items_by_id ON items (id);
CREATE TABLE IF NOT EXISTS totals (num_responses INTEGER NOT NULL, num_bytes INTEGER NOT NULL);
INSERT INTO totals SELECT 0, 0 WHERE NOT EXISTS (SELECT 1 FROM totals);
CREATE TRIGGER IF NOT EXISTS counted AFTER INSERT ON responses BEGIN
    UPDATE totals SET num_responses = num_responses + 1, num_bytes = num_bytes + new.num_bytes;
END;
CREATE TRIGGER IF NOT EXISTS uncounted AFTER DELETE ON responses BEGIN
    UPDATE totals SET num_responses = num_responses - 1, num_bytes = num_bytes - old.num_bytes;
END;
"""
_CHAIN = """
WITH RECURSIVE chain (id, previous_id, depth) AS (
    SELECT id, previous_id, 0 FROM responses WHERE id = ?
    UNION ALL
    SELECT r.id, r.previous_id, depth + 1 FROM responses r JOIN chain ON r.id = chain.previous_id
    WHERE depth < ?
)
SELECT chain.depth, chain.previous_id, items.body
FROM chain LEFT JOIN items ON items.response_id = chain.id
ORDER BY chain.depth DESC, items.position
"""
_LEAVES = """
DELETE FROM responses WHERE id IN (
    SELECT id FROM responses r
    WHERE stored_at < ? AND id != ?
    AND NOT EXISTS (SELECT 1 FROM responses WHERE previous_id = r.id)
    ORDER BY stored_at LIMIT ?
)
"""


@dataclass(frozen=True, slots=True)
class Stored:
    """A response as it is kept."""

    id: str
    previous_id: str | None  # None too where that is stored nowhere
    body: dict[str, Json]
    items: Sequence[tuple[Kind, Item]]
    events: Sequence[bytes] = ()  # of a stream that can be followed again, by their numbers


class Unstorable(Exception):
    """The disk is full, or cannot be written."""


class Archive:
    """Used on one event loop; SQLite has a thread of its own."""

    def __init__(self, home: Path, limits: ArchiveLimits) -> None:
        self.limits = limits
        self._path = home / FILE
        self._thread = ThreadPoolExecutor(1, "responses")
        self._connection: sqlite3.Connection | None = None
        self._owner = _owner()

    @property
    def is_on(self) -> bool:
        return self.limits.max_responses > 0

    async def put(self, stored: Stored) -> None:
        """Keep a response, in the place of what was kept of it before. Raises Unstorable."""
        try:
            await self._do(lambda db: self._put(db, stored))
        except (OSError, sqlite3.Error) as error:
            raise Unstorable(str(error)) from error

    async def body(self, response_id: str) -> dict[str, Json]:
        """A response as clients see it. Raises ApiError 404."""
        body = await self._read(lambda db: _body(db, response_id))
        if body is None:
            raise not_found(response_id)
        return body

    async def events(self, response_id: str) -> list[bytes] | None:
        """The events of its stream, or None where they were not kept. Raises ApiError 404."""
        found, events = await self._read(lambda db: _events(db, response_id))
        if not found:
            raise not_found(response_id)
        return events

    async def chain(self, response_id: str) -> list[Item] | None:
        """All that was said up to and in a response; None where one of the chain is missing.

        Raises ApiError for one that cannot be gone on from.
        """
        return await self._read(lambda db: _chain(db, response_id))

    async def inputs(self, response_id: str) -> list[Item] | None:
        """The items of its request; None for a response that is not stored."""
        return await self._read(lambda db: _inputs(db, response_id))

    async def referred(self, item_ids: Sequence[str]) -> dict[str, Item]:
        """The items of these ids, as far as they are known."""
        return await self._read(lambda db: _referred(db, item_ids))

    async def remove(self, response_id: str) -> bool:
        """False for one that is not stored."""
        remove = "DELETE FROM responses WHERE id = ?"
        return await self._read(lambda db: db.execute(remove, (response_id,)).rowcount > 0)

    async def close(self) -> None:
        """Of no more use."""
        if self._connection is not None:
            with suppress(sqlite3.Error):
                await asyncio.get_running_loop().run_in_executor(
                    self._thread, self._connection.close
                )
        self._thread.shutdown(wait=False)

    # --- in the thread --------------------------------------------------------------------------

    async def _read(self, action: Callable[[sqlite3.Connection], T]) -> T:
        try:
            return await self._do(action)
        except (OSError, sqlite3.Error) as error:
            raise ApiError(
                503, f"Stored responses cannot be read: {error}.", code="storage_failed"
            ) from error

    async def _do(self, action: Callable[[sqlite3.Connection], T]) -> T:
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._thread, self._in_thread, action)

    def _in_thread(self, action: Callable[[sqlite3.Connection], T]) -> T:
        try:
            return self._committed(action)
        except sqlite3.OperationalError:  # locked, full, read-only: the file is sound
            raise
        except sqlite3.DatabaseError as error:
            logger.error("%s is damaged (%s); a new one is begun.", self._path, error)
            self._put_aside()
            return self._committed(action)

    def _committed(self, action: Callable[[sqlite3.Connection], T]) -> T:
        if self._connection is None:
            self._connection = self._opened()
        with self._connection:
            return action(self._connection)

    def _opened(self) -> sqlite3.Connection:
        # What people say to their model is theirs alone.
        os.close(os.open(self._path, os.O_CREAT | os.O_RDWR, 0o600))
        connection = sqlite3.connect(self._path, timeout=5, check_same_thread=False)
        try:
            # A crash of the server loses nothing that was put; one of the machine, the last second.
            for pragma in ("journal_mode=WAL", "synchronous=NORMAL", "foreign_keys=ON",
                           "secure_delete=ON"):  # fmt: skip
                connection.execute(f"PRAGMA {pragma}")
            connection.executescript(_SCHEMA)
        except BaseException:
            connection.close()
            raise
        return connection

    def _put_aside(self) -> None:
        if self._connection is not None:
            with suppress(sqlite3.Error):
                self._connection.close()
            self._connection = None
        for suffix in ("-wal", "-shm"):
            Path(f"{self._path}{suffix}").unlink(missing_ok=True)
        self._path.replace(f"{self._path}.damaged")

    def _put(self, db: sqlite3.Connection, stored: Stored) -> None:
        body = msgspec.json.encode(stored.body)
        items = [
            (stored.id, place, kind, str(item["id"]), msgspec.json.encode(item))
            for place, (kind, item) in enumerate(stored.items)
        ]
        events = zlib.compress(b"\n".join(stored.events), 1) if stored.events else None
        num_bytes = len(body) + len(events or b"") + sum(len(item[-1]) for item in items)
        now = time.time()
        db.execute("DELETE FROM responses WHERE id = ?", (stored.id,))
        db.execute(
            "INSERT INTO responses VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
            (stored.id, stored.previous_id, now, stored.body["status"], self._owner, num_bytes,
             body, events),
        )  # fmt: skip
        db.executemany("INSERT INTO items VALUES (?, ?, ?, ?, ?)", items)
        self._prune(db, stored.id, now)

    def _prune(self, db: sqlite3.Connection, newest: str, now: float) -> None:
        db.execute(_LEAVES, (now - self.limits.max_age_s, newest, _PRUNED))
        while True:
            num_responses, num_bytes = db.execute("SELECT * FROM totals").fetchone()
            surplus = num_responses - self.limits.max_responses
            if surplus <= 0 and num_bytes <= self.limits.max_bytes:
                return
            if not db.execute(_LEAVES, (now + 1, newest, min(max(surplus, 1), _PRUNED))).rowcount:
                return  # all of it is what the newest one goes on from


def not_found(response_id: str) -> ApiError:
    return ApiError(
        404, f"There is no response {response_id[:100]!r} here.", param="response_id",
        code="response_not_found",
    )  # fmt: skip


def _body(db: sqlite3.Connection, response_id: str) -> dict[str, Json] | None:
    found = db.execute(
        "SELECT body, status, owner FROM responses WHERE id = ?", (response_id,)
    ).fetchone()
    if found is None:
        return None
    body: dict[str, Json] = msgspec.json.decode(found[0])
    if found[1] in UNDER_WAY and not _is_alive(found[2]):
        message = "The server ended before its answer was whole."
        body |= {"status": "failed", "error": {"code": "server_error", "message": message}}
    return body


def _events(db: sqlite3.Connection, response_id: str) -> tuple[bool, list[bytes] | None]:
    found = db.execute("SELECT events FROM responses WHERE id = ?", (response_id,)).fetchone()
    if found is None or found[0] is None:
        return found is not None, None
    return True, zlib.decompress(found[0]).split(b"\n")


def _chain(db: sqlite3.Connection, response_id: str) -> list[Item] | None:
    found = db.execute("SELECT status FROM responses WHERE id = ?", (response_id,)).fetchone()
    if found is None or found[0] in NOT_WHOLE:
        return None
    rows = db.execute(_CHAIN, (response_id, _MAX_CHAIN)).fetchall()
    if not rows or rows[0][1] is not None:  # what comes first goes on from something
        return None
    bodies = (body for _, _, body in rows if body is not None)
    items: list[Item] = msgspec.json.decode(b"[" + b",".join(bodies) + b"]")
    return items


def _inputs(db: sqlite3.Connection, response_id: str) -> list[Item] | None:
    if db.execute("SELECT 1 FROM responses WHERE id = ?", (response_id,)).fetchone() is None:
        return None
    rows = db.execute(
        "SELECT body FROM items WHERE response_id = ? AND kind = 'input' ORDER BY position",
        (response_id,),
    )
    return [msgspec.json.decode(body) for (body,) in rows]


def _referred(db: sqlite3.Connection, item_ids: Sequence[str]) -> dict[str, Item]:
    found: dict[str, Item] = {}
    for item_id in item_ids:
        row = db.execute("SELECT body FROM items WHERE id = ? LIMIT 1", (item_id,)).fetchone()
        if row is not None:
            found[item_id] = msgspec.json.decode(row[0])
    return found


def _owner() -> str:
    """This process, told apart from a later one with its number."""
    return f"{os.getpid()} {psutil.Process().create_time()}"


def _is_alive(owner: str) -> bool:
    number, began_at = owner.split(" ")
    try:
        return psutil.Process(int(number)).create_time() == float(began_at)
    except psutil.NoSuchProcess:
        return False

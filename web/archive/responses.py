"""The responses of a home, bounded by number, bytes and age.

What goes first is what nothing goes on from: the oldest last response of a conversation. So a
conversation that is used keeps its beginning, whatever its age.
"""

import os
import sqlite3
import time
import zlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeAlias, TypeVar

import msgspec
import psutil

from registry.checkpoint.config import Json
from web.errors import ApiError
from web.settings import ArchiveLimits

from . import tables
from .database import Database

T = TypeVar("T")
Item: TypeAlias = dict[str, Any]  # of a conversation; `web.api.openai.responses.items` knows them
# Of a response: what its request said; what the model did; and what its request went on from that
# is stored nowhere else.
Kind: TypeAlias = Literal["input", "output", "context"]

FILE = "responses.sqlite3"
UNDER_WAY = ("queued", "in_progress")
NOT_WHOLE = (*UNDER_WAY, "failed")

MAX_CHAIN_BYTES = 32 << 20  # that a response may go on from
_PRUNED = 64  # at a time


@dataclass(frozen=True, slots=True)
class Stored:
    """A response as it is kept."""

    id: str
    status: str
    body: bytes  # JSON, as clients see it
    said: Sequence[Item]
    output: Sequence[Item] = ()
    previous_id: str | None = None  # None too where that is stored nowhere
    before: Sequence[Item] = ()  # what is kept with it where `previous_id` is None, or gone
    events: Sequence[bytes] = ()  # of a stream that can be followed again, by their numbers
    is_noted: bool = False  # put before, while it was under way: if it is gone, it was removed


class Unstorable(Exception):
    """The disk is full, or cannot be written."""


class ChainTooLong(Exception):
    """More was said than any model reads."""


class Archive:
    """Used on one event loop."""

    def __init__(self, home: Path, limits: ArchiveLimits) -> None:
        self.limits = limits
        self._database = Database(home / FILE, tables.SCHEMA)
        self._owner = _owner()

    @property
    def is_on(self) -> bool:
        return self.limits.max_responses > 0

    async def put(self, stored: Stored) -> None:
        """Keep a response, in the place of what was kept of it before. Raises Unstorable."""
        try:
            await self._database.do(lambda db: self._put(db, stored), writes=True)
        except (OSError, sqlite3.Error) as error:
            raise Unstorable(str(error)) from error

    async def body(self, response_id: str) -> dict[str, Json] | None:
        """A response as clients see it. One that nobody works at any more has failed."""
        found = await self._read(lambda db: tables.body(db, response_id))
        if found is None:
            return None
        raw, status, owner = found
        body: dict[str, Json] = msgspec.json.decode(raw)
        # Those that this process works at are never asked here.
        if status in UNDER_WAY and (owner == self._owner or not _is_alive(owner)):
            message = "The server ended before the answer was whole, or could not store it."
            body |= {"status": "failed", "error": {"code": "server_error", "message": message}}
        return body

    async def events(self, response_id: str) -> list[bytes] | None:
        """The events of its stream; None where they were not kept."""
        packed = await self._read(lambda db: tables.events(db, response_id))
        return None if packed is None else zlib.decompress(packed).split(b"\n")

    async def chain(self, response_id: str) -> list[Item] | None:
        """All that was said up to and in a response; None where one of the chain is missing, or
        this one is not whole. Raises ChainTooLong.
        """
        return await self._read(lambda db: _chain(db, response_id))

    async def inputs(self, response_id: str) -> list[Item] | None:
        """The items of its request; None for a response that is not stored."""
        bodies = await self._read(lambda db: tables.inputs(db, response_id))
        return None if bodies is None else _decoded(bodies)

    async def referred(self, item_ids: Iterable[str]) -> dict[str, Item]:
        """The items of these ids, as far as they are known; of equal ids the newest."""
        bodies = await self._read(lambda db: tables.referred(db, item_ids))
        return {name: msgspec.json.decode(body) for name, body in bodies.items()}

    async def remove(self, response_id: str) -> bool:
        """False for one that is not stored."""
        return await self._read(lambda db: tables.remove(db, response_id), writes=True)

    async def close(self) -> None:
        """Of no more use."""
        await self._database.close()

    async def _read(self, action: Callable[[sqlite3.Connection], T], *, writes: bool = False) -> T:
        try:
            return await self._database.do(action, writes=writes)
        except (OSError, sqlite3.Error) as error:
            raise ApiError(
                503, f"Stored responses cannot be read: {error}.", code="storage_failed"
            ) from error

    def _put(self, db: sqlite3.Connection, stored: Stored) -> None:
        if stored.is_noted and not tables.has(db, stored.id):
            return
        previous_id, before = stored.previous_id, stored.before
        if previous_id is not None:
            if tables.has(db, previous_id):
                before = ()
            else:  # removed meanwhile
                previous_id = None
        told: list[tuple[Kind, Sequence[Item]]] = [
            ("context", before), ("input", stored.said), ("output", stored.output)
        ]  # fmt: skip
        items = [
            (kind, str(item["id"]), msgspec.json.encode(item))
            for kind, some in told
            for item in some
        ]
        events = zlib.compress(b"\n".join(stored.events), 1) if stored.events else None
        now = time.time()
        row = stored.id, previous_id, now, stored.status, self._owner, stored.body, events
        tables.put(db, row, items)
        self._prune(db, stored.id, now)

    def _prune(self, db: sqlite3.Connection, newest: str, now: float) -> None:
        tables.remove_ends(db, newest, now - self.limits.max_age_s, _PRUNED)
        while True:
            num_responses, num_bytes = tables.totals(db)
            surplus = num_responses - self.limits.max_responses
            if surplus <= 0 and num_bytes <= self.limits.max_bytes:
                return
            if not tables.remove_ends(db, newest, now + 1, min(max(surplus, 1), _PRUNED)):
                return  # all of it is what the newest one goes on from


def _chain(db: sqlite3.Connection, response_id: str) -> list[Item] | None:
    if tables.status(db, response_id) in (None, *NOT_WHOLE):
        return None
    links = tables.links(db, response_id)
    num_bytes = sum(num_said for _, _, num_said in links)
    if num_bytes > MAX_CHAIN_BYTES or len(links) > tables.MAX_CHAIN:
        raise ChainTooLong
    if links[-1][1] is not None:  # what comes first goes on from something
        return None
    return _decoded([body for name, _, _ in reversed(links) for body in tables.items(db, name)])


def _decoded(bodies: list[bytes]) -> list[Item]:
    items: list[Item] = msgspec.json.decode(b"[" + b",".join(bodies) + b"]")
    return items


def _owner() -> str:
    """This process, told apart from a later one with its number."""
    return f"{os.getpid()} {psutil.Process().create_time()}"


def _is_alive(owner: str) -> bool:
    number, began_at = owner.split(" ")
    try:
        return psutil.Process(int(number)).create_time() == float(began_at)
    except psutil.NoSuchProcess:
        return False

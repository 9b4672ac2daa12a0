"""The tables of the archive, and what is asked of them in SQL."""

import sqlite3
from collections.abc import Iterable, Sequence
from typing import TypeAlias

# id, previous_id, stored_at, status, owner, body, events
Row: TypeAlias = tuple[str, str | None, float, str, str, bytes, bytes | None]

MAX_CHAIN = 10_000  # responses that one goes on from

SCHEMA = """
CREATE TABLE IF NOT EXISTS responses (
    id TEXT PRIMARY KEY,
    previous_id TEXT,
    stored_at REAL NOT NULL,
    status TEXT NOT NULL,
    owner TEXT NOT NULL,
    body BLOB NOT NULL,
    events BLOB,
    num_said INTEGER NOT NULL,
    num_bytes INTEGER NOT NULL,
    num_next INTEGER NOT NULL
);
CREATE INDEX IF NOT EXISTS responses_by_previous ON responses (previous_id);
CREATE INDEX IF NOT EXISTS ends_by_age ON responses (stored_at) WHERE num_next = 0;
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
CREATE TRIGGER IF NOT EXISTS inserted AFTER INSERT ON responses BEGIN
    UPDATE totals SET num_responses = num_responses + 1, num_bytes = num_bytes + new.num_bytes;
    UPDATE responses SET num_next = num_next + 1 WHERE id = new.previous_id;
END;
CREATE TRIGGER IF NOT EXISTS deleted AFTER DELETE ON responses BEGIN
    UPDATE totals SET num_responses = num_responses - 1, num_bytes = num_bytes - old.num_bytes;
    UPDATE responses SET num_next = num_next - 1 WHERE id = old.previous_id;
END;
"""
_LINKS = """
WITH RECURSIVE chain (id, previous_id, num_said, depth) AS (
    SELECT id, previous_id, num_said, 0 FROM responses WHERE id = ?
    UNION ALL
    SELECT r.id, r.previous_id, r.num_said, depth + 1
    FROM responses r JOIN chain ON r.id = chain.previous_id
    WHERE depth < ?
)
SELECT id, previous_id, num_said FROM chain ORDER BY depth
"""
_ENDS = """
DELETE FROM responses WHERE id IN (
    SELECT id FROM responses WHERE num_next = 0 AND stored_at < ? AND id != ?
    ORDER BY stored_at LIMIT ?
)
"""
_REFERRED = """
SELECT items.body FROM items JOIN responses ON responses.id = items.response_id
WHERE items.id = ? ORDER BY stored_at DESC LIMIT 1
"""


def has(db: sqlite3.Connection, response_id: str) -> bool:
    """Whether it is stored."""
    return status(db, response_id) is not None


def status(db: sqlite3.Connection, response_id: str) -> str | None:
    """None for one that is not stored."""
    found = db.execute("SELECT status FROM responses WHERE id = ?", (response_id,)).fetchone()
    return None if found is None else str(found[0])


def body(db: sqlite3.Connection, response_id: str) -> tuple[bytes, str, str] | None:
    """Its JSON, its status, and who works at it."""
    asked = "SELECT body, status, owner FROM responses WHERE id = ?"
    found: tuple[bytes, str, str] | None = db.execute(asked, (response_id,)).fetchone()
    return found


def events(db: sqlite3.Connection, response_id: str) -> bytes | None:
    """Those of its stream, packed, if they are kept."""
    found = db.execute("SELECT events FROM responses WHERE id = ?", (response_id,)).fetchone()
    return None if found is None else found[0]


def links(db: sqlite3.Connection, response_id: str) -> list[tuple[str, str | None, int]]:
    """A response and those that it goes on from, the first one last: id, previous id, and how many
    bytes its items have."""
    return db.execute(_LINKS, (response_id, MAX_CHAIN)).fetchall()


def items(db: sqlite3.Connection, response_id: str) -> list[bytes]:
    """All of a response, in their order."""
    asked = "SELECT body FROM items WHERE response_id = ? ORDER BY position"
    return [found for (found,) in db.execute(asked, (response_id,))]


def inputs(db: sqlite3.Connection, response_id: str) -> list[bytes] | None:
    """What its request said; None for one that is not stored."""
    if not has(db, response_id):
        return None
    asked = "SELECT body FROM items WHERE response_id = ? AND kind = 'input' ORDER BY position"
    return [found for (found,) in db.execute(asked, (response_id,))]


def referred(db: sqlite3.Connection, item_ids: Iterable[str]) -> dict[str, bytes]:
    """The newest item of each of these ids, as far as there is one."""
    rows = ((item_id, db.execute(_REFERRED, (item_id,)).fetchone()) for item_id in item_ids)
    return {item_id: row[0] for item_id, row in rows if row is not None}


def put(db: sqlite3.Connection, row: Row, told: Sequence[tuple[str, str, bytes]]) -> None:
    """A response and its items (kind, id, JSON), in the place of what was there of it."""
    response_id = row[0]
    num_said = sum(len(found) for _, _, found in told)
    num_bytes = len(row[5]) + len(row[6] or b"") + num_said
    asked = "SELECT COUNT(*) FROM responses WHERE previous_id = ?"
    (num_next,) = db.execute(asked, (response_id,)).fetchone()
    remove(db, response_id)
    db.execute(
        "INSERT INTO responses VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (*row, num_said, num_bytes, num_next),
    )
    db.executemany(
        "INSERT INTO items VALUES (?, ?, ?, ?, ?)",
        ((response_id, place, *item) for place, item in enumerate(told)),
    )


def remove(db: sqlite3.Connection, response_id: str) -> bool:
    """False for one that is not stored."""
    return db.execute("DELETE FROM responses WHERE id = ?", (response_id,)).rowcount > 0


def totals(db: sqlite3.Connection) -> tuple[int, int]:
    """How many there are, and their bytes."""
    found: tuple[int, int] = db.execute("SELECT * FROM totals").fetchone()
    return found


def remove_ends(db: sqlite3.Connection, but: str, before: float, most: int) -> int:
    """The oldest that nothing goes on from; how many these were."""
    return db.execute(_ENDS, (before, but, most)).rowcount

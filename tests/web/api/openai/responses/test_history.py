"""Tests of responses.history: what belongs to a connection, within bounds."""

import json
from pathlib import Path
from typing import Any

import pytest

from web.api.openai.responses.history import Before, ConnectionMemory, History
from web.archive import responses as archive_module
from web.archive.responses import Archive, Stored
from web.errors import ApiError
from web.settings import ArchiveLimits


def item(name: str, size: int = 0) -> dict[str, Any]:
    return {"id": name, "type": "message", "text": "x" * size}


def held(memory: ConnectionMemory, response_id: str) -> list[str] | None:
    items = memory.items(response_id)
    return None if items is None else [one["id"] for one in items]


def go_on(memory: ConnectionMemory, name: str, previous: str | None, size: int = 0) -> None:
    """Keep a response that goes on from another."""
    items = memory.items(previous) if previous else None
    before = Before() if items is None else Before(items, held_id=previous)
    memory.keep(name, before, [item(name, size)])


def test_a_chain_is_all_that_was_said() -> None:
    memory = ConnectionMemory()
    for name, previous in [("a", None), ("b", "a"), ("c", "b"), ("fork", "a")]:
        go_on(memory, name, previous)
    assert held(memory, "c") == ["a", "b", "c"] and held(memory, "fork") == ["a", "fork"]
    assert held(memory, "no") is None
    assert memory.referred({"b", "no"}) == {"b": item("b")}


def test_what_it_goes_on_from_in_the_archive_is_kept_with_it() -> None:
    memory = ConnectionMemory()
    memory.keep("b", Before([item("a")], stored_id="a"), [item("b")])
    go_on(memory, "c", "b")
    assert held(memory, "c") == ["a", "b", "c"]


def test_what_is_evicted_ends_nothing_that_goes_on_from_it() -> None:
    memory = ConnectionMemory()
    for name, previous in [("a", None), ("b", "a")]:
        go_on(memory, name, previous)
    memory.evict("a")
    memory.evict("no")
    assert held(memory, "a") is None and held(memory, "b") == ["a", "b"]


def test_the_oldest_ends_make_room() -> None:
    """A conversation that is gone on with keeps its beginning."""
    memory = ConnectionMemory(limit_bytes=10_000)
    go_on(memory, "long", None, 1000)
    previous: str | None = "long"
    for number in range(30):
        go_on(memory, f"other{number}", None, 1000)
        if number < 5:
            go_on(memory, f"long{number}", previous, 500)
            previous = f"long{number}"
    assert held(memory, "other29") is not None and held(memory, "other0") is None
    assert held(memory, "long") is None  # nobody went on with it for long
    memory = ConnectionMemory(limit_bytes=10_000)
    previous = None
    for number in range(6):
        go_on(memory, f"long{number}", previous, 1000)
        go_on(memory, f"other{number}", None, 1000)
        previous = f"long{number}"
    assert held(memory, "long5") == [f"long{number}" for number in range(6)]
    assert held(memory, "other0") is None and held(memory, "other5") is not None


def test_one_that_is_beyond_the_limit_is_not_kept() -> None:
    memory = ConnectionMemory(limit_bytes=10_000)
    go_on(memory, "a", None, 6000)
    go_on(memory, "b", "a", 6000)
    assert held(memory, "b") is None and held(memory, "a") == ["a"]


def test_a_long_conversation_of_short_turns_is_kept() -> None:
    memory = ConnectionMemory()
    previous = None
    for number in range(2000):
        go_on(memory, f"r{number}", previous)
        previous = f"r{number}"
    assert len(held(memory, "r1999") or []) == 2000


async def test_what_is_near_is_meant_before_what_is_stored(tmp_path: Path) -> None:
    """A client's own ids may be used in several conversations."""
    archive = Archive(tmp_path, ArchiveLimits())
    body = json.dumps({"id": "r"}).encode()
    await archive.put(Stored("r", "completed", body, [item("x", 1), item("y", 1), item("z", 1)]))
    memory = ConnectionMemory()
    memory.keep("m", Before(), [item("x", 2), item("y", 2)])
    history = History(archive, memory)
    found = await history.referred({"x", "y", "z", "no"}, Before([item("x", 3)]))
    assert {name: len(one["text"]) for name, one in found.items()} == {"x": 3, "y": 2, "z": 1}
    await archive.close()


async def test_what_is_too_long_to_be_read_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(archive_module, "MAX_CHAIN_BYTES", 100)
    archive = Archive(tmp_path, ArchiveLimits())
    await archive.put(Stored("r", "completed", b"{}", [item("x", 200)]))
    with pytest.raises(ApiError, match="compact it") as raised:
        await History(archive).before("r")
    assert raised.value.code == "context_length_exceeded"
    await archive.close()

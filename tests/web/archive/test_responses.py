"""Tests of web.archive: what is stored is there again, within bounds, whatever happens."""

import asyncio
import json
import sqlite3
import stat
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path
from random import Random
from typing import Any

import pytest

from tests.serving import ROOT
from web.archive import responses, tables
from web.archive.responses import FILE, Archive, ChainTooLong, Item, Stored, Unstorable
from web.errors import ApiError
from web.settings import ArchiveLimits


@pytest.fixture
async def archive(tmp_path: Path) -> AsyncIterator[Archive]:
    opened = Archive(tmp_path, ArchiveLimits())
    yield opened
    await opened.close()


def stored(name: str, previous: str | None = None, **fields: Any) -> Stored:
    """A response that was asked one thing and said another."""
    body = {"id": name, "object": "response", "status": "completed"} | fields
    said: list[Item] = [{"id": f"{name}-in", "type": "message", "n": 0}]
    output: list[Item] = [{"id": f"{name}-out", "type": "message", "n": 1}]
    before: list[Item] = [{"id": f"{previous}-kept", "type": "message"}] if previous else []
    status, encoded = str(body["status"]), json.dumps(body).encode()
    return Stored(name, status, encoded, said, output, previous, before)


def body_of(stored: Stored) -> dict[str, Any]:
    return dict(json.loads(stored.body))


async def ids(archive: Archive, name: str) -> list[str] | None:
    items = await archive.chain(name)
    return None if items is None else [str(item["id"]) for item in items]


async def test_what_is_put_is_there_again(archive: Archive) -> None:
    await archive.put(stored("a", text="grüße"))
    assert await archive.body("a") == body_of(stored("a", text="grüße"))
    assert [item["id"] for item in await archive.inputs("a") or []] == ["a-in"]
    assert await archive.referred(["a-out", "no"]) == {"a-out": stored("a").output[0]}
    assert await archive.events("a") is None
    await archive.put(stored("a", text="anew"))
    assert await archive.body("a") == body_of(stored("a", text="anew"))
    assert await ids(archive, "a") == ["a-in", "a-out"]


async def test_nothing_is_made_up(archive: Archive) -> None:
    assert await archive.body("no") is None and await archive.events("no") is None
    assert await archive.chain("no") is None and await archive.inputs("no") is None
    assert await archive.referred(["no"]) == {}
    assert await archive.remove("no") is False


async def test_a_chain_is_all_that_was_said(archive: Archive) -> None:
    """In its order, and of this branch alone."""
    for name, previous in [("a", None), ("b", "a"), ("c", "b"), ("other", "a")]:
        await archive.put(stored(name, previous))
    assert await ids(archive, "c") == ["a-in", "a-out", "b-in", "b-out", "c-in", "c-out"]
    assert await ids(archive, "other") == ["a-in", "a-out", "other-in", "other-out"]


async def test_what_goes_on_from_nothing_that_is_there_cannot_be_gone_on_from(
    archive: Archive,
) -> None:
    for name, previous in [("a", None), ("b", "a"), ("c", "b")]:
        await archive.put(stored(name, previous))
    assert await archive.remove("a")
    assert await archive.chain("c") is None
    assert await archive.body("c") == body_of(stored("c", "b"))
    assert await archive.referred(["a-in"]) == {}


async def test_what_it_goes_on_from_is_kept_with_it_where_that_is_gone(archive: Archive) -> None:
    """Removed while the answer was made."""
    await archive.put(stored("b", "gone"))
    assert await ids(archive, "b") == ["gone-kept", "b-in", "b-out"]
    assert [item["id"] for item in await archive.inputs("b") or []] == ["b-in"]


async def test_what_was_removed_while_it_was_made_stays_away(archive: Archive) -> None:
    """By another server, say."""
    await archive.put(stored("a", status="queued"))
    await archive.remove("a")
    response = stored("a")
    await archive.put(Stored("a", "completed", response.body, response.said, is_noted=True))
    assert await archive.body("a") is None


async def test_of_equal_ids_the_newest_is_meant(archive: Archive) -> None:
    """Clients may choose them."""
    for name in ("a", "b"):
        response = stored(name)
        item = {"id": "msg_1", "type": "message", "of": name}
        await archive.put(Stored(name, "completed", response.body, [item]))
    assert (await archive.referred({"msg_1"}))["msg_1"]["of"] == "b"


async def test_more_than_any_model_reads_is_told_and_not_read(
    archive: Archive, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(responses, "MAX_CHAIN_BYTES", 10_000)
    previous = None
    for name in "abc":
        response = stored(name, previous)
        item: Item = {"id": name, "type": "message", "text": "x" * 4000}
        await archive.put(Stored(name, "completed", response.body, [item], previous_id=previous))
        previous = name
    assert await archive.chain("b") is not None
    with pytest.raises(ChainTooLong):
        await archive.chain("c")


async def test_what_a_response_says_of_itself_makes_no_chain_long(
    archive: Archive, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its tools and instructions are not gone on from."""
    monkeypatch.setattr(responses, "MAX_CHAIN_BYTES", 1000)
    for name, previous in [("a", None), ("b", "a"), ("c", "b")]:
        await archive.put(stored(name, previous, instructions="x" * 5000))
    assert await ids(archive, "c") is not None


@pytest.mark.parametrize("status", ["failed", "queued", "in_progress"])
async def test_what_is_not_whole_cannot_be_gone_on_from(archive: Archive, status: str) -> None:
    await archive.put(stored("a", status=status))
    assert await archive.chain("a") is None
    told = await archive.body("a")  # which is asked for what this process does not work at
    assert told is not None and told["status"] == "failed"
    await archive.put(stored("a"))
    assert await archive.chain("a") is not None


async def test_a_circle_ends(archive: Archive) -> None:
    """Nobody can make one but with an editor."""
    await archive.put(stored("a"))
    await archive.put(stored("b", "a"))
    circle = "UPDATE responses SET previous_id = 'b' WHERE id = 'a'"
    await archive._database.do(lambda db: db.execute(circle).rowcount)
    with pytest.raises(ChainTooLong):
        await archive.chain("a")


async def test_events_are_kept_one_by_one(archive: Archive) -> None:
    events = [b'{"type":"x","n":%d}' % number for number in range(2000)]
    a = stored("a")
    await archive.put(Stored(a.id, a.status, a.body, a.said, events=events))
    assert await archive.events("a") == events


async def test_the_oldest_end_of_a_conversation_goes_first(tmp_path: Path) -> None:
    """A beginning stays for as long as something goes on from it."""
    archive = Archive(tmp_path, ArchiveLimits(max_responses=4))
    for name, previous in [("a", None), ("b", "a"), ("x", None), ("c", "b"), ("d", "c")]:
        await archive.put(stored(name, previous))
    assert await ids(archive, "d") is not None and await archive.chain("x") is None
    await archive.put(stored("e", "d"))
    assert len(await ids(archive, "e") or []) == 10  # of five: nothing else could go
    await archive.put(stored("y", None))
    assert await archive.chain("d") is None and await ids(archive, "c") is not None
    await archive.close()


async def test_bytes_and_ages_are_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    archive = Archive(tmp_path, ArchiveLimits(max_bytes=100_000, max_age_s=1000))
    for number in range(20):
        await archive.put(stored(f"r{number}", text="x" * 10_000))
    found = [await archive.inputs(f"r{number}") is not None for number in range(20)]
    assert found == [False] * 11 + [True] * 9
    now = time.time()
    monkeypatch.setattr(time, "time", lambda: now + 2000)
    await archive.put(stored("new"))
    assert await archive.inputs("r19") is None and await archive.inputs("new") is not None
    await archive.close()


@pytest.mark.slow
async def test_ten_thousand_conversations(tmp_path: Path) -> None:
    """Within a bound of 5,000 the last 5,000 are whole."""
    archive = Archive(tmp_path, ArchiveLimits(max_responses=5000))
    for number in range(10_000):
        await archive.put(stored(f"r{number}"))
    assert await archive.chain("r4999") is None
    assert await ids(archive, "r5000") is not None and await ids(archive, "r9999") is not None
    await archive.close()


async def test_it_outlives_the_process_and_is_for_the_user_alone(tmp_path: Path) -> None:
    """Killed right behind the put."""
    script = (
        "import asyncio, os, signal\n"
        "from pathlib import Path\n"
        "from tests.web.archive.test_responses import stored\n"
        "from web.archive.responses import Archive\n"
        "from web.settings import ArchiveLimits\n"
        "async def main():\n"
        f"    archive = Archive(Path({str(tmp_path)!r}), ArchiveLimits())\n"
        "    await archive.put(stored('a'))\n"
        "    await archive.put(stored('b', 'a', status='in_progress'))\n"
        "    os.kill(os.getpid(), signal.SIGKILL)\n"
        "asyncio.run(main())\n"
    )
    subprocess.run([sys.executable, "-c", script], cwd=ROOT, check=False)
    archive = Archive(tmp_path, ArchiveLimits())
    assert await ids(archive, "a") == ["a-in", "a-out"]
    body: Any = await archive.body("b")
    assert body["status"] == "failed"  # nobody is there to end it
    assert body["error"]["code"] == "server_error"
    await archive.close()
    for path in tmp_path.iterdir():
        assert stat.S_IMODE(path.stat().st_mode) == 0o600, path


async def test_the_log_is_written_back_while_it_is_used(tmp_path: Path, archive: Archive) -> None:
    """So it does not grow for ever, though no response that is stored waits for that."""
    await archive.put(stored("first"))
    size = (tmp_path / FILE).stat().st_size
    for number in range(64):
        await archive.put(stored(str(number)))
    async with asyncio.timeout(30):
        while (tmp_path / FILE).stat().st_size == size:
            await asyncio.sleep(0.01)


async def test_closed_it_is_one_file_that_nobody_writes(tmp_path: Path) -> None:
    """Also when it is closed while its log is written back, as it is behind the 64th write."""
    for attempt in range(20):
        home = tmp_path / str(attempt)
        home.mkdir()
        archive = Archive(home, ArchiveLimits())
        await asyncio.gather(*(archive.put(stored(f"r{number}")) for number in range(64)))
        await archive.close()
        assert {path.name for path in home.iterdir()} == {FILE, f"{FILE}.lock"}


async def test_two_servers_share_a_home(tmp_path: Path) -> None:
    one, two = (Archive(tmp_path, ArchiveLimits()) for _ in range(2))
    await asyncio.gather(
        *(one.put(stored(f"a{number}")) for number in range(50)),
        *(two.put(stored(f"b{number}")) for number in range(50)),
    )
    for archive in (one, two):
        for name in ("a0", "a49", "b0", "b49"):
            assert await archive.chain(name) is not None
        await archive.close()


async def test_servers_begin_a_file_at_once(tmp_path: Path) -> None:
    """None of them finds it locked by another that is making it."""
    for attempt in range(20):
        home = tmp_path / str(attempt)
        home.mkdir()
        archives = [Archive(home, ArchiveLimits()) for _ in range(4)]
        await asyncio.gather(*(archive.put(stored(str(id(archive)))) for archive in archives))
        for archive in archives:
            await archive.close()


@pytest.mark.parametrize("damage", ["no database", "cut", "torn"])
async def test_a_damaged_file_is_put_aside(tmp_path: Path, damage: str) -> None:
    """What it held is lost to the server, and nothing else; a person may still look into it."""
    archive = Archive(tmp_path, ArchiveLimits())
    for number in range(200):
        await archive.put(stored(f"r{number}", text="x" * 1000))
    await archive.close()
    path = tmp_path / FILE
    content = path.read_bytes()
    match damage:
        case "no database":
            path.write_bytes(b"what is this? " * 1000)
        case "cut":
            path.write_bytes(content[: len(content) // 3])
        case "torn":
            path.write_bytes(content[:8192] + Random(0).randbytes(len(content) - 8192))
    archive = Archive(tmp_path, ArchiveLimits())
    await archive.put(stored("new"))
    for number in range(200):
        await archive.inputs(f"r{number}")
    await archive.put(stored("new"))
    assert await ids(archive, "new") == ["new-in", "new-out"]
    await archive.close()
    assert len([*tmp_path.glob(f"{FILE}.damaged-*")]) >= 1


async def test_a_full_disk_is_told_and_over_when_there_is_room(
    tmp_path: Path, archive: Archive
) -> None:
    await archive.put(stored("a"))

    def limit(num_pages: int) -> Any:
        return lambda db: db.execute(f"PRAGMA max_page_count={num_pages}").fetchone()

    (num_pages,) = await archive._database.do(limit(1))  # no less than there are
    with pytest.raises(Unstorable, match="full"):
        await archive.put(stored("b", text="x" * 1_000_000))
    assert await ids(archive, "a") == ["a-in", "a-out"]
    assert await archive.chain("b") is None
    await archive._database.do(limit(num_pages + 10_000))
    await archive.put(stored("b", text="x" * 1_000_000))
    assert await ids(archive, "b") is not None


async def test_a_home_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    """By a folder in the place of the file: to root no mode says no."""
    (tmp_path / FILE).mkdir()
    archive = Archive(tmp_path, ArchiveLimits())
    with pytest.raises(Unstorable):
        await archive.put(stored("a"))
    with pytest.raises(ApiError) as raised:
        await archive.body("a")
    assert raised.value.status == 503 and raised.value.code == "storage_failed"
    await archive.close()


async def test_a_chain_is_of_one_moment(tmp_path: Path, archive: Archive) -> None:
    """Another server may remove a part of it meanwhile: there is all of it, or none."""
    for name, previous in [("a", None), ("b", "a"), ("c", "b")]:
        await archive.put(stored(name, previous))
    other = sqlite3.connect(tmp_path / FILE, isolation_level=None, check_same_thread=False)
    links = tables.links

    def links_then(db: sqlite3.Connection, response_id: str) -> Any:
        found = links(db, response_id)
        other.execute("PRAGMA foreign_keys=ON")
        other.execute("DELETE FROM responses WHERE id = 'b'")
        return found

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tables, "links", links_then)
        assert len(await ids(archive, "c") or []) == 6
    assert await archive.chain("c") is None
    other.close()


async def test_a_file_that_was_removed_is_begun_anew(tmp_path: Path, archive: Archive) -> None:
    await archive.put(stored("a"))
    for path in tmp_path.glob(f"{FILE}*"):
        path.unlink()
    assert await archive.body("a") is None
    await archive.put(stored("b"))
    later = Archive(tmp_path, ArchiveLimits())
    assert await later.body("b") is not None
    await later.close()


async def test_one_that_is_locked_is_waited_for(tmp_path: Path, archive: Archive) -> None:
    await archive.put(stored("a"))
    other = sqlite3.connect(tmp_path / FILE, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    putting = asyncio.create_task(archive.put(stored("b")))
    await asyncio.wait({putting}, timeout=0.2)
    other.execute("COMMIT")
    other.close()
    await putting
    assert await ids(archive, "b") is not None


def test_nothing_is_stored_where_nothing_may_be(tmp_path: Path) -> None:
    assert not Archive(tmp_path, ArchiveLimits(max_responses=0)).is_on
    assert list(tmp_path.iterdir()) == []

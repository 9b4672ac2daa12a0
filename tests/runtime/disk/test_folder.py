"""Tests of the folder of prefixes: its bounds, whoever writes; what goes first; an end to it."""

import hashlib
import itertools
import os
import stat
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import BinaryIO

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from runtime.disk import folder, home_key
from runtime.disk.entry import Entry
from runtime.disk.folder import Folder, Forgotten
from tests.serving import ROOT

ROOMY = 1 << 40


def key(name: str) -> str:
    return hashlib.sha256(name.encode()).hexdigest()[:32]


def entry(name: str, parent: str = "", num_tokens: int = 5) -> Entry:
    return Entry(key(parent), key(name), num_tokens)


def put(
    place: Folder, new: Entry, num_bytes: int, behind: tuple[str, ...] = (), saved_s: float = 1e9
) -> bool:
    def write(file: BinaryIO) -> None:
        file.write(bytes(num_bytes))

    return place.put(new, behind, num_bytes, saved_s, write)


def opened(home: Path, limit: int = 1000, free: int = ROOMY, now: float = 1.8e9) -> Folder:
    place = Folder(home, limit, lambda: now, lambda _: free)
    place.open()
    return place


def age(place: Folder, old: Entry, seconds: int) -> None:
    os.utime(place.path / old.name, (1e9 - seconds, 1e9 - seconds))


def test_files_are_the_users_alone(tmp_path: Path) -> None:
    place = opened(tmp_path / "home")
    assert put(place, entry("a"), 10)
    for path in (place.path, *place.path.iterdir(), tmp_path / "home" / "prefixes.key"):
        assert stat.S_IMODE(path.stat().st_mode) == (0o700 if path.is_dir() else 0o600), path
    assert place.entries() == [entry("a")] and place.read(entry("a")) == bytes(10)


def test_names_of_other_kinds_are_none_of_ours(tmp_path: Path) -> None:
    place = opened(tmp_path)
    for name in ("notes.txt", f"{key('a')}-{key('b')}-5-0-2", f"{key('a')}-{key('b')}-x-0-1"):
        (place.path / name).touch()
    assert place.entries() == []
    whole = Entry(key("a"), key("b"), 512, 100, True)
    assert Entry.of(whole.name) == whole


def test_what_was_used_longest_ago_goes_first_from_its_end(tmp_path: Path) -> None:
    days = itertools.count(20_000)  # as many as there are writes, so that the budget is fresh
    place = Folder(tmp_path, 1000, lambda: next(days) * 86_400.0, lambda _: ROOMY)
    place.open()
    old, its_end, new = entry("old"), entry("end", "old"), entry("new")
    assert put(place, old, 400) and put(place, its_end, 200, (old.key,)) and put(place, new, 300)
    for number, each in enumerate((new, its_end, old)):
        age(place, each, number)
    assert put(place, entry("more"), 200)
    assert set(place.entries()) == {old, new, entry("more")}
    assert put(place, entry("most"), 300)
    assert set(place.entries()) == {new, entry("more"), entry("most")}


def test_a_piece_does_not_drive_out_what_it_goes_on_from(tmp_path: Path) -> None:
    place = opened(tmp_path)
    first = entry("first")
    assert put(place, first, 600)
    assert not put(place, entry("second", "first"), 500, (first.key,))
    assert place.entries() == [first]
    assert not put(place, entry("third", "second"), 10, (first.key, key("second")))


def test_more_of_the_same_replaces_less(tmp_path: Path) -> None:
    place = opened(tmp_path)
    assert put(place, entry("a"), 10)
    assert not put(place, entry("a"), 10)
    richer = Entry(key(""), key("a"), 5, 0, True)
    assert put(place, richer, 20)
    assert place.entries() == [richer] and place.num_bytes == 20


def test_at_most_half_of_what_is_free(tmp_path: Path) -> None:
    place = opened(tmp_path, limit=10_000, free=500)
    assert not put(place, entry("a"), 300)
    assert put(place, entry("b"), 200)
    assert opened(tmp_path, limit=10_000, free=100).entries() == []


def test_a_smaller_limit_holds_from_the_start(tmp_path: Path) -> None:
    place = opened(tmp_path)
    for name in "abc":
        assert put(place, entry(name), 300)
    age(place, entry("b"), 5)
    Folder(tmp_path, 700, free_bytes=lambda _: ROOMY).trim()
    assert set(place.entries()) == {entry("a"), entry("c")}
    assert opened(tmp_path, limit=0).entries() == []


def test_a_day_writes_as_much_as_the_limit(tmp_path: Path) -> None:
    now = 1.8e9
    place = Folder(tmp_path, 1000, lambda: now, lambda _: ROOMY)
    place.open()
    for name in "abc":
        assert put(place, entry(name), 300)
    place.remove(place.entries())
    assert not put(place, entry("d"), 300)
    other = opened(tmp_path)
    assert other.written_today == 900 and not put(other, entry("d"), 300)
    now += 86_400
    assert place.written_today == 0 and put(place, entry("d"), 300)
    assert place.written_today == 300


def test_a_writer_that_was_killed_leaves_nothing(tmp_path: Path) -> None:
    place = opened(tmp_path)
    (place.path / ".unfinished").write_bytes(bytes(300))
    assert opened(tmp_path).entries() == []
    assert not (place.path / ".unfinished").exists()


def test_a_write_that_fails_leaves_nothing(tmp_path: Path) -> None:
    place = opened(tmp_path)

    def fail(file: BinaryIO) -> None:
        file.write(b"some")
        raise OSError(28, "No space left on device")

    with pytest.raises(OSError):
        place.put(entry("a"), (), 10, 1e9, fail)
    assert place.entries() == [] and not (place.path / ".unfinished").exists()


def test_what_is_forgotten_is_gone_and_no_more_is_written(tmp_path: Path) -> None:
    place = opened(tmp_path)
    first = home_key.load_or_make(tmp_path)
    assert put(place, entry("a"), 10)
    assert folder.forget(tmp_path)
    assert place.entries() == [] and not (tmp_path / "prefixes.key").exists()
    with pytest.raises(Forgotten):
        put(place, entry("b"), 10)
    again = opened(tmp_path)
    assert again.open() != first and put(again, entry("b"), 10)
    with pytest.raises(Forgotten):
        put(place, entry("c"), 10)


def test_nothing_to_forget(tmp_path: Path) -> None:
    assert not folder.forget(tmp_path / "home")
    assert not (tmp_path / "home").exists()


def test_what_another_key_wrote_is_removed(tmp_path: Path) -> None:
    assert put(opened(tmp_path), entry("a"), 10)
    home_key.delete(tmp_path)
    assert opened(tmp_path).entries() == []


@settings(max_examples=30, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 9), st.integers(0, 9), st.integers(1, 500)), max_size=40))
def test_no_traffic_goes_beyond_the_limits(moves: list[tuple[int, int, int]]) -> None:
    """And nothing is there without what it goes on from."""
    with TemporaryDirectory() as home:
        place = opened(Path(home))
        parents: dict[str, tuple[str, ...]] = {}  # the names before each
        for number, (parent, name, num_bytes) in enumerate(moves):
            before = parents.get(str(parent), ())
            behind = (*before, str(parent)) if str(parent) in parents else ()
            new = f"{number}.{name}" if behind else str(name)
            if put(
                place, entry(new, behind[-1] if behind else ""), num_bytes, tuple(map(key, behind))
            ):
                parents[new] = behind
            held = {each.key for each in place.entries()}
            assert place.num_bytes <= 1000 and place.written_today <= 1000
            assert all(each.parent in held | {key("")} for each in place.entries())


WRITER = """
import sys
from pathlib import Path
from tests.runtime.disk.test_folder import entry, opened, put
place = opened(Path(sys.argv[1]), limit=20_000)
for number in range(40):
    put(place, entry(sys.argv[2] + str(number)), 300)
    assert place.num_bytes <= 20_000
"""


def test_two_processes_share_the_limits(tmp_path: Path) -> None:
    commands = ([sys.executable, "-c", WRITER, str(tmp_path), name] for name in "ab")
    writers = [subprocess.Popen(command, cwd=ROOT) for command in commands]
    assert [writer.wait(120) for writer in writers] == [0, 0]
    place = opened(tmp_path, limit=20_000)
    assert len(place.entries()) == 20_000 // 300
    assert place.written_today == 300 * len(place.entries())

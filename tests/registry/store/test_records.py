"""Tests of registry.store.records: torn, foreign and unchanged model.json files."""

import logging
import os
from contextlib import suppress
from pathlib import Path

import pytest

from registry.errors import ModelExists, ModelNotFound
from registry.store import durable
from registry.store.record import Description
from registry.store.store import Store
from tests.provisioning import ids, publish


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "home")


@pytest.mark.slow
def test_torn_metadata_costs_one_model(
    store: Store, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Cut at any byte, model.json hides its own model and no other; it can be made again then."""
    monkeypatch.setattr(durable, "_sync", lambda _: None)  # the crash is played, not suffered
    caplog.set_level(logging.ERROR)  # one warning a cut is right, and too much here
    publish(store, "good")
    entry = publish(store, "torn")
    path = store.home / "models" / "torn" / "model.json"
    content = path.read_bytes()
    for length in range(len(content)):
        path.write_bytes(content[:length])
        assert ids(store) == ["good"]
        with pytest.raises(ModelNotFound):
            store.get("torn")
        store.sweep()
        assert entry.folder.exists()  # it may be all that is left of it
        entry = publish(store, "torn")
        assert ids(store) == ["good", "torn"] and entry.is_ready
        assert sorted(os.listdir(path.parent)) == sorted([entry.folder.name, "model.json"])
    path.write_bytes(content[:-1])
    _, is_new = store.create("torn", Description("llm"))
    assert is_new and ids(store) == ["good", "torn"]
    path.write_bytes(content[:-1])
    store.remove("torn")
    assert ids(store) == ["good"]


@pytest.mark.parametrize("content", [b"[]", b"null", b'{"id":1}', b"\xff\xfe", b"[" * 100_000])
def test_metadata_of_another_kind_is_left_out(store: Store, content: bytes) -> None:
    """Whatever stands there, the list goes on."""
    publish(store, "tiny")
    (store.home / "models" / "tiny" / "model.json").write_bytes(content)
    assert ids(store) == []


def test_an_id_in_other_capitals_replaces_nothing(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where the disk takes both for one, the second is refused."""
    publish(store, "tiny")
    # A disk that knows no capitals, as those of Macs are: the name leads to the other's folder.
    with suppress(FileExistsError):  # on a Mac it does so already
        (store.home / "models" / "TINY").symlink_to("tiny")
    monkeypatch.setattr(os, "listdir", lambda _: ["tiny"])
    with pytest.raises(ModelNotFound):
        store.get("TINY")
    with pytest.raises(ModelExists, match="in other capitals"):
        store.create("TINY", Description("embed"))
    assert ids(store) == ["tiny"] and store.get("tiny").kind == "llm"


def test_a_list_reads_no_record_twice(store: Store) -> None:
    """A record whose file is unchanged is not read again; a changed one is."""
    for number in range(20):
        store.create(f"m{number}", Description("llm"))
    entries = store.entries()
    for number in range(20):
        path = store.home / "models" / f"m{number}" / "model.json"
        status = path.stat()
        # Same size, same time, same file: only somebody who reads it can know.
        path.write_bytes(b"#" * status.st_size)
        os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert store.entries() == entries
    assert store.get("m7") in entries
    Store(store.home).create("m7", Description("embed"))
    assert store.get("m7").kind == "embed"
    assert ids(Store(store.home)) == ["m7"]

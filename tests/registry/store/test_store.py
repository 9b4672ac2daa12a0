"""Tests of registry.store.store: ids, publishing, damage, and several writers."""

import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from registry.errors import InvalidModelId, ModelBusy, ModelExists, ModelNotFound
from registry.store.record import Description, Recipe
from registry.store.store import BUILT_IN_ID, Entry, Store
from tests.fake_work import WEIGHTS, fake_verified, write_folder
from tests.provisioning import SOURCE, ids, publish
from tests.serving import ROOT

BAD_IDS = ["", ".", "..", "../x", "a/b", "a\\b", "/etc", "-x", ".x", "a..b", "x" * 256, "x" * 1000,
           "a b", "a\n", "\na", "x\0", "x\0/../y", "~", "C:x", "%2e%2e", "\u2024\u2024", "ａ",
           "．．", "a\u0301", "..\\x", "x/../../y"]  # fmt: skip


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "home")


def link(store: Store, model_id: str, folder: Path) -> Entry:
    return store.publish_link(model_id, folder, source=SOURCE, verified=fake_verified())


def tree(folder: Path) -> dict[str, bytes | None]:
    """Every name below a folder, and the bytes of the files."""
    return {
        str(path.relative_to(folder)): path.read_bytes() if path.is_file() else None
        for path in folder.rglob("*")
    }


def test_a_published_model_is_found(store: Store) -> None:
    """It is listed with its size and provenance, for the user alone, also by a new store object."""
    entry = publish(store, "tiny-1.0")
    assert (entry.id, entry.kind, entry.is_ready) == ("tiny-1.0", "llm", True)
    assert entry.size_bytes == len(WEIGHTS)
    assert (entry.folder / "model.safetensors").read_bytes() == WEIGHTS
    assert entry.record is not None
    assert (entry.record.source, entry.record.licence) == (SOURCE, "mit")
    assert Store(store.home).get("tiny-1.0") == entry
    assert ids(store) == ["tiny-1.0"]
    for path in entry.folder.iterdir():
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
    for folder in (entry.folder, entry.folder.parent, store.home):
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700


@pytest.mark.parametrize("model_id", BAD_IDS)
def test_ids_never_leave_the_store(store: Store, tmp_path: Path, model_id: str) -> None:
    """No id reaches a path outside, and the tree is byte for byte what it was."""
    source = write_folder(tmp_path / "source")
    (tmp_path / "y").write_text("not ours")
    publish(store, "other")
    before = tree(tmp_path)
    for refused in (
        lambda: store.create(model_id, Description("llm")),
        lambda: store.own(model_id, "pull"),
        lambda: store.partial(model_id),
        lambda: link(store, model_id, source),
        lambda: store.publish(
            model_id, source, source=SOURCE, recipe=Recipe(), verified=fake_verified()
        ),
    ):
        with pytest.raises(InvalidModelId) as caught:
            refused()
        assert len(str(caught.value)) < 400
    for missing in (
        lambda: store.get(model_id),
        lambda: store.remove(model_id),
        lambda: store.update(model_id, Description("llm")),
    ):
        with pytest.raises(ModelNotFound):
            missing()
    store.note_load(model_id, 1.0, 2)
    store.note_broken(model_id, "no")
    assert tree(tmp_path) == before


def test_create_is_an_upsert(store: Store) -> None:
    """New the first time, updated the second; not ready before there are files."""
    entry, is_new = store.create("tiny", Description("vlm", "1.2.3", 4096, {"a": 1}))
    assert is_new and not entry.is_ready and entry.size_bytes == 0
    assert (entry.kind, entry.record and entry.record.version) == ("vlm", "1.2.3")
    again, is_new = store.create("tiny", Description(init_context_size=512))
    assert not is_new and again.record is not None
    assert (again.kind, again.record.init_context_size, again.record.gguf) == ("vlm", 512, {"a": 1})
    assert again.created_at == entry.created_at
    assert ids(store) == ["tiny"]


def test_files_come_to_a_created_model(store: Store) -> None:
    """What was said of it stays; the folder it had is removed once the new one is named."""
    store.create("tiny", Description("llm", "7", 64, metadata={"a": "b"}))
    first = publish(store, "tiny")
    second = publish(store, "tiny", b"other weights")
    assert second.record is not None
    assert (second.record.version, second.record.init_context_size) == ("7", 64)
    assert second.record.metadata == {"a": "b"}
    assert not first.folder.exists()
    assert (second.folder / "model.safetensors").read_bytes() == b"other weights"
    store.update("tiny", Description(version="8"))
    assert store.get("tiny").is_ready
    assert second.folder.exists()


def test_a_linked_folder_is_never_touched(store: Store, tmp_path: Path) -> None:
    """Not by linking, nor by removing; files that went or changed make it not ready."""
    source = write_folder(tmp_path / "source")
    before = tree(source)
    entry = link(store, "tiny", source)
    assert (entry.folder, entry.is_ready, entry.size_bytes) == (source, True, len(WEIGHTS))
    (source / "model.safetensors").write_bytes(WEIGHTS[:-1])
    assert store.get("tiny").is_ready is False
    (source / "model.safetensors").unlink()
    assert store.get("tiny").is_ready is False
    (source / "model.safetensors").write_bytes(WEIGHTS)
    assert store.get("tiny").is_ready is True
    store.remove("tiny")
    assert tree(source) == before
    assert ids(store) == []


def test_a_removed_model_leaves_nothing(store: Store) -> None:
    """Neither its files, nor what a failed job had acquired, nor a lock."""
    publish(store, "tiny")
    (store.home / "partial" / "tiny" / "hub-0").mkdir(parents=True)
    store.remove("tiny")
    assert ids(store) == []
    assert os.listdir(store.home / "models") == os.listdir(store.home / "partial") == []
    with pytest.raises(ModelNotFound):
        store.remove("tiny")
    publish(store, "tiny")


def test_what_was_acquired_can_be_removed_without_a_model(store: Store) -> None:
    """A pull that was given up has taken disk, and `rm` frees it."""
    (store.home / "partial" / "tiny" / "hub-0").mkdir(parents=True)
    store.remove("tiny")
    assert os.listdir(store.home / "partial") == []


def test_a_model_at_work_is_not_removed(store: Store) -> None:
    """Whoever works on it is named, and may be another process; then it can be."""
    publish(store, "tiny")
    other = Store(store.home)
    with store.own("tiny", "verify"):
        with pytest.raises(ModelBusy, match="verify"):
            other.remove("tiny")
        with pytest.raises(ModelBusy, match="verify"):
            other.own("tiny", "pull")
    other.remove("tiny")


def test_the_built_in_model_stays(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is listed as ready; its id cannot be taken, nor its files removed."""
    built_in = write_folder(store.home.parent / "pocket")
    monkeypatch.setattr("registry.store.store.BUILT_IN", built_in)
    assert [(e.id, e.is_ready, e.is_built_in) for e in store.entries()] == [
        (BUILT_IN_ID, True, True)
    ]
    with pytest.raises(InvalidModelId, match="part of mlx-edge"):
        store.remove(BUILT_IN_ID)
    with pytest.raises(ModelExists, match="already exists"):
        store.create(BUILT_IN_ID, Description("llm"))
    with pytest.raises(ModelExists, match="already exists"):
        publish(store, BUILT_IN_ID)
    store.note_load(BUILT_IN_ID, 1.0, 2)
    assert len(store.entries()) == 1


def test_loads_and_verifications_are_noted(store: Store) -> None:
    """What was measured stands in the record; a failure takes the model from the ready ones."""
    entry = publish(store, "tiny")
    store.note_load("tiny", 1.25, 1000)
    record = store.get("tiny").record
    assert record and (record.load_s, record.peak_memory_bytes) == (1.25, 1000)
    store.note_broken("tiny", "a shard is gone")
    record = store.get("tiny").record
    assert record and record.failure == "a shard is gone" and not store.get("tiny").is_ready
    store.note_verified("tiny", fake_verified(), record.manifest)
    assert store.get("tiny").is_ready and store.get("tiny").folder == entry.folder
    store.note_load("gone", 1.0, 1)
    assert ids(store) == ["tiny"]


def test_what_killed_writers_left_is_swept(store: Store) -> None:
    """It is never listed; a start of the server removes it, and what is named stays."""
    entry = publish(store, "tiny")
    models = store.home / "models"
    (models / ".staging-dead" / "removed").mkdir(parents=True)
    (models / "unnamed" / "files-00000000").mkdir(parents=True)
    (models / "tiny" / "files-00000000").mkdir()
    (models / "tiny" / ".new-0").write_text("{")
    own = write_folder(models / "by-hand")
    assert ids(store) == ["tiny"]
    store.sweep()
    assert sorted(os.listdir(models)) == ["by-hand", "tiny"]
    assert len(os.listdir(own)) == 3  # what a person put there is not ours to remove
    assert sorted(os.listdir(models / "tiny")) == sorted([entry.folder.name, "model.json"])
    assert store.get("tiny").is_ready


def test_a_full_disk_costs_nothing(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """A record that cannot be written leaves the old one, and the new files where they were."""
    before = publish(store, "tiny")
    folder = write_folder(store.home / "partial" / "made")

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr("registry.store.manifests.seal", lambda _: None)
        patched.setattr("registry.store.durable._sync", full)
        with pytest.raises(OSError, match="No space"):
            store.publish("tiny", folder, source=SOURCE, recipe=Recipe(), verified=fake_verified())
    assert store.get("tiny") == before and before.is_ready
    assert sorted(os.listdir(before.folder.parent)) == sorted([before.folder.name, "model.json"])
    assert folder.exists()


@pytest.mark.slow
def test_writers_in_several_processes_lose_nothing(store: Store) -> None:
    """Eight processes write at once: every model is there, and of one id all notes are of one."""
    code = (
        "import sys; from pathlib import Path; from registry.store.store import Store\n"
        "from registry.store.record import Description\n"
        "from tests.provisioning import publish\n"
        "store, own = Store(Path(sys.argv[1])), sys.argv[2]\n"
        "for n in range(10):\n"
        "    store.create(f'{own}-{n}', Description('llm'))\n"
        "    publish(store, 'shared', f'weights of {own} {n}'.encode())\n"
        "    store.remove(f'{own}-{n}') if n % 2 else None\n"
    )
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", code, str(store.home), f"own{n}"],
            cwd=ROOT,
            env=os.environ | {"PYTHONPATH": "."},
        )
        for n in range(8)
    ]
    while any(process.poll() is None for process in processes):
        for entry in store.entries():
            assert entry.id != "shared" or entry.record is not None
    assert [process.wait() for process in processes] == [0] * 8
    assert set(ids(store)) == {"shared"} | {
        f"own{n}-{m}" for n in range(8) for m in range(0, 10, 2)
    }
    shared = store.get("shared")
    assert shared.is_ready
    assert sorted(os.listdir(shared.folder.parent)) == sorted([shared.folder.name, "model.json"])

"""Tests of jobs.acquire and jobs.provision with local files: copied, linked, converted."""

import errno
import os
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from registry.checkpoint.verify import Verified
from registry.convert_messages import Work
from registry.errors import BrokenWeights, ModelExists, NotAModel, SourceRefused
from registry.jobs import provision
from registry.jobs.jobs import Jobs
from registry.jobs.order import Convert, Import
from registry.store.record import Recipe
from registry.store.store import Store
from registry.threads import Step
from tests.fake_work import WEIGHTS, FakeWork, write_folder
from tests.provisioning import left, listed, record_of, run, settings_of, sha256, stages, until


async def test_a_folder_is_copied(store: Store, work: FakeWork, tmp_path: Path) -> None:
    """By content, through a hub cache's links; code, pipes and other weights stay behind."""
    blobs = write_folder(tmp_path / "blobs")
    source = tmp_path / "snapshot"
    source.mkdir()
    for name in os.listdir(blobs):
        (source / name).symlink_to(blobs / name)
    (source / "evil.py").write_text("print('no')")
    (source / "adapters.safetensors").write_text("other")
    os.mkfifo(source / "pipe.json")
    (source / "folder.json").mkdir()
    reports = await run(Import("tiny", str(source)), store)
    assert stages(reports)[0] == "copying"
    entry = store.get("tiny")
    assert sorted(os.listdir(entry.folder)) == sorted(os.listdir(blobs))
    assert not any(path.is_symlink() for path in entry.folder.iterdir())
    source_of = record_of(store).source
    assert source_of is not None and source_of.location == str(source)
    assert source_of.sha256["model.safetensors"] == sha256(WEIGHTS)
    (blobs / "model.safetensors").write_text("changed")
    assert store.get("tiny").is_ready and left(store) == []


async def test_an_embedders_folder_is_copied(store: Store, work: FakeWork, tmp_path: Path) -> None:
    """With the modules that say how its vectors are made, which have folders of their own."""
    source = write_folder(tmp_path / "source")
    wanted = ["1_Pooling/config.json", "2_Dense/config.json", "2_Dense/model.safetensors"]
    unwanted = ["onnx/config.json", "2_Dense/pytorch_model.bin", "onnx/model.safetensors"]
    for name in (*wanted, *unwanted):
        (source / name).parent.mkdir(exist_ok=True)
        (source / name).write_text("{}")
    await run(Import("tiny", str(source)), store)
    folder = store.get("tiny").folder
    assert all((folder / name).read_text() == "{}" for name in wanted)
    assert not any((folder / name).exists() for name in unwanted)


async def test_bits_of_an_encoder_are_refused_at_once(
    store: Store, work: FakeWork, tmp_path: Path
) -> None:
    """Before a job begins: of a folder, and of a model that is here."""
    source = write_folder(tmp_path / "source", model_type="bert")
    await run(Import("tiny", str(source)), store)
    recipe = Recipe(dtype="float16")
    for order in (Import("other", str(source), recipe=recipe), Convert("other", "tiny", recipe)):
        with pytest.raises(SourceRefused, match="'bert' can only be taken as they are"):
            provision.check(order, store)


async def test_what_is_converted_is_not_copied_first(
    store: Store, work: FakeWork, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A folder that gets other bits, and a GGUF, are read where they are; no file is shared."""
    folder = write_folder(tmp_path / "source")
    read: list[Path] = []

    async def look(work: Work, report: Callable[[str, int, int], None]) -> Verified:
        read.append((Path(work.source) / "model.safetensors").resolve())
        return await fake(work, report)

    fake = FakeWork()
    monkeypatch.setattr(provision, "run_work", look)
    await run(Import("tiny", str(folder), recipe=Recipe(bits=8)), store)
    monkeypatch.setattr(provision, "run_work", work)
    (tmp_path / "a.gguf").write_bytes(WEIGHTS)
    await run(Import("other", str(tmp_path / "a.gguf")), store)
    assert read == [folder / "model.safetensors"]
    assert [work.source for work in work.works] == [str(tmp_path / "a.gguf")]
    assert not any(work.may_link for work in [*fake.works, *work.works])
    assert record_of(store).recipe == Recipe(bits=8)
    assert store.get("other").is_ready


async def test_a_folder_is_linked(store: Store, work: FakeWork, tmp_path: Path) -> None:
    """It is verified in place and stays there, as it was."""
    folder = write_folder(tmp_path / "source")
    reports = await run(Import("tiny", str(folder), link=True), store)
    assert stages(reports)[0] == "linking" and work.works[0].target is None
    assert store.get("tiny").folder == folder and left(store) == []
    (folder / "model.safetensors").write_bytes(b"not what it was")
    with pytest.raises(BrokenWeights):
        await run(Import("other", str(folder), link=True), store)
    assert [entry.id for entry in listed(store)] == ["tiny"]


async def test_what_cannot_be_imported_is_refused(
    store: Store, work: FakeWork, tmp_path: Path
) -> None:
    """With what is expected; an id that is taken by a ready model too."""
    folder = write_folder(tmp_path / "source")
    (tmp_path / "a.gguf").write_bytes(WEIGHTS)
    (tmp_path / "a.txt").write_text("x")
    gguf = str(tmp_path / "a.gguf")
    for order in (
        Import("tiny", str(tmp_path / "gone")),
        Import("tiny", str(tmp_path / "a.txt")),
        Import("tiny", "relative"),
        Import("tiny", gguf, link=True),
        Import("tiny", str(folder), link=True, recipe=Recipe(bits=4)),
    ):
        with pytest.raises(SourceRefused):
            await run(order, store)
    assert not store.home.exists()
    await run(Import("tiny", str(folder)), store)
    with pytest.raises(ModelExists, match="already exists"):
        await run(Import("tiny", str(folder)), store)
    (tmp_path / "empty").mkdir()
    with pytest.raises(NotAModel):
        await run(Import("other", str(tmp_path / "empty")), store)
    assert [entry.id for entry in listed(store)] == ["tiny"] and left(store) == []


async def test_a_cancelled_copy_stops(
    store: Store, work: FakeWork, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The thread has let go when the job is over, half a copy goes; the next try works."""
    folder = write_folder(tmp_path / "source")
    has_let_go = threading.Event()

    def endless(source: Path, target: Path, step: Step) -> str:
        target.write_bytes(b"half")
        try:
            while True:
                step(1)
                has_let_go.wait(0.001)
        finally:
            has_let_go.set()

    jobs = Jobs(store, settings_of())
    with monkeypatch.context() as patched:
        patched.setattr("registry.store.manifests.copy", endless)
        job = jobs.start(Import("tiny", str(folder)))
        await until(job, lambda state: state.bytes_done > 0)
        assert (await jobs.cancel(job.id)).status == "cancelled"
    assert has_let_go.is_set() and job.state.stage == "copying"
    assert listed(store) == [] and left(store) == []
    assert (await jobs.start(Import("tiny", str(folder))).wait()).status == "done"
    assert store.get("tiny").size_bytes == len(WEIGHTS) and left(store) == []


async def test_a_disk_that_fills_up_fails_the_job(
    store: Store, work: FakeWork, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the reason; what was copied makes room again, and the next try needs no restart."""
    folder = write_folder(tmp_path / "source")

    def full(source: Path, target: Path, step: object) -> str:
        target.write_bytes(b"as far as it went")
        raise OSError(errno.ENOSPC, "No space left on device", str(target))

    jobs = Jobs(store, settings_of())
    with monkeypatch.context() as patched:
        patched.setattr("registry.store.manifests.copy", full)
        state = await jobs.start(Import("tiny", str(folder))).wait()
    assert state.status == "failed" and "No space left" in str(state.error)
    assert listed(store) == [] and left(store) == []
    assert (await jobs.start(Import("tiny", str(folder))).wait()).status == "done"

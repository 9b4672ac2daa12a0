"""Tests of jobs.provision: published once, converted, verified again, uploaded, for real."""

import asyncio
import os
from collections import namedtuple
from pathlib import Path

import pytest

from registry.errors import (
    BrokenWeights,
    ConversionFailed,
    DownloadFailed,
    ModelBusy,
    ModelExists,
    ModelNotFound,
    NotAModel,
)
from registry.jobs import provision
from registry.jobs.fetching import OnStage
from registry.jobs.jobs import Jobs
from registry.jobs.order import Convert, Import, Upload, Verify
from registry.store.record import Description, Recipe
from registry.store.store import Entry, Store
from tests.fake_work import WEIGHTS, FakeWork, write_folder
from tests.models.tiny_models import make_llama
from tests.provisioning import left, listed, record_of, run, settings_of, stages, until


async def test_publishing_is_not_cancelled_midway(
    store: Store, work: FakeWork, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A cancellation that comes too late finds the job done."""
    folder = write_folder(tmp_path / "source")
    jobs = Jobs(store, settings_of())
    loop = asyncio.get_running_loop()
    publish = store.publish
    cancelling: list[asyncio.Task[object]] = []

    def slow(*args: object, **named: object) -> Entry:
        asyncio.run_coroutine_threadsafe(cancel(), loop).result()
        return publish(*args, **named)  # type: ignore[arg-type]

    async def cancel() -> None:
        cancelling.append(asyncio.create_task(jobs.cancel(job.id)))
        await asyncio.sleep(0)

    monkeypatch.setattr(store, "publish", slow)
    job = jobs.start(Import("tiny", str(folder)))
    assert (await job.wait()).status == "done"
    await cancelling[0]
    assert store.get("tiny").is_ready and left(store) == []


# --- models that are here ------------------------------------------------------------------------


async def test_a_model_is_converted_under_another_id(
    store: Store, work: FakeWork, tmp_path: Path
) -> None:
    """Its provenance goes along; own files may be shared, linked ones are not."""
    await run(Import("tiny", str(write_folder(tmp_path / "source"))), store)
    await run(Convert("tiny-4bit", "tiny", Recipe(bits=4)), store)
    converted = record_of(store, "tiny-4bit")
    assert converted.source == record_of(store).source and converted.recipe == Recipe(bits=4)
    assert work.works[-1].may_link and store.get("tiny").is_ready
    await run(Import("linked", str(tmp_path / "source"), link=True), store)
    await run(Convert("copied", "linked"), store)
    assert not work.works[-1].may_link
    store.create("empty", Description("llm"))
    with pytest.raises(NotAModel, match="not ready"):
        await run(Convert("new", "empty"), store)
    with pytest.raises(ModelExists):
        await run(Convert("tiny", "linked"), store)


async def test_room_for_a_conversion_is_not_guessed_at(
    store: Store, work: FakeWork, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A narrow disk may do for fewer bits: the job process knows how much these will take."""
    await run(Import("tiny", str(write_folder(tmp_path / "source")), link=True), store)
    usage = namedtuple("usage", ["free"])
    monkeypatch.setattr("shutil.disk_usage", lambda path: usage(free=(256 << 20) + 100))
    await run(Convert("tiny-4bit", "tiny", Recipe(bits=4)), store)
    assert store.get("tiny-4bit").is_ready


async def test_verify_finds_what_changed(store: Store, work: FakeWork, tmp_path: Path) -> None:
    """A flipped bit that no header shows makes the model not ready, until it is as it was."""
    await run(Import("tiny", str(write_folder(tmp_path / "source"))), store)
    await run(Verify("tiny"), store)
    weights = store.get("tiny").folder / "model.safetensors"
    weights.write_bytes(b"W" + WEIGHTS[1:])
    assert store.get("tiny").is_ready  # nobody looked
    with pytest.raises(BrokenWeights, match="changed since"):
        await run(Verify("tiny"), store)
    assert not store.get("tiny").is_ready
    assert "model.safetensors is broken" in str(record_of(store).failure)
    weights.write_bytes(WEIGHTS)
    reports = await run(Verify("tiny"), store)
    assert stages(reports) == ["verifying", "checking"]
    assert store.get("tiny").is_ready and record_of(store).failure is None


async def test_a_job_process_that_dies_proves_nothing(
    store: Store, work: FakeWork, tmp_path: Path
) -> None:
    """Killed in the middle of a verification, it leaves a sound model ready."""
    await run(Import("tiny", str(write_folder(tmp_path / "source")), link=True), store)
    work.failure = ConversionFailed("It died.")
    with pytest.raises(ConversionFailed):
        await run(Verify("tiny"), store)
    assert store.get("tiny").is_ready and record_of(store).failure is None


@pytest.mark.parametrize("failure", [NotAModel("no"), BrokenWeights("a.safetensors", "it is cut")])
async def test_a_failed_verification_is_remembered(
    store: Store, work: FakeWork, tmp_path: Path, failure: Exception
) -> None:
    """With its reason; the model can then be provisioned again under its id."""
    folder = write_folder(tmp_path / "source")
    await run(Import("tiny", str(folder), link=True), store)
    work.failure = failure
    with pytest.raises(type(failure)):
        await run(Verify("tiny"), store)
    assert (store.get("tiny").is_ready, record_of(store).failure) == (False, str(failure))
    work.failure = None
    await run(Import("tiny", str(folder)), store)
    assert store.get("tiny").is_ready and record_of(store).linked is None


async def test_a_changed_link_is_ready_once_it_is_verified(
    store: Store, work: FakeWork, tmp_path: Path
) -> None:
    """The folder is its owner's to change; what is there now has to pass, too."""
    folder = write_folder(tmp_path / "source")
    await run(Import("tiny", str(folder), link=True), store)
    write_folder(folder, b"other weights")
    assert not store.get("tiny").is_ready
    await run(Verify("tiny"), store)
    assert store.get("tiny").is_ready and store.get("tiny").size_bytes == len(b"other weights")


async def test_there_is_nothing_to_verify(store: Store, work: FakeWork) -> None:
    """A model that is not here, or has no files yet."""
    with pytest.raises(ModelNotFound):
        await run(Verify("tiny"), store)
    store.create("tiny", Description("llm"))
    with pytest.raises(NotAModel, match="no files yet"):
        await run(Verify("tiny"), store)
    assert work.works == []


# --- uploads -------------------------------------------------------------------------------------


async def test_an_upload_is_received_and_published(store: Store, work: FakeWork) -> None:
    """The client's files come into a folder of their own; a lone GGUF goes to the converter."""

    async def receive(folder: Path, report: OnStage) -> None:
        report("uploading", 3, 5)
        (folder / "model.gguf").write_bytes(WEIGHTS)

    jobs = Jobs(store, settings_of())
    store.create("tiny", Description("llm", "1"))
    job = jobs.start(Upload("tiny", "model.gguf"), receive)
    with pytest.raises(ModelBusy, match="upload"):
        jobs.start(Upload("tiny", "model.gguf"), receive)
    assert (await job.wait()).status == "done"
    assert work.works[0].source.endswith("/model.gguf")
    source = record_of(store).source
    assert source is not None and (source.kind, source.location) == ("upload", "model.gguf")
    assert store.get("tiny").is_ready and left(store) == []


async def test_a_broken_upload_leaves_nothing_listed(store: Store, work: FakeWork) -> None:
    """The error is the job's, and the next upload works."""

    async def breaks(folder: Path, report: OnStage) -> None:
        (folder / "model.gguf").write_bytes(b"half")
        raise DownloadFailed("The client left.")

    async def receive(folder: Path, report: OnStage) -> None:
        assert os.listdir(folder) == []
        write_folder(folder)

    jobs = Jobs(store, settings_of())
    assert (await jobs.start(Upload("tiny", "a"), breaks).wait()).error == "The client left."
    assert listed(store) == [] and left(store) == []
    assert (await jobs.start(Upload("tiny", "b"), receive).wait()).status == "done"
    assert store.get("tiny").is_ready and left(store) == []


async def test_an_upload_that_a_restart_cut_is_told(store: Store, work: FakeWork) -> None:
    """What had not arrived has to be sent again; what had arrived whole is gone on with."""

    async def hangs(folder: Path, report: OnStage) -> None:
        (folder / "model.gguf").write_bytes(b"half")
        report("uploading", 4, 10)
        await asyncio.Event().wait()

    async def receive(folder: Path, report: OnStage) -> None:
        write_folder(folder)

    first = Jobs(store, settings_of())
    cut = first.start(Upload("cut", "a.gguf"), hangs)
    await until(cut, lambda state: state.bytes_done > 0)
    whole = first.start(Upload("whole", "b.gguf"), receive)
    work.go.clear()
    await until(whole, lambda state: state.stage == "checking")
    await first.close()

    work.go.set()
    second = Jobs(Store(store.home), settings_of())
    await second.resume()
    state = await second.get(cut.id).wait()
    assert state.status == "failed" and "Upload it again" in str(state.error)
    assert (await second.get(whole.id).wait()).status == "done"
    assert [entry.id for entry in listed(store)] == ["whole"] and left(store) == []


# --- for real ------------------------------------------------------------------------------------


@pytest.mark.slow
def test_a_real_model_becomes_ready(store: Store, tmp_path: Path) -> None:
    """Through the real job process: copied, converted to 4 bits, linked and verified again."""
    source = make_llama(tmp_path / "source")
    entry = provision.run_now(Import("tiny", str(source)), store)
    assert entry.is_ready and entry.kind == "llm"
    small = provision.run_now(Convert("tiny-4bit", "tiny", Recipe(bits=4)), store)
    assert small.is_ready and small.size_bytes < entry.size_bytes / 3
    assert small.record is not None and small.record.verified is not None
    assert small.record.verified.bits == 4
    assert provision.run_now(Import("linked", str(source), link=True), store).is_ready
    for model_id in ("tiny", "tiny-4bit", "linked"):
        assert provision.run_now(Verify(model_id), store).is_ready
    assert left(store) == []

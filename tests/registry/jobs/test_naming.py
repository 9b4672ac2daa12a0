"""Tests of jobs.naming: whatever is refused, the message names what the user named."""

import errno
import json
import re
import shutil
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest

from registry.errors import ConversionFailed, RegistryError
from registry.jobs import provision
from registry.jobs.conversion import run_work
from registry.jobs.fetching import OnStage
from registry.jobs.jobs import Jobs
from registry.jobs.naming import name, source_of
from registry.jobs.order import Convert, Download, Import, Order, Pull, Upload, Verify
from registry.store.record import Recipe
from registry.store.store import Store
from tests.fake_work import FakeWork
from tests.hub.hub_server import HubServer
from tests.models.tiny_models import make_llama
from tests.provisioning import publish, run, settings_of


@pytest.fixture(scope="session")
def llama(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_llama(tmp_path_factory.mktemp("named") / "llama")


@pytest.fixture
def hub() -> Iterator[HubServer]:
    with HubServer() as hub:
        yield hub


def without(file: str) -> Callable[[Path], None]:
    return lambda folder: (folder / file).unlink()


def with_file(file: str, content: bytes) -> Callable[[Path], None]:
    def write(folder: Path) -> None:
        (folder / file).write_bytes(content)

    return write


def changed(**fields: object) -> Callable[[Path], None]:
    def write(folder: Path) -> None:
        path = folder / "config.json"
        path.write_text(json.dumps(json.loads(path.read_bytes()) | fields))

    return write


def only(file: str, content: bytes) -> Callable[[Path], None]:
    def write(folder: Path) -> None:
        for path in folder.iterdir():
            path.unlink()
        (folder / file).write_bytes(content)

    return write


POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n"
FAULTS: dict[str, Callable[[Path], None]] = {
    "no config": without("config.json"),
    "no type": changed(model_type=None),
    "unknown type": changed(model_type="lama"),
    "packed": changed(quantization_config={"quant_method": "gptq", "bits": 4}),
    "code": changed(model_file="x.py"),
    "config is no JSON": with_file("config.json", b"no"),
    "no weights": without("model.safetensors"),
    "pickles": only("pytorch_model.bin", b"x"),
    "cut weights": with_file("model.safetensors", b"\x80" + b"\0" * 100),
    "a pointer": with_file("model.safetensors", POINTER),
    "a tokenizer's pointer": with_file("tokenizer.json", POINTER),
    "no tokenizer": without("tokenizer.json"),
    "a tokenizer that is none": with_file("tokenizer.json", b"{}"),
    "another architecture": changed(hidden_size=32),
    "an index of others": with_file(
        "model.safetensors.index.json", b'{"weight_map": {"x": "model-1.safetensors", "y": "../y"}}'
    ),
    "index that is none": with_file("model.safetensors.index.json", b"[]"),
    "GGUF": only("x.gguf", b"GGUF" + b"\0" * 100),
    "two GGUFs": only("x.gguf", b"GGUF"),
}  # fmt: skip


def broken(llama: Path, folder: Path, fault: str) -> Path:
    shutil.copytree(llama, folder)
    FAULTS[fault](folder)
    if fault == "two GGUFs":
        (folder / "y.gguf").write_bytes(b"GGUF")
    return folder


async def refusal(order: Order, store: Store, hub: HubServer | None = None) -> str:
    with pytest.raises(RegistryError) as caught:
        await run(order, store, settings_of(hub))
    return str(caught.value)


def assert_named(message: str, order: Order, store: Store) -> None:
    assert str(store.home) not in message
    assert not re.search(r"\b(hub|url|upload|folder)-[0-9a-f]{16}|converted-|files-", message)
    assert source_of(order) in message
    assert "\n" not in message


@pytest.mark.parametrize("fault", FAULTS)
async def test_an_import_names_its_path(
    store: Store, llama: Path, tmp_path: Path, fault: str
) -> None:
    order = Import("tiny", str(broken(llama, tmp_path / "a model", fault)))
    assert_named(await refusal(order, store), order, store)


@pytest.mark.parametrize("fault", FAULTS)
async def test_a_pull_names_its_repository(
    store: Store, llama: Path, tmp_path: Path, hub: HubServer, fault: str
) -> None:
    hub.add_folder("org/tiny", broken(llama, tmp_path / "tiny", fault))
    order = Pull("tiny", "org/tiny")
    assert_named(await refusal(order, store, hub), order, store)


@pytest.mark.parametrize(
    "fault", ["unknown type", "cut weights", "no tokenizer", "another architecture"]
)
async def test_a_download_names_its_url(
    store: Store, llama: Path, tmp_path: Path, hub: HubServer, fault: str
) -> None:
    """Without the query, which may hold a signature."""
    for path in broken(llama, tmp_path / "tiny", fault).iterdir():
        hub.add_file(f"m/{path.name}", path)
    order = Download("tiny", f"{hub.url}/files/m/?Signature=secret")
    message = await refusal(order, store, hub)
    assert_named(message, order, store)
    assert "secret" not in message


@pytest.mark.parametrize("file", ["sha256-0a1b", "x.GGUF", "my model.gguf", "x.gguf"])
async def test_a_gguf_keeps_its_name(store: Store, tmp_path: Path, file: str) -> None:
    """Although it is read under one that ends in .gguf, whatever it is called."""
    (tmp_path / file).write_bytes(b"GGUF" + b"\0" * 100)
    order = Import("tiny", str(tmp_path / file))
    assert f"{file} is broken: GGUF version 0" in await refusal(order, store)


@pytest.mark.parametrize("fault", ["unknown type", "cut weights", "GGUF"])
async def test_an_upload_names_its_file(
    store: Store, llama: Path, tmp_path: Path, fault: str
) -> None:
    async def receive(folder: Path, report: OnStage) -> None:
        shutil.copytree(broken(llama, tmp_path / "tiny", fault), folder, dirs_exist_ok=True)

    order = Upload("tiny", "what I sent.zip")
    state = await Jobs(store, settings_of()).start(order, receive).wait()
    assert_named(str(state.error), order, store)


async def test_a_process_that_dies_names_what_it_worked_on(
    store: Store, llama: Path, hub: HubServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And so does one that found its memory too small."""
    hub.add_folder("org/tiny", llama)
    monkeypatch.setattr(provision, "run_work", partial(run_work, memory_bytes=64 << 20))
    for order in (Pull("tiny", "org/tiny"), Import("tiny", str(llama))):
        assert_named(await refusal(order, store, hub), order, store)


async def test_a_model_that_is_here_is_named_by_its_id(
    store: Store, work: FakeWork, tmp_path: Path
) -> None:
    """Where it is verified or converted: its folder is called otherwise each time."""
    folder = publish(store, "mine").folder
    work.failure = ConversionFailed(f"It ended: {folder}/model.safetensors is of {folder.name}.")
    converting = Convert("other", "mine", Recipe(bits=4))
    assert await refusal(converting, store) == "It ended: model.safetensors is of mine."
    work.failure = ConversionFailed(f"The process that verifies {folder.name} died.")
    assert await refusal(Verify("mine"), store) == "The process that verifies mine died."


def test_a_full_disk_names_the_file(tmp_path: Path) -> None:
    """Its own name, not where it is gathered."""
    order = Import("tiny", "/x/tiny")
    for inside, shown in (("folder-0123456789abcdef/a.json", "a.json"), ("lock", "lock")):
        full = OSError(errno.ENOSPC, "No space left", f"{tmp_path}/partial/tiny/{inside}")
        name(full, order, tmp_path)
        assert full.filename == shown


@pytest.mark.parametrize(
    "text, expected",
    [
        ("no", "org/tiny: no"),
        ("org/tiny has none.", "org/tiny has none."),
        ("hub-0123456789abcdef ended.", "org/tiny ended."),
        ("'HOME/partial/tiny/hub-0123456789abcdef/x/a.json' is", "org/tiny: 'x/a.json' is"),
        ("HOME/partial/tiny/converted-01234567: no", "org/tiny: no"),
        ("HOME/partial/tiny is full", "org/tiny is full"),
        ("HOME/models/other.1/files-01234567 is gone", "org/tiny is gone"),
        ("a hub-01, my-folder-0123456789abcdef", "org/tiny: a hub-01, my-folder-0123456789abcdef"),
    ],
)  # fmt: skip
def test_folders_of_ours_are_not_told(tmp_path: Path, text: str, expected: str) -> None:
    error = ConversionFailed(text.replace("HOME", str(tmp_path)))
    name(error, Pull("tiny", "org/tiny"), tmp_path)
    assert str(error) == expected

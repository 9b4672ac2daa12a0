"""Tests of jobs.weights: a stranger's index, header or config.json costs the web process little."""

import struct
import threading
import tracemalloc
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from registry.download.remote import DownloadSettings, Remote
from registry.errors import BrokenWeights, RegistryError, SourceRefused
from registry.jobs import local, weights
from registry.jobs.order import Download, Import, Order, Pull
from registry.store.store import Store
from tests.fake_work import FakeWork
from tests.hub.hub_server import HubServer
from tests.provisioning import run, settings_of
from tests.registry.jobs.test_weights import CONFIG, INDEX, TENSORS, index, model, safetensors

MIB = 1 << 20
NESTED = b"[" + b"[]," * 600_000 + b"[]]"  # 56 bytes of memory for each three
MANY = b",".join(b'"%x":{}' % number for number in range(600_000))

Look = Callable[[Path, pytest.MonkeyPatch], Awaitable[object]]


def in_folder(*, config: bytes = CONFIG, listed: bytes = index("model-x.safetensors")) -> Look:
    """Choose the weights of a folder with this index; the file that it has lacks layer 1."""

    async def look(folder: Path, _: pytest.MonkeyPatch) -> object:
        files = {
            "config.json": config,
            INDEX: listed,
            "model.safetensors": safetensors(*TENSORS[:2]),
        }
        for name, content in files.items():
            (folder / name).write_bytes(content)
        return await local.weights_in(folder, "x")

    return look


async def sparse(folder: Path, _: pytest.MonkeyPatch) -> object:
    """An index of 80 MB."""
    with (folder / INDEX).open("wb") as file:
        file.truncate(80 * MIB)
    return await local.weights_in(folder, "x")


def at_url(header: bytes) -> Look:
    """The names in the header of a file that is elsewhere."""
    content = struct.pack("<Q", len(header)) + header

    async def look(_: Path, patch: pytest.MonkeyPatch) -> object:
        async def read(remote: Remote, begin: int, end: int, _: DownloadSettings) -> bytes:
            return content[begin:end]

        patch.setattr(weights, "read_range", read)
        return await weights.tensors_at(
            Remote("https://x"), "model.safetensors", DownloadSettings()
        )

    return look


@pytest.mark.parametrize(
    "look, answer",
    [
        pytest.param(
            in_folder(config=b'{"num_hidden_layers":3000000}'), "Layer 1 of 3000000", id="layers"
        ),
        pytest.param(sparse, "larger than", id="large index"),
        pytest.param(
            in_folder(listed=b'{"metadata":%b,%b' % (NESTED, index("model.safetensors")[1:])),
            None,
            id="rubbish in the index",
        ),
        pytest.param(
            in_folder(listed=b'{"weight_map":{%b}}' % MANY.replace(b"{}", b'"a"')),
            "too many",
            id="names in the index",
        ),
        pytest.param(
            in_folder(listed=index(*(f"{number}.safetensors" for number in range(1001)),
                                   tensors=tuple(map(str, range(1001))))),
            "1001 files",
            id="files in the index",
        ),
        pytest.param(
            at_url(b'{"__metadata__":null,"a":{"dtype":"F32","x":%b}}' % NESTED),
            None,
            id="rubbish in the header",
        ),
        pytest.param(at_url(b"{%b}" % MANY), "too many", id="names in the header"),
    ],
)  # fmt: skip
async def test_what_strangers_list_takes_little_memory(
    look: Look, answer: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A few times the file: what is not looked at is skipped, and what is absurd is refused.

    Built up, each of these takes 40 to 200 MB, but for the files, which are counted.
    """
    tracemalloc.start()
    try:
        said: object = None
        try:
            await look(tmp_path, monkeypatch)
        except RegistryError as error:
            said = error
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 24 * MIB
    assert (said is None) if answer is None else (answer in str(said))


async def test_the_names_of_all_headers_are_bounded_together(tmp_path: Path) -> None:
    """Each file may be within its own limit, and there may be a thousand of them."""
    files = [f"model-{number:05}-of-00900.safetensors" for number in range(1, 901)]
    weight_map = {"a": "model.safetensors"}
    (tmp_path / "config.json").write_bytes(CONFIG)
    asked = []

    async def read(name: str) -> frozenset[str]:
        asked.append(name)
        return frozenset({name + "x" * (4 * MIB)})

    with pytest.raises(SourceRefused, match="are too many"):
        await weights.choose("org/x", tmp_path, weight_map, files, read)
    assert len(asked) < 50


async def test_files_of_an_index_are_not_asked_for_without_end(
    store: Store, work: FakeWork
) -> None:
    """As of shards that only a name's number tells: nobody asks a server for each of so many."""
    with HubServer() as hub:
        names = tuple(f"part-{number}.safetensors" for number in range(1200))
        listed = index(*names, tensors=tuple(map(str, range(1200))))
        for name, content in (model() | {INDEX: listed}).items():
            hub.add_file(f"m/{name}", content)
        with pytest.raises(BrokenWeights, match="1200 files"):
            await run(Download("tiny", f"{hub.url}/files/m/"), store, settings_of(hub))
        assert not [seen for seen in hub.requests if "/part-" in seen.path]


@pytest.mark.parametrize("way", ["pull", "url", "import", "link"])
async def test_an_index_is_read_once_and_beside_the_loop(
    store: Store, work: FakeWork, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, way: str
) -> None:
    """Whatever comes of it, for a job of any kind."""
    readers = []
    read_bytes = Path.read_bytes

    def noted(path: Path) -> bytes:
        if path.name == INDEX:
            readers.append(threading.current_thread())
        return read_bytes(path)

    files = model() | {
        INDEX: index("model.safetensors"),
        "model.safetensors": safetensors(*TENSORS),
    }
    (source := tmp_path / "source").mkdir()
    with HubServer() as hub:
        hub.add_repo("org/tiny", files)
        for name, content in files.items():
            hub.add_file(f"m/{name}", content)
            (source / name).write_bytes(content)
        orders: dict[str, Order] = {
            "pull": Pull("tiny", "org/tiny"),
            "url": Download("tiny", f"{hub.url}/files/m/"),
            "import": Import("tiny", str(source)),
            "link": Import("tiny", str(source), link=True),
        }
        monkeypatch.setattr(Path, "read_bytes", noted)
        await run(orders[way], store, settings_of(hub))
    assert len(readers) == 1 and readers[0] is not threading.current_thread()

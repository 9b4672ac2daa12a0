"""Tests of jobs.weights: which weights are fetched where an index cannot be taken at its word."""

import json
import struct
from collections.abc import Iterator

import pytest

from registry.errors import BrokenWeights, SourceRefused
from registry.jobs.order import Download, Pull
from registry.store.store import Store
from tests.fake_work import FakeWork
from tests.hub.hub_server import HubServer, IgnoreRange, Status, WithHeaders
from tests.provisioning import left, listed, record_of, run, settings_of, sha256

CONFIG = b'{"model_type":"llama","num_hidden_layers":2}'
TENSORS = ("model.embed_tokens.weight", "model.layers.0.x", "model.layers.1.x", "lm_head.weight")
DATA = b"weights!" * 20_000


@pytest.fixture
def hub() -> Iterator[HubServer]:
    with HubServer() as hub:
        yield hub


def safetensors(*names: str, padding: int = 0) -> bytes:
    """A file with these tensors; `padding` makes its header longer."""
    size = len(DATA) // max(len(names), 1)
    header: dict[str, object] = {"__metadata__": {"format": "pt", "x": "x" * padding}}
    for at, name in enumerate(names):
        header[name] = {
            "dtype": "U8",
            "shape": [size],
            "data_offsets": [at * size, at * size + size],
        }
    raw = json.dumps(header).encode()
    return struct.pack("<Q", len(raw)) + raw + DATA[: size * len(names)]


def index(*files: str, tensors: tuple[str, ...] = TENSORS) -> bytes:
    """An index that spreads the tensors over these files."""
    return json.dumps(
        {"weight_map": {name: files[at % len(files)] for at, name in enumerate(tensors)}}
    ).encode()


def model(**weights: bytes) -> dict[str, bytes]:
    return {"config.json": CONFIG, "tokenizer.json": b"{}", **weights}


def halves(first: str, second: str) -> dict[str, bytes]:
    return {first: safetensors(*TENSORS[::2]), second: safetensors(*TENSORS[1::2])}


INDEX = "model.safetensors.index.json"
STALE = index("model-00001-of-00003.safetensors", "model-00002-of-00003.safetensors")


async def pull(store: Store, hub: HubServer, files: dict[str, bytes]) -> list[str]:
    """Pull a repository of these files; the names of the weights that the model has then."""
    hub.add_repo("org/tiny", files)
    await run(Pull("tiny", "org/tiny"), store, settings_of(hub))
    folder = store.get("tiny").folder
    return sorted(path.name for path in folder.iterdir() if "safetensors" in path.name)


@pytest.mark.parametrize("padding", [0, 200_000])
async def test_one_file_instead_of_a_stale_index(
    store: Store, work: FakeWork, hub: HubServer, padding: int
) -> None:
    """It holds all tensors, so it is the model; the record says so, and the index is left out."""
    whole = safetensors(*TENSORS, padding=padding)
    files = model() | {INDEX: STALE, "model.safetensors": whole}
    assert await pull(store, hub, files) == ["model.safetensors"]
    source = record_of(store).source
    assert source is not None and source.note is not None
    assert "is stale: it names model-00001-of-00003.safetensors" in source.note
    assert source.sha256["model.safetensors"] == sha256(whole)
    assert INDEX not in source.sha256


@pytest.mark.parametrize(
    "names",
    [
        ("model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"),
        ("model-00000-of-00002.safetensors", "model-00001-of-00002.safetensors"),
        ("model-00001-of-000002.safetensors", "model-00002-of-000002.safetensors"),
        ("model-a.safetensors", "model-b.safetensors"),
    ],
)
async def test_other_shards_instead_of_a_stale_index(
    store: Store, work: FakeWork, hub: HubServer, names: tuple[str, str]
) -> None:
    files = model() | {INDEX: STALE} | halves(*names)
    assert await pull(store, hub, files) == list(names)


async def test_a_conversion_renames_and_drops_tensors(
    store: Store, work: FakeWork, hub: HubServer
) -> None:
    """The index of the original names tensors that a tied and packed model has no more."""
    tensors = (*TENSORS[:1], "model.layers.0.x", "model.layers.0.scales", "model.layers.1.y")
    files = model() | {INDEX: STALE, "model.safetensors": safetensors(*tensors)}
    assert await pull(store, hub, files) == ["model.safetensors"]


@pytest.mark.parametrize(
    "weights",
    [
        {"model.safetensors": safetensors(*TENSORS[:2])},
        {"model-00001-of-00003.safetensors": safetensors(*TENSORS[::2])},
        {"model.safetensors": safetensors("other")},
        {"adapter_model.safetensors": safetensors(*TENSORS)},
    ],
)
async def test_what_holds_no_whole_model_is_not_fetched(
    store: Store, work: FakeWork, hub: HubServer, weights: dict[str, bytes]
) -> None:
    """Known from the headers alone, and what is missing is named."""
    hub.add_repo("org/tiny", model() | {INDEX: STALE} | weights)
    with pytest.raises(
        SourceRefused, match="org/tiny is not complete: its model.safetensors.index"
    ):
        await run(Pull("tiny", "org/tiny"), store, settings_of(hub))
    assert hub.bytes_sent(".safetensors") < len(DATA) / 2 + 70_000
    assert listed(store) == [] and work.works == []


async def test_a_server_without_ranges_is_left_early(
    store: Store, work: FakeWork, hub: HubServer
) -> None:
    """It sends the whole file where its beginning was asked for: no more of it is taken."""
    half = safetensors(*TENSORS[:2]) + DATA * 200
    hub.add_repo("org/tiny", model() | {INDEX: STALE, "model.safetensors": half})
    hub.misbehave("model.safetensors", IgnoreRange())
    with pytest.raises(SourceRefused, match="Layer 1 of 2 is in none of them"):
        await run(Pull("tiny", "org/tiny"), store, settings_of(hub))
    assert hub.bytes_sent("model.safetensors") < len(half) / 2


@pytest.mark.parametrize("content", [b"", b"x" * 100, struct.pack("<Q", 1 << 60) + b"{}"])
async def test_a_header_that_is_none_is_broken(
    store: Store, work: FakeWork, hub: HubServer, content: bytes
) -> None:
    hub.add_repo("org/tiny", model() | {INDEX: STALE, "model.safetensors": content})
    with pytest.raises(BrokenWeights, match="header"):
        await run(Pull("tiny", "org/tiny"), store, settings_of(hub))
    assert left(store) == []


@pytest.mark.parametrize(
    "names, expected",
    [
        (("model-00000-of-00002.safetensors", "model-00001-of-00002.safetensors"), None),
        (("model-00000-of-00001.safetensors", "model-00001-of-00001.safetensors"), None),
        (("model-00001-of-000012.safetensors", "model-00002-of-000012.safetensors"), None),
        (("model-1-of-2.safetensors", "model-2-of-2.safetensors"), None),
        (("model_first.safetensors", "model_second.safetensors"), None),
        (
            ("model.safetensors-00001-of-00002", "model.safetensors-00002-of-00002"),
            ["model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"],
        ),
        (
            ("consolidated-00001-of-00002.safetensors", "consolidated-00002-of-00002.safetensors"),
            ["model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"],
        ),
        (
            ("pytorch_model-1.safetensors", "pytorch_model-2.safetensors"),
            ["model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"],
        ),
    ],
)
async def test_what_the_index_names_counts(
    store: Store, work: FakeWork, hub: HubServer, names: tuple[str, str], expected: list[str] | None
) -> None:
    """Whatever the numbering; those that mlx-lm would not load are called as it wants them."""
    files = model() | {INDEX: index(*names)} | halves(*names)
    files["model-old.safetensors"] = safetensors("old")
    found = await pull(store, hub, files)
    assert found == (expected or sorted([*names, INDEX]))
    folder = store.get("tiny").folder
    parts = [(folder / name).read_bytes() for name in found if name != INDEX]
    assert parts == list(halves(*names).values())
    source = record_of(store).source
    assert source is not None and source.note is None


@pytest.mark.parametrize("number", ["00000", "00001"])
async def test_shards_count_from_0_or_1_without_an_index(
    store: Store, work: FakeWork, hub: HubServer, number: str
) -> None:
    start = int(number)
    names = [f"model-{start + at:05}-of-000002.safetensors" for at in (0, 1)]
    assert await pull(store, hub, model() | halves(*names)) == names
    hub.add_repo("org/half", model() | {f"model-{number}-of-00003.safetensors": DATA})
    with pytest.raises(SourceRefused, match="1 weight files of 3"):
        await run(Pull("half", "org/half"), store, settings_of(hub))


@pytest.mark.parametrize(
    "config, says",
    [
        (b'{"model_type":"lama"}', "'lama' are not supported"),
        (b'{"model_type":"llama","quantization_config":{"quant_method":"gptq","bits":4}}', "GPTQ"),
        (b'{"architectures":["X"]}', "no usable model_type"),
        (b"no JSON", "cannot be used"),
    ],
)
async def test_a_config_is_judged_before_the_weights(
    store: Store, work: FakeWork, hub: HubServer, config: bytes, says: str
) -> None:
    """Not a byte of a weight file is fetched, from the hub or from a URL; with an index, too."""
    files = model() | {"config.json": config, INDEX: STALE} | halves("model-1.safetensors", "model")
    files["model.safetensors"] = DATA
    hub.add_repo("org/tiny", files)
    for name, content in files.items():
        hub.add_file(f"m/{name}", content)
    base = f"{hub.url}/files/m/"
    for order in (
        Pull("tiny", "org/tiny"),
        Download("tiny", base),
        Download("tiny", f"{base}model.safetensors"),
    ):
        with pytest.raises(Exception, match=says):
            await run(order, store, settings_of(hub))
    assert hub.bytes_sent(".safetensors") == 0 and work.works == [] and left(store) == []


# --- URLs ----------------------------------------------------------------------------------------


def serve(hub: HubServer, files: dict[str, bytes]) -> str:
    for name, content in files.items():
        hub.add_file(f"m/{name}", content)
    return f"{hub.url}/files/m/"


async def download(store: Store, hub: HubServer, url: str) -> list[str]:
    await run(Download("tiny", url), store, settings_of(hub))
    folder = store.get("tiny").folder
    return sorted(path.name for path in folder.iterdir() if "safetensors" in path.name)


@pytest.mark.parametrize("name", ["", "model.safetensors", "other.safetensors"])
async def test_a_stale_index_at_a_url(
    store: Store, work: FakeWork, hub: HubServer, name: str
) -> None:
    """The file that is there, or that was asked for; the index does not come along."""
    whole = safetensors(*TENSORS)
    base = serve(hub, model() | {INDEX: STALE, name or "model.safetensors": whole})
    assert await download(store, hub, base + name) == ["model.safetensors"]
    assert (store.get("tiny").folder / "model.safetensors").read_bytes() == whole
    source = record_of(store).source
    assert source is not None and "is stale" in (source.note or "")


@pytest.mark.parametrize("no_head", [False, True])
async def test_oddly_named_shards_at_a_url(
    store: Store, work: FakeWork, hub: HubServer, no_head: bool
) -> None:
    """Asked for by the folder, or by one of them."""
    names = ("model.safetensors-00001-of-00002", "model.safetensors-00002-of-00002")
    base = serve(hub, model() | {INDEX: index(*names)} | halves(*names))
    if no_head:
        for name in names:
            hub.misbehave(name, Status(405), times=1)
    assert await download(store, hub, base) == [
        "model-00001-of-00002.safetensors",
        "model-00002-of-00002.safetensors",
    ]


@pytest.mark.parametrize("has_index", [False, True])
@pytest.mark.parametrize(
    "names, expected",
    [
        (("model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"), None),
        (("model-00000-of-00002.safetensors", "model-00001-of-00002.safetensors"), None),
        (("model-00001-of-000002.safetensors", "model-00002-of-000002.safetensors"), None),
        (
            ("model.safetensors-00001-of-00002", "model.safetensors-00002-of-00002"),
            ["model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"],
        ),
    ],
)
async def test_one_shard_at_a_url_brings_the_others(
    store: Store,
    work: FakeWork,
    hub: HubServer,
    names: tuple[str, str],
    expected: list[str] | None,
    has_index: bool,
) -> None:
    """Whichever is asked for, with an index or by the number of them in its name."""
    indexed = {INDEX: index(*names)} if has_index else {}
    base = serve(hub, model() | indexed | halves(*names))
    found = await download(store, hub, base + names[1])
    assert found == (expected or sorted([*names, *indexed]))


@pytest.mark.parametrize(
    "name", ["model-00001-of-00002.safetensors", "model-00001-of-99999.safetensors"]
)
async def test_one_shard_alone_at_a_url_is_not_fetched(
    store: Store, work: FakeWork, hub: HubServer, name: str
) -> None:
    """Nor where so many are said to be that nobody would ask for each."""
    base = serve(hub, model() | {name: safetensors(*TENSORS[:2])})
    with pytest.raises(SourceRefused, match="is one weight file of several"):
        await run(Download("tiny", base + name), store, settings_of(hub))
    assert hub.bytes_sent(".safetensors") == 0 and work.works == []


async def test_half_a_model_at_a_url_is_not_fetched(
    store: Store, work: FakeWork, hub: HubServer
) -> None:
    base = serve(hub, model() | {INDEX: STALE, "model.safetensors": safetensors(*TENSORS[:2])})
    with pytest.raises(SourceRefused, match="Layer 1 of 2 is in none of them"):
        await run(Download("tiny", base), store, settings_of(hub))
    assert work.works == []


# --- sizes ---------------------------------------------------------------------------------------


async def test_sizes_that_the_list_lacks_are_asked_for(
    store: Store, work: FakeWork, hub: HubServer
) -> None:
    """So that the progress has a total; where nobody tells them, it goes without."""
    files = model() | {"model.safetensors": safetensors(*TENSORS)}
    hub.add_repo("org/tiny", files, sizes=False)
    reports = await run(Pull("tiny", "org/tiny"), store, settings_of(hub))
    total = sum(len(content) for content in files.values())
    assert ("downloading", total, total) in reports
    assert {seen.method for seen in hub.requests if seen.at == "cdn"} == {"HEAD", "GET"}
    hub.misbehave("model.safetensors", Status(403), times=1, on="cdn")
    await run(Pull("again", "org/tiny"), store, settings_of(hub))
    assert store.get("again").is_ready


async def test_a_size_of_0_is_none(store: Store, work: FakeWork, hub: HubServer) -> None:
    """Some servers answer HEAD so whatever the file has: GET tells."""
    whole = safetensors(*TENSORS)
    base = serve(hub, model() | {INDEX: index("model.safetensors"), "model.safetensors": whole})
    hub.misbehave("model.safetensors", WithHeaders({"Content-Length": "0"}), times=1)
    await download(store, hub, base)
    assert "HEAD" in [seen.method for seen in hub.requests]
    assert (store.get("tiny").folder / "model.safetensors").read_bytes() == whole


# --- GGUF ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("file", [None, "Q8_0/tiny-Q8_0.gguf", "tiny-Q8_0.gguf", "q8_0"])
async def test_a_gguf_in_a_folder_is_pulled(
    store: Store, work: FakeWork, hub: HubServer, file: str | None
) -> None:
    """Found there, or named with its folder or without; here it lies in none."""
    files = {"Q8_0/tiny-Q8_0.gguf": DATA, "Q2_K/tiny-Q2_K.gguf": b"x", "b/mmproj-F16.gguf": b"x"}
    hub.add_repo("org/tiny", files)
    await run(Pull("tiny", "org/tiny", file=file), store, settings_of(hub))
    assert work.works[0].source.endswith("/tiny-Q8_0.gguf")
    assert hub.bytes_sent(".gguf") == len(DATA)
    assert store.get("tiny").is_ready

"""Tests of registry.jobs.acquire: the hub and URLs, and what breaks on the way."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from registry.checkpoint import companions
from registry.checkpoint.companions import EMBEDDER_FILES
from registry.errors import (
    BrokenWeights,
    ConversionFailed,
    DownloadFailed,
    NotAModel,
    SourceRefused,
)
from registry.jobs.jobs import Jobs
from registry.jobs.order import Download, Pull
from registry.store.record import Recipe
from registry.store.store import Store
from tests.fake_work import WEIGHTS, FakeWork
from tests.hub.hub_server import HubServer, Stall, Status, Truncate
from tests.models.tiny_encoders import write_dense, write_modules, write_pooling
from tests.provisioning import left, listed, record_of, run, settings_of, sha256, stages, until

CONFIG = b'{"model_type":"llama"}'
REPO = {"config.json": CONFIG, "tokenizer.json": b"{}", "model.safetensors": WEIGHTS}


@pytest.fixture
def hub() -> Iterator[HubServer]:
    with HubServer() as hub:
        yield hub


# --- the hub -------------------------------------------------------------------------------------


async def test_a_pull_records_where_it_came_from(
    store: Store, work: FakeWork, hub: HubServer
) -> None:
    """The branch is pinned to its commit; hashes, licence and recipe stand in the record."""
    commit = hub.add_repo("org/tiny", REPO, licence="mit")
    reports = await run(Pull("tiny", "org/tiny", recipe=Recipe(bits=4)), store, settings_of(hub))
    assert stages(reports) == [
        "resolving", "downloading", "checking", "converting", "verifying", "publishing"
    ]  # fmt: skip
    total = sum(len(content) for content in REPO.values())
    assert ("downloading", total, total) in reports
    published = [(done, total) for stage, done, total in reports if stage == "publishing"]
    assert published[-1][0] == published[-1][1] and published[-1][0] >= len(WEIGHTS)
    record = record_of(store)
    assert record.source is not None
    assert (record.source.kind, record.source.location) == ("hub", "org/tiny")
    assert record.source.revision == commit
    assert record.source.sha256 == {name: sha256(content) for name, content in REPO.items()}
    assert (record.licence, record.recipe) == ("mit", Recipe(bits=4))
    assert record.manifest["model.safetensors"].sha256 == sha256(WEIGHTS)
    assert store.get("tiny").is_ready and left(store) == []
    assert work.works[0].bits == 4 and work.works[0].may_link


async def test_a_broken_pull_goes_on(store: Store, work: FakeWork, hub: HubServer) -> None:
    """Nothing is listed, what has arrived is kept, and the next try fetches only the rest."""
    hub.add_repo("org/tiny", REPO | {"model.safetensors": WEIGHTS * 20})
    hub.misbehave("model.safetensors", Truncate(after=200_000), times=1)
    hub.misbehave("model.safetensors", Truncate(after=0), times=1)
    with pytest.raises(DownloadFailed):
        await run(Pull("tiny", "org/tiny"), store, settings_of(hub))
    assert listed(store) == [] and left(store) == ["tiny"]
    hub.behave()
    sent = hub.bytes_sent("model.safetensors")
    config = hub.bytes_sent("config.json")
    await run(Pull("tiny", "org/tiny"), store, settings_of(hub))
    assert hub.bytes_sent("model.safetensors") - sent == len(WEIGHTS) * 20 - 200_000
    assert hub.bytes_sent("config.json") == 2 * config  # small, and its hash is not known
    assert store.get("tiny").is_ready and left(store) == []


async def test_a_branch_that_moved_mixes_nothing(
    store: Store, work: FakeWork, hub: HubServer
) -> None:
    """What an older commit left is thrown away, whole files included."""
    hub.add_repo("org/tiny", REPO)
    hub.misbehave("model.safetensors", Truncate(after=100), times=None)
    with pytest.raises(DownloadFailed):
        await run(Pull("tiny", "org/tiny"), store, settings_of(hub))
    hub.behave()
    commit = hub.add_repo("org/tiny", REPO | {"config.json": b'{"model_type":"bert" }'})
    await run(Pull("tiny", "org/tiny"), store, settings_of(hub))
    source = record_of(store).source
    assert source is not None and source.revision == commit
    assert store.get("tiny").kind == "embed"


async def test_bits_of_an_encoder_are_refused_before_its_weights_come(
    store: Store, work: FakeWork, hub: HubServer
) -> None:
    """From the hub and from a URL; without bits it is pulled."""
    hub.add_repo("org/tiny", REPO | {"config.json": b'{"model_type":"bert"}'})
    url = f"{hub.url}/org/tiny/resolve/main/"
    recipe = Recipe(bits=4)
    for order in (Pull("tiny", "org/tiny", recipe=recipe), Download("tiny", url, recipe)):
        with pytest.raises(SourceRefused, match="'bert' can only be taken as they are: leave out"):
            await run(order, store, settings_of(hub))
    assert hub.bytes_sent("model.safetensors") == 0 and work.works == []
    await run(Pull("tiny", "org/tiny"), store, settings_of(hub))
    assert store.get("tiny").kind == "embed"


async def test_a_repository_that_is_no_model_leaves_nothing(
    store: Store, work: FakeWork, hub: HubServer
) -> None:
    """It is not kept: the next try would only fail the same way."""
    hub.add_repo("org/tiny", REPO | {"model.safetensors": b"something else"})
    with pytest.raises(BrokenWeights):
        await run(Pull("tiny", "org/tiny"), store, settings_of(hub))
    assert listed(store) == [] and left(store) == []
    hub.add_repo("org/tiny", REPO)
    await run(Pull("tiny", "org/tiny"), store, settings_of(hub))
    assert store.get("tiny").is_ready


async def test_a_died_conversion_keeps_the_download(
    store: Store, work: FakeWork, hub: HubServer
) -> None:
    """Want of memory may be over next time. What is here is hashed before it is taken."""
    hub.add_repo("org/tiny", REPO)
    work.failure = ConversionFailed("It was ended by SIGKILL.")
    with pytest.raises(ConversionFailed):
        await run(Pull("tiny", "org/tiny"), store, settings_of(hub))
    (folder,) = (store.home / "partial" / "tiny").glob("*/")
    assert (folder / "model.safetensors").read_bytes() == WEIGHTS
    sent = hub.bytes_sent("model.safetensors")
    with pytest.raises(ConversionFailed):
        await run(Pull("tiny", "org/tiny"), store, settings_of(hub))
    assert hub.bytes_sent("model.safetensors") == sent
    (folder / "model.safetensors").write_bytes(b"w" + WEIGHTS[1:-1] + b"?")
    work.failure = None
    await run(Pull("tiny", "org/tiny"), store, settings_of(hub))
    assert hub.bytes_sent("model.safetensors") == sent + len(WEIGHTS)
    assert (store.get("tiny").folder / "model.safetensors").read_bytes() == WEIGHTS
    assert left(store) == []


async def test_a_full_disk_is_told_before(store: Store, work: FakeWork, hub: HubServer) -> None:
    """With numbers, before the first byte of a weight file."""
    hub.add_repo("org/tiny", REPO)
    with pytest.raises(DownloadFailed, match="MB left"):
        await run(Pull("tiny", "org/tiny"), store, settings_of(hub, reserve_bytes=1 << 60))
    assert hub.bytes_sent("model.safetensors") == 0 and listed(store) == []


async def test_a_cancelled_pull_is_resumed_by_the_next(
    store: Store, work: FakeWork, hub: HubServer
) -> None:
    """As a job, through another server: it fetches what is missing and no more."""
    hub.add_repo("org/tiny", REPO | {"model.safetensors": WEIGHTS * 500})
    hub.misbehave("model.safetensors", Stall(after=5_000_000), times=1)
    first = Jobs(store, settings_of(hub))
    job = first.start(Pull("tiny", "org/tiny"))
    await until(job, lambda state: state.bytes_done >= 5_000_000)
    await first.close()
    assert listed(store) == []
    hub.behave()
    sent = hub.bytes_sent("model.safetensors")
    second = Jobs(Store(store.home), settings_of(hub))
    await second.resume()
    assert (await second.get(job.id).wait()).status == "done"
    assert hub.bytes_sent("model.safetensors") - sent <= len(WEIGHTS) * 500 - 5_000_000
    assert store.get("tiny").size_bytes == len(WEIGHTS) * 500


# --- URLs ----------------------------------------------------------------------------------------


async def test_a_gguf_is_downloaded(store: Store, work: FakeWork, hub: HubServer) -> None:
    """The file goes to the converter; the query of its URL stays out of the record."""
    url = hub.add_file("tiny-q8.gguf", WEIGHTS)
    await run(Download("tiny", f"{url}?signature=secret"), store, settings_of(hub))
    assert work.works[0].source.endswith("/tiny-q8.gguf")
    source = record_of(store).source
    assert source is not None
    assert (source.kind, source.location) == ("url", url)
    assert source.sha256 == {"tiny-q8.gguf": sha256(WEIGHTS)}


@pytest.mark.parametrize("name", ["", "model.safetensors", "weights.safetensors"])
async def test_a_folder_is_downloaded(
    store: Store, work: FakeWork, hub: HubServer, name: str
) -> None:
    """A model's files by their names, around the weights or from the folder; without an index."""
    for file, content in REPO.items():
        hub.add_file(f"m/{name or file if file.endswith('s') else file}", content)
    base = hub.add_file("m/config.json", CONFIG).removesuffix("config.json")
    await run(Download("tiny", base + name), store, settings_of(hub))
    entry = store.get("tiny")
    assert entry.is_ready
    assert (entry.folder / "model.safetensors").read_bytes() == WEIGHTS


async def test_an_embedders_own_files_are_downloaded(
    store: Store, work: FakeWork, hub: HubServer, tmp_path: Path
) -> None:
    """Pooling and prompts, which are asked for only where modules.json is; it names the rest."""
    model = tmp_path / "model"
    model.mkdir()
    write_pooling(model, "pooling_mode_cls_token")
    write_modules(model, "Pooling", "Dense")
    write_dense(model / "2_Dense", 8, 4)
    write_dense(model / "3_Dense", 4, 4)  # modules.json does not name it
    for file in EMBEDDER_FILES:
        if not (model / file).exists():
            (model / file).write_text("{}")
    content = {file: (model / file).read_bytes() for file in companions.nested_files(model)}
    content |= {file: (model / file).read_bytes() for file in EMBEDDER_FILES}
    for file, data in (REPO | content).items():
        hub.add_file(f"m/{file}", data)
    config = b'{"model_type":"llama","hidden_size":8}'
    base = hub.add_file("m/config.json", config).removesuffix("config.json")
    await run(Download("tiny", base), store, settings_of(hub))
    folder = store.get("tiny").folder
    for file, data in content.items():
        if "3_Dense" in file:
            assert not (folder / file).exists()
        else:
            assert (folder / file).read_bytes() == data


async def test_the_shards_of_a_folder_are_downloaded(
    store: Store, work: FakeWork, hub: HubServer
) -> None:
    """Those that its index names; a name that is a path is refused."""
    shards = [f"model-0000{n}-of-00002.safetensors" for n in (1, 2)]
    index = '{"weight_map":{"a":"%s","b":"%s"}}'
    for file in shards:
        hub.add_file(f"m/{file}", WEIGHTS)
    hub.add_file("m/tokenizer.json", b"{}")
    hub.add_file("m/model.safetensors.index.json", (index % tuple(shards)).encode())
    base = hub.add_file("m/config.json", CONFIG).removesuffix("config.json")
    await run(Download("tiny", base), store, settings_of(hub))
    await run(Download("again", base + shards[1]), store, settings_of(hub))
    for model_id in ("tiny", "again"):
        assert store.get(model_id).size_bytes == 2 * len(WEIGHTS)
    hub.add_file("m/model.safetensors.index.json", (index % ("../../x", "y")).encode())
    with pytest.raises(BrokenWeights):
        await run(Download("bad", base), store, settings_of(hub))
    assert left(store) == []


@pytest.mark.parametrize(
    "url",
    ["https://x.org/model.bin", "https://x.org/%2e%2e%2fx.gguf", "https://x.org/a%00.gguf",
     "https://x.org/a%2f..%2fb.gguf", "https://x.org", "file:///etc/passwd.gguf",
     "http://127.0.0.1/a.gguf"],
)  # fmt: skip
async def test_other_urls_are_refused(store: Store, work: FakeWork, url: str) -> None:
    """No model, no plain name, no address that may be asked; nothing is left."""
    with pytest.raises(SourceRefused):
        await run(Download("tiny", url), store)
    assert listed(store) == []


async def test_versions_are_not_mixed(store: Store, work: FakeWork, hub: HubServer) -> None:
    """A source without hashes that moves on between two tries: nothing of the first is taken."""
    hub.add_file("mix/config.json", b'{"model_type": "llama"}')
    hub.add_file("mix/tokenizer.json", b"{}")
    hub.add_file("mix/model.safetensors", WEIGHTS)
    hub.misbehave("model.safetensors", Truncate(after=0), times=10)
    with pytest.raises(DownloadFailed):
        await run(Download("tiny", f"{hub.url}/files/mix/"), store, settings_of(hub))
    hub.behave()
    hub.add_file("mix/config.json", b'{"model_type": "qwen3"}')
    await run(Download("tiny", f"{hub.url}/files/mix/"), store, settings_of(hub))
    assert (store.get("tiny").folder / "config.json").read_bytes() == b'{"model_type": "qwen3"}'


async def test_a_vocabulary_beside_a_url_is_found(
    store: Store, work: FakeWork, hub: HubServer
) -> None:
    """A URL lists nothing, so all names are tried that a tokenizer can be made of."""
    hub.add_file("old/config.json", b'{"model_type": "qwen"}')
    hub.add_file("old/tokenizer_config.json", b'{"tokenizer_class": "QWenTokenizer"}')
    hub.add_file("old/qwen.tiktoken", b"AA== 0\n")
    hub.add_file("old/model.safetensors", WEIGHTS)
    await run(Download("tiny", f"{hub.url}/files/old/"), store, settings_of(hub))
    assert hub.bytes_sent("qwen.tiktoken") == len(b"AA== 0\n")


async def test_a_tokenizer_of_unknown_code_is_refused_before_weights(
    store: Store, work: FakeWork, hub: HubServer
) -> None:
    """The small files tell: gigabytes need not come for that."""
    files = {"tokenizer.json", "tokenizer_config.json"}
    repo = {name: content for name, content in REPO.items() if name not in files}
    repo["tokenizer_config.json"] = b'{"tokenizer_class": "OwnTokenizer"}'
    hub.add_repo("org/tiny", repo | {"tokenizer.model": b"x"})
    with pytest.raises(NotAModel, match="'OwnTokenizer' is none of the tokenizer classes"):
        await run(Pull("tiny", "org/tiny"), store, settings_of(hub))
    assert hub.bytes_sent("model.safetensors") == 0 and listed(store) == []


async def test_a_forbidden_neighbour_is_not_an_absent_one(
    store: Store, work: FakeWork, hub: HubServer
) -> None:
    """A tokenizer that may not be read is told: a model without it would answer wrong."""
    hub.add_file("mix/config.json", b'{"model_type": "llama"}')
    hub.add_file("mix/tokenizer_config.json", b"{}")
    hub.add_file("mix/model.safetensors", WEIGHTS)
    hub.misbehave("tokenizer_config.json", Status(403), times=10)
    with pytest.raises(SourceRefused, match="403"):
        await run(Download("tiny", f"{hub.url}/files/mix/"), store, settings_of(hub))

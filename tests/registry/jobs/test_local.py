"""Tests of jobs.local: the weights of a folder, whatever they are called and its index says."""

from collections.abc import Mapping
from pathlib import Path

import pytest

from registry.errors import BrokenWeights, SourceRefused
from registry.jobs.fetching import OnStage
from registry.jobs.jobs import Jobs
from registry.jobs.order import Import, Upload
from registry.store.record import Recipe
from registry.store.store import Store
from tests.fake_work import FakeWork
from tests.provisioning import left, listed, record_of, run, settings_of, sha256
from tests.registry.jobs.test_weights import (
    INDEX,
    STALE,
    TENSORS,
    halves,
    index,
    model,
    safetensors,
)

FIRST, SECOND = "model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"


def write(folder: Path, files: Mapping[str, bytes]) -> Path:
    folder.mkdir(exist_ok=True)
    for name, content in files.items():
        (folder / name).write_bytes(content)
    return folder


async def take(store: Store, folder: Path, files: Mapping[str, bytes], way: str) -> None:
    """Import or upload these files."""
    if way != "upload":
        recipe = Recipe(bits=8 if way == "bits" else None)
        await run(Import("tiny", str(write(folder, files)), way == "link", recipe), store)
        return

    async def receive(arriving: Path, report: OnStage) -> None:
        write(arriving, files)

    job = Jobs(store, settings_of()).start(Upload("tiny", "tiny.zip"), receive)
    await job.wait()
    if job.error is not None:
        raise job.error


def found(store: Store) -> dict[str, bytes]:
    paths = store.get("tiny").folder.iterdir()
    return {path.name: path.read_bytes() for path in paths if "safetensors" in path.name}


@pytest.mark.parametrize("way", ["copy", "bits", "upload"])
@pytest.mark.parametrize("has_index", [False, True])
@pytest.mark.parametrize(
    "names, are_kept",
    [
        ((FIRST, SECOND), True),
        (("model-00000-of-00002.safetensors", "model-00001-of-00002.safetensors"), True),
        (("model-00000-of-00001.safetensors", "model-00001-of-00001.safetensors"), True),
        (("model-00001-of-000002.safetensors", "model-00002-of-000002.safetensors"), True),
        (("model.safetensors-00001-of-00002", "model.safetensors-00002-of-00002"), False),
        (("model.safetensors-00000-of-00002", "model.safetensors-00001-of-00002"), False),
    ],
)
async def test_shards_count_whatever_their_names(
    store: Store,
    work: FakeWork,
    tmp_path: Path,
    names: tuple[str, str],
    are_kept: bool,
    has_index: bool,
    way: str,
) -> None:
    """Those that mlx-lm would not load are called as it wants them; an index of theirs goes."""
    shards = halves(*names)
    indexed = {INDEX: index(*names)} if has_index else {}
    await take(store, tmp_path / "x", model() | indexed | shards, way)
    expected = dict(zip(names if are_kept else (FIRST, SECOND), shards.values(), strict=True))
    assert found(store) == expected | (indexed if are_kept else {})
    source = record_of(store).source
    assert source is not None and source.note is None
    assert {name: source.sha256[name] for name in expected} == {
        name: sha256(content) for name, content in expected.items()
    }
    assert left(store) == []


@pytest.mark.parametrize("way", ["copy", "bits", "upload"])
@pytest.mark.parametrize(
    "weights",
    [
        {"model.safetensors": safetensors(*TENSORS)},
        halves(FIRST, SECOND),
        {"model.safetensors": safetensors(*TENSORS), "adapter_model.safetensors": b"x"},
    ],
)
async def test_a_stale_index_is_left_out(
    store: Store, work: FakeWork, tmp_path: Path, weights: dict[str, bytes], way: str
) -> None:
    """As of a repository: the files that are there hold all tensors, and the record says so."""
    await take(store, tmp_path / "x", model() | {INDEX: STALE} | weights, way)
    expected = {name: data for name, data in weights.items() if name.startswith("model")}
    assert found(store) == expected
    source = record_of(store).source
    assert source is not None and "is stale" in (source.note or "")


@pytest.mark.parametrize("way", ["copy", "bits", "upload"])
async def test_what_an_index_does_not_name_is_left_out(
    store: Store, work: FakeWork, tmp_path: Path, way: str
) -> None:
    """Left over from a conversion, say; also where a name that is wanted is taken by another."""
    shards = halves("a.safetensors", FIRST)
    files = model() | {INDEX: index(*shards), "model-old.safetensors": safetensors("old")}
    await take(store, tmp_path / "x", files | shards, way)
    assert found(store) == dict(zip((FIRST, SECOND), shards.values(), strict=True))


@pytest.mark.parametrize(
    "names", [("x-Q4_K_M.gguf",), ("x.GGUF", "mmproj-x-F16.gguf", "imatrix.gguf"), ("sha256-0a",)]
)
async def test_a_folder_of_one_gguf(
    store: Store, work: FakeWork, tmp_path: Path, names: tuple[str, ...]
) -> None:
    """As LM Studio lays it out, PUBLISHER/REPOSITORY/x.gguf, or Ollama, with what belongs to it."""
    (tmp_path / "publisher").mkdir()
    files = {name: b"GGUF weights" + name.encode() for name in names}
    await take(store, tmp_path / "publisher/x", files, "copy")
    assert found(store)["model.safetensors"] == files[names[0]]
    with pytest.raises(SourceRefused, match="has to be converted"):
        await run(Import("other", str(tmp_path / "publisher/x"), link=True), store)


async def test_what_belongs_to_a_model_is_none(
    store: Store, work: FakeWork, tmp_path: Path
) -> None:
    with pytest.raises(SourceRefused, match="belongs to one .mmproj-x.gguf.: import the folder"):
        await take(store, tmp_path / "x", {"mmproj-x.gguf": b"GGUF"}, "copy")
    two = {"x.gguf": b"GGUF", "y.gguf": b"GGUF"}
    with pytest.raises(SourceRefused, match="name one of x.gguf, y.gguf"):
        await take(store, tmp_path / "y", two, "copy")


@pytest.mark.parametrize("way", ["copy", "bits", "upload"])
async def test_half_a_model_is_refused(
    store: Store, work: FakeWork, tmp_path: Path, way: str
) -> None:
    """Before anything is copied; a file that is broken is called so."""
    files = model() | {INDEX: STALE, "model.safetensors": safetensors(*TENSORS[:2])}
    with pytest.raises(SourceRefused, match="Layer 1 of 2 is in none of them"):
        await take(store, tmp_path / "x", files, way)
    with pytest.raises(BrokenWeights, match="model.safetensors is broken"):
        await take(store, tmp_path / "x", files | {"model.safetensors": b"x" * 100}, way)
    assert listed(store) == [] and left(store) == [] and work.works == []


@pytest.mark.parametrize(
    "files",
    [
        {INDEX: STALE, "model.safetensors": safetensors(*TENSORS)},
        halves("model.safetensors-00001-of-00002", "model.safetensors-00002-of-00002"),
    ],
)
async def test_a_linked_folder_stays_as_it_is(
    store: Store, work: FakeWork, tmp_path: Path, files: dict[str, bytes]
) -> None:
    with pytest.raises(SourceRefused, match="Import it without linking"):
        await take(store, tmp_path / "x", model() | files, "link")
    assert work.works == []

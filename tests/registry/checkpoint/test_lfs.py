"""Tests of registry.checkpoint.lfs: what a clone without Git LFS left is called so."""

import json
import shutil
from pathlib import Path

import pytest

from registry.checkpoint import lfs
from registry.checkpoint.tokenizer.load import load as load_tokenizer
from registry.checkpoint.verify import verify
from registry.checkpoint.weights import read_header
from registry.convert import __main__ as convert
from registry.convert_messages import Work
from registry.errors import NotAModel
from registry.jobs import provision
from registry.jobs.order import Import
from registry.store.store import Store
from tests.models.tiny_models import make_llama

POINTER = (
    b"version https://git-lfs.github.com/spec/v1\n"
    b"oid sha256:4d7a214614ab2935c943f9e0ff69d22eadbb8f32b1258daaa5e2ca24d17e2393\nsize 98304\n"
)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_llama(tmp_path_factory.mktemp("lfs") / "tiny")


@pytest.fixture
def folder(model: Path, tmp_path: Path) -> Path:
    return shutil.copytree(model, tmp_path / "clone")


@pytest.mark.parametrize(
    "name",
    ["model.safetensors", "config.json", "tokenizer.json", "tokenizer.model", "tiktoken.model"],
)
def test_a_pointer_is_called_so(folder: Path, name: str) -> None:
    """Each file that makes a model, with what to do; not a header of 2336927755350992246 bytes."""
    (folder / name).write_bytes(POINTER)
    with pytest.raises(NotAModel, match=f"^{name} is a Git LFS pointer.*run `git lfs pull`"):
        verify(folder)


@pytest.mark.parametrize("name", ["m.gguf", "model.GGUF", "sha256-ab", "model.safetensors"])
def test_a_pointer_is_no_broken_weight_file(tmp_path: Path, name: str) -> None:
    """However a single file is called, it is told before its header is walked."""
    (tmp_path / name).write_bytes(POINTER)
    with pytest.raises(NotAModel, match="is a Git LFS pointer"):
        read_header(tmp_path / name)
    with pytest.raises(NotAModel, match="is a Git LFS pointer"):
        convert.check(Work(str(tmp_path / name), None))


def test_an_import_names_the_folder_before_anything_is_copied(folder: Path, tmp_path: Path) -> None:
    """Also where only one of several shards was not pulled."""
    (folder / "model-00002-of-00002.safetensors").write_bytes(POINTER)
    store = Store(tmp_path / "home")
    with pytest.raises(NotAModel, match=f"^model-00002.*run `git lfs pull` in {folder}"):
        provision.check(Import("tiny", str(folder)), store)
    assert not store.home.exists()


def test_an_import_of_a_gguf_that_is_a_pointer_is_refused_at_once(tmp_path: Path) -> None:
    """By its own path, or as the one file of a folder."""
    store = Store(tmp_path / "home")
    clone = tmp_path / "clone"
    clone.mkdir()
    (clone / "m.gguf").write_bytes(POINTER)
    for path in (clone, clone / "m.gguf"):
        with pytest.raises(NotAModel, match=f"^m.gguf is .*run `git lfs pull` in {clone}"):
            provision.check(Import("tiny", str(path)), store)


def test_several_are_counted(folder: Path) -> None:
    """One sentence, however many were left behind."""
    for number in range(1, 6):
        (folder / f"model-0000{number}-of-00005.safetensors").write_bytes(POINTER)
    with pytest.raises(NotAModel, match="and 2 more are Git LFS pointers, not the files"):
        lfs.check_folder(folder)


def test_what_nobody_reads_may_be_a_pointer(folder: Path) -> None:
    """Weights of another framework are often left out on purpose."""
    for name in ("pytorch_model.bin", "tf_model.h5", "README.md", "training_args.bin"):
        (folder / name).write_bytes(POINTER)
    (folder / "onnx").mkdir()
    (folder / "onnx/model.onnx").write_bytes(POINTER)
    verify(folder)


def test_a_text_that_begins_alike_is_no_pointer(tmp_path: Path) -> None:
    """A pointer is short, as its specification has it."""
    path = tmp_path / "tokenizer.json"
    path.write_bytes(POINTER + b"x" * 1024)
    lfs.check(path)
    path.write_bytes(b"")
    lfs.check(path)
    path.write_bytes(POINTER)
    with pytest.raises(NotAModel, match="is a Git LFS pointer"):
        load_tokenizer(tmp_path)


@pytest.mark.parametrize("name", ["consolidated.safetensors", "other.gguf", "x.safetensors"])
def test_weights_that_are_not_read_may_be_pointers(folder: Path, tmp_path: Path, name: str) -> None:
    """As after `git lfs pull -I "model*"` in a clone of Mistral's, which has all weights twice."""
    (folder / name).write_bytes(POINTER)
    verify(folder)
    provision.check(Import("tiny", str(folder)), Store(tmp_path / "home"))
    (folder / "model.safetensors").write_bytes(POINTER)
    with pytest.raises(NotAModel, match=f"^model.safetensors is .*run `git lfs pull` in {folder}"):
        provision.check(Import("tiny", str(folder)), Store(tmp_path / "home"))


@pytest.mark.parametrize("has_index", [False, True])
def test_shards_of_another_name_are_read(folder: Path, tmp_path: Path, has_index: bool) -> None:
    """They become the weights of an import: none of them may be a pointer, the rest may."""
    shards = [f"pytorch_model-0000{n}-of-00002.safetensors" for n in (1, 2)]
    (folder / "model.safetensors").rename(folder / shards[0])
    (folder / shards[1]).write_bytes(POINTER)
    (folder / "consolidated.safetensors").write_bytes(POINTER)
    if has_index:
        index = {"weight_map": {"a": shards[0], "b": shards[1]}}
        (folder / "model.safetensors.index.json").write_text(json.dumps(index))
        (folder / "model.safetensors").write_bytes(POINTER)  # not named, so not taken
    with pytest.raises(NotAModel, match=f"^{shards[1]} is .*run `git lfs pull` in {folder}"):
        provision.check(Import("tiny", str(folder)), Store(tmp_path / "home"))
    shutil.copyfile(folder / shards[0], folder / shards[1])
    provision.check(Import("tiny", str(folder)), Store(tmp_path / "home"))


def test_of_a_stale_index_what_is_there_counts(folder: Path, tmp_path: Path) -> None:
    """Its shards were never there; the whole file is read instead, or is the pointer."""
    index = {"weight_map": {"a": "model-00001-of-00002.safetensors"}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    (folder / "consolidated.safetensors").write_bytes(POINTER)
    provision.check(Import("tiny", str(folder)), Store(tmp_path / "home"))
    (folder / "model.safetensors").write_bytes(POINTER)
    with pytest.raises(NotAModel, match="^model.safetensors is a Git LFS pointer"):
        provision.check(Import("tiny", str(folder)), Store(tmp_path / "home"))


def test_a_folder_of_nothing_but_pointers_is_told(folder: Path) -> None:
    """Also where mlx-lm would load none of them."""
    (folder / "model.safetensors").unlink()
    (folder / "consolidated.safetensors").write_bytes(POINTER)
    with pytest.raises(NotAModel, match="^consolidated.safetensors is a Git LFS pointer"):
        verify(folder)


def test_weights_that_only_an_index_knows_are_some(folder: Path, tmp_path: Path) -> None:
    """Beside them a GGUF is not what is meant, so it may be a pointer."""
    (folder / "model.safetensors").rename(folder / "weights.safetensors")
    index = {"weight_map": {"a": "weights.safetensors"}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    (folder / "other.gguf").write_bytes(POINTER)
    provision.check(Import("tiny", str(folder)), Store(tmp_path / "home"))

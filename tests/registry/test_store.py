"""Tests of registry.store: ids, imports, damage, and several writers."""

import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from registry.errors import InvalidModelId, ModelExists, ModelNotFound, NotAModel
from registry.store import Store
from tests.serving import ROOT
from tests.tiny_models import make_llama

BAD_IDS = ["", ".", "..", "../x", "a/b", "a\\b", "/etc", "-x", ".x", "a..b", "x" * 256, "a b",
           "a\n", "x\0", "~", "C:x", "%2e%2e", "\u2024\u2024", "ａ"]  # fmt: skip


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "home")


def tree(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*")}


@pytest.mark.parametrize("link", [False, True])
def test_an_imported_model_is_found(store: Store, tmp_path: Path, link: bool) -> None:
    """By copy or by link, it is listed with its size and survives a new store object."""
    source = make_llama(tmp_path / "source")
    (source / "evil.py").write_text("print('no')")
    entry = store.import_folder(source, "tiny-1.0", link=link)
    assert (entry.id, entry.kind, entry.is_ready) == ("tiny-1.0", "llm", True)
    assert entry.size_bytes == (source / "model.safetensors").stat().st_size
    assert (entry.folder == source) is link
    assert Store(tmp_path / "home").get("tiny-1.0") == entry
    assert "tiny-1.0" in [found.id for found in store.entries()]
    if not link:
        assert not (entry.folder / "evil.py").exists()
        for path in entry.folder.iterdir():
            assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert stat.S_IMODE(entry.folder.stat().st_mode) == 0o700


@pytest.mark.parametrize("model_id", BAD_IDS)
def test_ids_never_leave_the_store(store: Store, tmp_path: Path, model_id: str) -> None:
    """No id reaches a path outside: refused on import, not found on get and remove."""
    source = make_llama(tmp_path / "source")
    before = tree(tmp_path)
    with pytest.raises(InvalidModelId):
        store.import_folder(source, model_id, link=False)
    for action in (store.get, store.remove):
        with pytest.raises(ModelNotFound):
            action(model_id)
    assert tree(tmp_path) == before


def test_an_id_is_taken_once(store: Store, tmp_path: Path) -> None:
    """A second import under the same id is refused; after removal it works."""
    source = make_llama(tmp_path / "source")
    store.import_folder(source, "tiny", link=True)
    with pytest.raises(ModelExists):
        store.import_folder(source, "tiny", link=False)
    store.remove("tiny")
    assert (source / "model.safetensors").exists()
    with pytest.raises(ModelNotFound):
        store.get("tiny")
    store.import_folder(source, "tiny", link=False)


@pytest.mark.parametrize(
    "damage", ["config", "json", "type", "tokenizer", "weights", "code", "map"]
)
def test_a_folder_that_is_no_model_is_refused(store: Store, tmp_path: Path, damage: str) -> None:
    """With the reason, and nothing written."""
    source = make_llama(tmp_path / "source")
    config = source / "config.json"
    match damage:
        case "config":
            config.unlink()
        case "json":
            config.write_text("{")
        case "type":
            config.write_text('{"model_type": "../../x"}')
        case "tokenizer":
            (source / "tokenizer.json").unlink()
        case "weights":
            (source / "model.safetensors").unlink()
        case "code":
            config.write_text('{"model_type": "llama", "model_file": "evil.py"}')
        case "map":
            config.write_text('{"model_type": "llama", "auto_map": {}}')
    with pytest.raises(NotAModel):
        store.import_folder(source, "tiny", link=False)
    with pytest.raises(ModelNotFound):
        store.get("tiny")


def test_a_model_whose_files_went_is_not_ready(store: Store, tmp_path: Path) -> None:
    """A link to a folder that was emptied stays listed, and says so."""
    source = make_llama(tmp_path / "source")
    store.import_folder(source, "tiny", link=True)
    (source / "model.safetensors").unlink()
    assert store.get("tiny").is_ready is False


def test_torn_metadata_costs_one_model(store: Store, tmp_path: Path) -> None:
    """Cut at any byte, model.json takes its own model out of the list and no other."""
    source = make_llama(tmp_path / "source")
    store.import_folder(source, "good", link=True)
    store.import_folder(source, "torn", link=True)
    path = tmp_path / "home" / "models" / "torn" / "model.json"
    content = path.read_bytes()
    for length in range(len(content)):
        path.write_bytes(content[:length])
        assert "good" in [entry.id for entry in store.entries()]
        with pytest.raises(ModelNotFound):
            store.get("torn")


def test_what_a_killed_writer_left_is_swept(store: Store, tmp_path: Path) -> None:
    """A half import is never listed, and the next writer removes it."""
    source = make_llama(tmp_path / "source")
    store.import_folder(source, "tiny", link=True)
    left = tmp_path / "home" / "models" / ".staging-dead"
    left.mkdir()
    (left / "model.json").write_text('{"id":"x","kind":"llm","created_at":1}')
    assert ".staging-dead" not in [entry.id for entry in store.entries()]
    store.import_folder(source, "other", link=True)
    assert not left.exists()


@pytest.mark.slow
def test_writers_in_several_processes_lose_nothing(store: Store, tmp_path: Path) -> None:
    """Eight processes import at once: every model is there, and of one id exactly one wins."""
    source = make_llama(tmp_path / "source")
    code = (
        "import sys; from pathlib import Path; from registry.store import Store\n"
        "from registry.errors import ModelExists\n"
        "store = Store(Path(sys.argv[1]))\n"
        "for name in (sys.argv[3], 'shared'):\n"
        "    try: store.import_folder(Path(sys.argv[2]), name, link=False); print('new', name)\n"
        "    except ModelExists: pass\n"
    )
    home = str(tmp_path / "home")
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", code, home, str(source), f"own{n}"],
            cwd=ROOT,
            stdout=subprocess.PIPE,
            text=True,
            env=os.environ | {"PYTHONPATH": "."},
        )  # fmt: skip
        for n in range(8)
    ]
    output = "".join(process.communicate()[0] for process in processes)
    assert output.count("new shared") == 1
    assert {f"own{n}" for n in range(8)} | {"shared"} <= {e.id for e in store.entries()}

"""Tests of registry.checkpoint.names: a name that is no text is refused in a sentence."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from registry.checkpoint import names
from registry.checkpoint.verify import verify
from registry.errors import NotAModel, SourceRefused
from registry.jobs import provision
from registry.jobs.order import Convert, Download, Import, Order, Pull
from registry.store.store import Store
from tests.fake_work import write_folder
from tests.models.tiny_models import make_llama
from tests.provisioning import run
from tests.serving import ROOT

pytestmark = pytest.mark.skipif(sys.platform == "darwin", reason="names on a Mac are UTF-8")


def latin(folder: Path, name: str) -> Path:
    """A path with an é as the old code pages have it."""
    return folder / os.fsdecode(name.encode("latin-1"))


def test_a_path_is_shown_with_its_bytes() -> None:
    path = latin(Path("/tmp"), "café")
    assert not names.is_text(path) and names.shown(path) == r"/tmp/caf\xe9"
    assert names.is_text(Path("/tmp/café")) and names.shown("/tmp/café") == "/tmp/café"


@pytest.mark.parametrize("link", [False, True])
def test_a_folder_of_such_a_name_is_refused_at_once(tmp_path: Path, link: bool) -> None:
    """Also one above it; nothing of it can be put on record."""
    store = Store(tmp_path / "home")
    folder = write_folder(latin(tmp_path, "café") / "model")
    for path in (folder, folder.parent, latin(folder, "é.gguf")):
        with pytest.raises(SourceRefused, match=r"caf\\xe9.* is not UTF-8.*: give it another"):
            provision.check(Import("tiny", str(path), link), store)
    assert not store.home.exists()


@pytest.mark.parametrize(
    "order",
    [
        Pull("m", "org/\udce9"),
        Pull("m", "org/x", revision="\udce9"),
        Pull("m", "org/x", file="\udce9.gguf"),
        Download("m", "https://x.org/\udce9.gguf"),
        Convert("m", "\udce9"),
    ],
)
def test_an_order_with_such_words_is_refused(tmp_path: Path, order: Order) -> None:
    """An order is written down, so that a restart goes on with it."""
    store = Store(tmp_path / "home")
    with pytest.raises(SourceRefused, match=r"\\xe9.* has a name that is not UTF-8"):
        provision.check(order, store)


def test_weights_of_such_a_name_are_refused(tmp_path: Path) -> None:
    """A shard, wherever it is met; and the one GGUF of a folder."""
    store = Store(tmp_path / "home")
    folder = write_folder(tmp_path / "model")
    latin(folder, "model-é.safetensors").write_bytes(b"")
    with pytest.raises(NotAModel, match=r"model-\\xe9.safetensors has a name that is not UTF-8"):
        provision.check(Import("tiny", str(folder)), store)
    with pytest.raises(NotAModel, match=r"model-\\xe9.safetensors has a name that is not UTF-8"):
        verify(folder)
    (tmp_path / "gguf").mkdir()
    latin(tmp_path / "gguf", "é.gguf").write_bytes(b"GGUF")
    with pytest.raises(SourceRefused, match=r"gguf/\\xe9.gguf has a name that is not UTF-8"):
        provision.check(Import("tiny", str(tmp_path / "gguf")), store)
    latin(tmp_path / "gguf", "è.gguf").write_bytes(b"GGUF")
    with pytest.raises(SourceRefused, match=r"name one of \\xe8.gguf, \\xe9.gguf"):
        provision.check(Import("tiny", str(tmp_path / "gguf")), store)


async def test_other_files_of_such_a_name_are_left_out(tmp_path: Path) -> None:
    """What is not needed is not judged."""
    store = Store(tmp_path / "home")
    folder = make_llama(tmp_path / "model")
    for name in ("é.json", "café.txt", "é.tiktoken"):
        latin(folder, name).write_text("{}")
    for order in (Import("copied", str(folder)), Import("linked", str(folder), link=True)):
        await run(order, store)
        assert store.get(order.model_id).is_ready


def test_a_home_of_such_a_name_is_refused(tmp_path: Path) -> None:
    """By the command, before it does anything."""
    command = [sys.executable, "-m", "scripts.cli", "--home", str(latin(tmp_path, "é")), "list"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 2 and "Traceback" not in done.stderr
    assert r"\xe9 has a name that is not UTF-8" in " ".join(done.stderr.split())

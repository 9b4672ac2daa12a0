"""What tests of several routes share: a hub, a store, a small model, a server of encoders."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.hub.hub_server import HubServer
from tests.models.gguf_files import write_gguf
from tests.models.tiny_encoders import MINILM, make_bert
from tests.models.tiny_models import make_llama
from tests.serving import ServerProcess, import_model, link_model
from tests.store_client import start


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_llama(tmp_path_factory.mktemp("source") / "tiny")


@pytest.fixture(scope="session")
def gguf(folder: Path) -> Path:
    return write_gguf(folder, folder.parent / "tiny-Q8_0.gguf", "Q8_0")


@pytest.fixture(scope="session")
def hub() -> Iterator[HubServer]:
    with HubServer() as server:
        yield server


@pytest.fixture(scope="session")
def store(tmp_path_factory: pytest.TempPathFactory, hub: HubServer) -> Iterator[ServerProcess]:
    """A server with an empty home and that hub."""
    with start(tmp_path_factory.mktemp("store") / "home", hub) as process:
        yield process


@pytest.fixture(scope="session")
def encoders(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    """Serves the real `minilm`, a random cross-encoder `ranker`, and `tiny`, a chat model."""
    folder: Path = tmp_path_factory.mktemp("encoders")
    home = folder / "home"
    link_model(home, "tiny", make_llama(folder / "tiny"))
    import_model(home, "ranker", make_bert(folder / "ranker", num_labels=1))
    import_model(home, "minilm", MINILM)
    with ServerProcess(home) as process:
        yield process

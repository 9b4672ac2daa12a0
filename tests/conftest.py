"""A server with tiny models that most outside tests share."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.models.tiny_models import make_llama
from tests.serving import ServerProcess, link_model


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    """Serves `tiny`, and `short` with a context of 64 tokens. Tests leave no request behind."""
    folder: Path = tmp_path_factory.mktemp("server")
    for name, context in (("tiny", 8192), ("short", 64)):
        model = make_llama(folder / name, max_position_embeddings=context)
        link_model(folder / "home", name, model)
    with ServerProcess(folder / "home", "--max-rows", "8", "--max-queue", "8") as process:
        yield process

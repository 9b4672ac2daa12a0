"""A server that has to outlive every test of this folder."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.models.tiny_models import make_llama
from tests.serving import ServerProcess, link_model

from .ways import CHAT, status_of


@pytest.fixture(scope="package")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    """Serves `tiny`, and `raises`, whose template takes nothing."""
    folder = tmp_path_factory.mktemp("bad")
    home = folder / "home"
    link_model(home, "tiny", make_llama(folder / "tiny"))
    link_model(home, "raises", _with_template(folder / "raises", "{{ raise_exception('No.') }}"))
    with ServerProcess(home) as process:
        assert status_of(process, CHAT) == 200  # an engine is up
        yield process


@pytest.fixture
def server(running: ServerProcess) -> Iterator[ServerProcess]:
    """It answers afterwards, by the engine that it had."""
    engines = [process.pid for process in running.engines()]
    yield running
    assert status_of(running, CHAT) == 200
    assert [process.pid for process in running.engines()] == engines


def _with_template(folder: Path, template: str) -> Path:
    config = make_llama(folder) / "tokenizer_config.json"
    config.write_text(json.dumps(json.loads(config.read_text()) | {"chat_template": template}))
    return folder

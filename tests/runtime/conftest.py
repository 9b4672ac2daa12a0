"""What tests of the runtime start from: a pool, models, text workers that can be asked."""

from collections.abc import AsyncGenerator
from pathlib import Path

import pytest

from registry.checkpoint.model import Model
from runtime.pool import ModelPool
from runtime.residency import PoolSettings
from runtime.text_questions import TextQuestions
from runtime.text_workers import TextSettings, TextWorkers
from tests import processes
from tests.models.tiny_encoders import make_bert
from tests.models.tiny_models import make_llama
from tests.runtime.asking import SetMeter


@pytest.fixture
async def pool() -> AsyncGenerator[ModelPool, None]:
    pool = ModelPool(PoolSettings(max_rows=2, max_queue=3))
    await pool.start()
    yield pool
    await pool.close()
    assert processes.children() == []


@pytest.fixture
def meter() -> SetMeter:
    return SetMeter()


@pytest.fixture
async def metered(meter: SetMeter) -> AsyncGenerator[ModelPool, None]:
    """A pool that believes in `meter`."""
    pool = ModelPool(PoolSettings(max_rows=4, max_queue=8), meter=meter)
    await pool.start()
    yield pool
    await pool.close()
    assert processes.children() == []


@pytest.fixture
def model(tmp_path: Path) -> Model:
    return Model("tiny", make_llama(tmp_path / "tiny"))


@pytest.fixture
def embedder(tmp_path: Path) -> Model:
    return Model("bert", make_bert(tmp_path / "bert"))


@pytest.fixture
async def questions() -> AsyncGenerator[TextQuestions, None]:
    """Bombs are stopped sooner than elsewhere."""
    workers = TextWorkers(TextSettings(deadline_s=1.5))
    await workers.start()
    yield TextQuestions(workers)
    await workers.close()
    assert not processes.children("runtime.text")

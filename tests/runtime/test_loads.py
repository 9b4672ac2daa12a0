"""Tests of runtime.loads: a load that fails, with and without somebody who waits for it."""

import asyncio
import gc
import logging
from dataclasses import replace

import msgspec
import pytest

from registry.checkpoint.model import Model
from runtime.errors import LoadFailed, TooSlow
from runtime.pool import ModelPool
from tests.runtime.asking import ask, generate, request


@pytest.fixture
def martian(model: Model) -> Model:
    """Its engine starts, and finds that it cannot be loaded."""
    config = model.folder / "config.json"
    config.write_text(config.read_text().replace('"llama"', '"martian"'))
    return replace(model, load_s=100.0)


async def ended(pool: ModelPool) -> None:
    """All loads are over, and nothing holds them any more."""
    async with asyncio.timeout(30):
        while pool.residency.loading():
            await asyncio.sleep(0.01)
    await asyncio.sleep(0)
    gc.collect()


async def test_a_failed_load_that_nobody_waits_for_is_one_line_of_the_log(
    pool: ModelPool, martian: Model, caplog: pytest.LogCaptureFixture
) -> None:
    """Its starter has left, or was refused for another reason: the model is named, and why."""
    leaving = generate(pool, martian, request())
    await anext(leaving)
    await leaving.aclose()
    await ended(pool)
    hurried = msgspec.structs.replace(request(), max_ttft_s=1.0)
    with pytest.raises(TooSlow):
        await pool.begin(martian, hurried)
    await ended(pool)
    assert [record.levelno for record in caplog.records] == [logging.WARNING] * 2
    for record in caplog.records:
        assert "tiny" in record.getMessage() and "martian" in record.getMessage()
        assert "\n" not in caplog.handler.format(record)


async def test_a_failed_load_is_told_to_those_who_wait_and_not_to_the_log(
    pool: ModelPool, martian: Model, caplog: pytest.LogCaptureFixture
) -> None:
    with pytest.raises(LoadFailed, match="martian"):
        await ask(pool, martian)
    await ended(pool)
    assert not caplog.records

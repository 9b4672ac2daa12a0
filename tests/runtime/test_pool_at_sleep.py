"""Tests of runtime.pool around a sleep: held off while it computes, engines proven behind it."""

import asyncio
import os
import signal
from collections.abc import AsyncGenerator
from pathlib import Path

import pytest

from registry.checkpoint.model import Model
from runtime.engine_messages import Command, Generate
from runtime.engine_process import Watch
from runtime.events import Failed
from runtime.pool import ModelPool
from runtime.requests import EmbeddingRequest
from runtime.residency import PoolSettings
from tests import processes
from tests.models.tiny_encoders import make_bert
from tests.runtime.asking import generate, request, tokens
from tests.runtime.power.mac import Mac


@pytest.fixture
def mac() -> Mac:
    return Mac()


@pytest.fixture
async def pool(mac: Mac) -> AsyncGenerator[ModelPool, None]:
    pool = ModelPool(PoolSettings(), system=mac)
    await pool.start()
    yield pool
    await pool.close()
    assert processes.children() == [] and mac.held == []


async def load(pool: ModelPool, model: Model) -> int:
    """Bring a model into memory, and return its engine's pid."""
    async for _ in pool.residency.load(model):
        pass
    pid = pid_of(pool, model)
    assert pid is not None
    return pid


def pid_of(pool: ModelPool, model: Model) -> int | None:
    engine = pool.residency.slots[model.id].engine
    return None if engine is None else engine.pid


async def gone(pool: ModelPool, model: Model) -> None:
    async with asyncio.timeout(60):
        while pid_of(pool, model) is not None:
            await asyncio.sleep(0.01)


async def test_sleep_is_held_off_for_an_answer_only(
    pool: ModelPool, mac: Mac, model: Model, embedder: Model
) -> None:
    """Not by a model in memory that nobody asks, and by vectors as by tokens."""
    await load(pool, model)
    assert mac.num_asked == 0
    events = generate(pool, model, request(max_tokens=4000, temperature=0))
    await anext(events)
    assert mac.held == [1]
    await events.aclose()
    pool._idle_sleep.release()  # else for two seconds more
    await pool.embed(embedder, EmbeddingRequest(("a quick fox",)))
    assert mac.num_asked == 2


async def test_engines_that_compute_stay(
    pool: ModelPool, model: Model, embedder: Model, tmp_path: Path
) -> None:
    """Of every kind, and beside rows that they draw: nobody's answer is another one for it."""
    reranker = Model("ranks", make_bert(tmp_path / "ranks", num_labels=1))
    models = [model, embedder, reranker]
    pids = [await load(pool, each) for each in models]
    asked = request(max_tokens=200, temperature=0)
    expected = await tokens(generate(pool, model, asked))
    drawing = asyncio.create_task(tokens(generate(pool, model, asked)))
    for _ in range(3):
        await pool.probe()
    assert await drawing == expected
    assert [pid_of(pool, each) for each in models] == pids


@pytest.mark.parametrize("is_broken", [True, False])
async def test_an_engine_whose_device_is_lost_is_replaced(
    pool: ModelPool, model: Model, monkeypatch: pytest.MonkeyPatch, is_broken: bool
) -> None:
    """Its loop runs, and its passes fail. One that wants memory, or says a NaN, goes on."""
    pid = await load(pool, model)
    engine = pool.residency.slots[model.id].engine
    assert engine is not None

    def fail(command: Command) -> None:  # what an engine would say
        if isinstance(command, Generate):
            engine._rows.put(Failed(command.id, "the device is lost", is_broken))

    with monkeypatch.context() as patch:
        patch.setattr(engine, "_send", fail)
        await pool.probe()
    if is_broken:
        await gone(pool, model)
    assert await tokens(generate(pool, model, request(max_tokens=4)))
    assert (pid_of(pool, model) == pid) is not is_broken


async def test_an_engine_that_does_not_come_back_is_ended(mac: Mac, model: Model) -> None:
    """It hangs in its device, as a stopped process does; who asks it is not kept waiting."""
    settings = PoolSettings(watch=Watch(beat_s=0.1, silent_beats=20))
    pool = ModelPool(settings, system=mac)
    await pool.start()
    try:
        os.kill(await load(pool, model), signal.SIGSTOP)
        async with asyncio.timeout(60):
            await pool.probe()
        await gone(pool, model)
    finally:
        await pool.close()


async def test_without_engines_there_is_nothing_to_prove(pool: ModelPool) -> None:
    await pool.probe()

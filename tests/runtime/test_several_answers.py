"""Tests of runtime.pool.begin_all: several answers to one request, which begin and end together."""

import asyncio
from typing import Any

import msgspec
import pytest

from registry.checkpoint.model import Model
from runtime.errors import ContextLengthExceeded, InvalidRequest, QueueFull
from runtime.events import TextDelta
from runtime.pool import ModelPool
from runtime.requests import GenerationRequest
from tests import processes
from tests.models.tiny_models import make_llama
from tests.runtime.asking import ask, request, tokens


def several(num_answers: int, text: str = "Hello", **sampling: Any) -> GenerationRequest:
    asked: GenerationRequest = request(text, **sampling)
    return msgspec.structs.replace(asked, num_answers=num_answers)


async def answers(pool: ModelPool, model: Model, asked: GenerationRequest) -> list[tuple[int, ...]]:
    generations = await pool.begin_all(model, asked)
    told = (tokens(generation.follow()) for generation in generations)
    return [tuple(drawn) for drawn in await asyncio.gather(*told)]


async def nothing_runs(pool: ModelPool, model: Model) -> None:
    """No ticket is out, and no row in the engine."""
    slot = pool.residency.slot(model)
    async with asyncio.timeout(10):
        while slot.schedule._tickets or (slot.engine is not None and slot.engine.num_rows):
            await asyncio.sleep(0.01)


async def test_several_answers_differ_and_with_a_seed_they_repeat(
    pool: ModelPool, model: Model
) -> None:
    """Also beyond the rows that run at once. The first is the one that a single answer would be."""
    asked = several(4, max_tokens=12, seed=7)
    drawn = await answers(pool, model, asked)
    assert len(set(drawn)) == 4
    assert await answers(pool, model, asked) == drawn
    assert await answers(pool, model, several(1, max_tokens=12, seed=7)) == drawn[:1]
    assert await answers(pool, model, several(1, max_tokens=12, seed=9)) == drawn[2:3]
    assert len({*(await answers(pool, model, several(4, max_tokens=12))), *drawn}) == 8
    greedy = await answers(pool, model, several(3, max_tokens=12, temperature=0))
    assert len(set(greedy)) == 1
    await nothing_runs(pool, model)


async def test_several_answers_find_room_together_or_are_refused(
    pool: ModelPool, model: Model
) -> None:
    """Two rows and three places to wait: one more refuses all, and no worker reads for them."""
    await ask(pool, model, max_tokens=1)
    workers = {child.pid for child in processes.children("runtime.text")}
    with pytest.raises(QueueFull):
        await pool.begin_all(model, several(6, max_tokens=2))
    running = await pool.begin_all(model, several(3, max_tokens=2000, temperature=0))
    with pytest.raises(QueueFull):
        await pool.begin_all(model, several(3, max_tokens=2))
    assert len(await answers(pool, model, several(2, max_tokens=2))) == 2
    for generation in running:
        await generation.cancel()
    assert {child.pid for child in processes.children("runtime.text")} == workers
    await nothing_runs(pool, model)


async def test_a_refusal_of_several_answers_is_raised_once(pool: ModelPool, model: Model) -> None:
    """Whatever refuses them; and nobody waits on."""
    short = Model("short", make_llama(model.folder.parent / "s", max_position_embeddings=16))
    with pytest.raises(ContextLengthExceeded):
        await pool.begin_all(short, several(4, text="word " * 50))
    (model.folder / "chat_template.jinja").write_text("{{ raise_exception('Never.') }}")
    with pytest.raises(InvalidRequest, match="Never"):
        await pool.begin_all(model, several(4))
    assert pool.residency.loaded() == []
    for each in (model, short):
        await nothing_runs(pool, each)
        outcomes = pool.outcomes()[each.id]
        assert outcomes.keys() <= {"refused", "cancelled"} and sum(outcomes.values()) == 4


@pytest.mark.parametrize("is_begun", [False, True])
async def test_several_answers_end_with_whoever_asked(
    pool: ModelPool, model: Model, is_begun: bool
) -> None:
    """Before they are accepted all at once; then each by itself, and its neighbours go on."""
    asked = several(3, max_tokens=2000, temperature=0)
    if is_begun:
        first, *others = await pool.begin_all(model, asked)
        await first.cancel()
        for generation in others:
            reader = generation.follow()
            while not isinstance(await anext(reader), TextDelta):
                pass
            await generation.cancel()
    else:
        beginning = asyncio.create_task(pool.begin_all(model, asked))
        while len(pool.residency.slot(model).schedule._tickets) < 3:
            await asyncio.sleep(0)
        beginning.cancel()
        with pytest.raises(asyncio.CancelledError):
            await beginning
    await nothing_runs(pool, model)
    assert pool.outcomes() == {"tiny": {"cancelled": 3}}

"""Tests of runtime.caches: what engines say of their prefix caches, beside what was spliced."""

import pytest

from registry.checkpoint.model import Model
from runtime.errors import ModelNotLoaded
from runtime.pool import ModelPool
from tests.runtime.asking import ask, kill, load
from tests.runtime.talking import chat, prompt_of, turn


async def test_each_prompt_is_told_of(pool: ModelPool, model: Model, embedder: Model) -> None:
    """The newest first, with what was taken over; models that draw nothing have no cache."""
    assert await pool.caches.describe() == []
    talk = ["Hello"]
    first, second = await turn(pool, model, talk), await turn(pool, model, talk)
    await load(pool, embedder)
    (cache,) = await pool.caches.describe()
    assert cache == (await pool.caches.describe("tiny"))[0] and cache.model_id == "tiny"
    description = cache.description
    assert description.num_bytes and description.num_tokens >= len(second) - 1
    newest, oldest = description.lookups
    assert (newest.cached_tokens, newest.blocked) == (len(first), "")
    assert (oldest.cached_tokens, oldest.blocked) == (0, "new")
    assert [prompt.id for prompt in cache.spliced] == [newest.id, oldest.id]
    assert cache.spliced[0].prompt_tokens == newest.prompt_tokens
    assert cache.spliced[0].spliced.reused_tokens == len(first)
    assert cache.spliced[1].spliced.stopped == "new"


async def test_a_cache_is_dropped(pool: ModelPool, model: Model) -> None:
    """Of one model or of all; then the next turn is read as if it were the first."""
    for name in ("tiny", None):
        talk = ["Hello"]
        for _ in range(2):
            await turn(pool, model, talk)
        assert pool.caches.forget(name) == ["tiny"]
        assert pool.caches.splices.num_bytes == 0
        assert (await pool.caches.describe())[0].description.num_tokens == 0
        plain = await pool.tokenize(model, chat(*talk))
        assert await prompt_of(pool, model, chat(*talk)) == plain
        assert (await pool.caches.describe())[0].description.lookups[0].cached_tokens == 0
        pool.caches.forget()


async def test_a_model_that_is_not_in_memory_has_none(pool: ModelPool, model: Model) -> None:
    for name in ("tiny", "none"):
        with pytest.raises(ModelNotLoaded):
            await pool.caches.describe(name)
        with pytest.raises(ModelNotLoaded):
            pool.caches.forget(name)
    await ask(pool, model, max_tokens=1)
    kill(pool, model)
    assert len(await pool.caches.describe()) <= 1  # whether or not its death is known by then

"""Tests of runtime.engine.cache.kv_cache: rows that are merged and taken apart."""

import copy
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import mlx.core as mx
import pytest

from runtime.engine.cache import kv_cache
from runtime.engine.cache.kv_cache import Cache, GroupCache
from tests.runtime.engine.numbers import load, prompts, rooms


def read(model: Any, tokens: list[int]) -> Cache:
    cache = kv_cache.make(model)
    model(mx.array([tokens]), cache=cache)
    kv_cache.evaluate(cache)
    return cache


def step(model: Any, cache: Cache, tokens: list[int]) -> mx.array:
    """The logits (B, vocab) behind one more token for each row."""
    logits: mx.array = model(mx.array(tokens)[:, None], cache=cache)[:, -1]
    mx.eval(logits)
    return logits


def assert_as_alone(model: Any, group: GroupCache, alone: Sequence[Cache]) -> None:
    """All go on by a few tokens, and nothing grows."""
    kv_cache.evaluate(group.layers)
    held = rooms(group.layers)
    tokens = [7, 8, 9, 10][: len(alone)]
    for _ in range(3):
        logits = step(model, group.layers, tokens)
        for row, (cache, token) in enumerate(zip(alone, tokens, strict=True)):
            assert mx.allclose(logits[row], step(model, cache, [token])[0], atol=1e-4)
    assert rooms(group.layers) == held


@pytest.mark.parametrize("architecture", ["llama", "gemma3", "lfm2", "llama_kv8"])
def test_rows_that_join_or_stay_behind_draw_without_being_copied(
    tmp_path: Path, architecture: str
) -> None:
    """They have room from the start, and are told what each is alone."""
    model = load(tmp_path, architecture)
    *rows, late = (read(model, prompt) for prompt in prompts([300, 280, 77, 190]))
    alone = copy.deepcopy([*rows, late])
    group = GroupCache(kv_cache.merge(rows), len(rows))
    assert_as_alone(model, group, alone[:3])
    group.join(GroupCache(late, 1))
    assert_as_alone(model, group, alone)
    group.keep([1])
    assert_as_alone(model, group, alone[1:2])

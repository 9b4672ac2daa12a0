"""The KV cache of a row or of several: lists of mlx-lm's cache objects, one per layer.

A row alone keeps the plain cache its model makes, the cheapest to step. Rows that decode together
share the merged form (`BatchKVCache` and its kin), left-padded to the longest row.
"""

import copy
from collections.abc import Sequence
from typing import Any, TypeAlias

import mlx.core as mx
from mlx_lm.models.cache import CacheList, make_prompt_cache

Cache: TypeAlias = list[Any]

ALLOCATION_STEP = 256  # mlx-lm grows a KV cache by this many tokens at a time


def make(model: Any) -> Cache:
    """An empty cache for one row."""
    return list(make_prompt_cache(model))


def is_mergeable(cache: Cache) -> bool:
    """Whether rows with such caches can decode together."""
    return all(
        is_mergeable(list(layer.caches))
        if isinstance(layer, CacheList)
        else hasattr(layer, "merge")
        for layer in cache
    )


def merge(caches: Sequence[Cache]) -> Cache:
    """Plain caches of several rows as one merged cache, in that order."""
    return [layers[0].merge(layers) for layers in zip(*caches, strict=True)]


def extend(cache: Cache, other: Cache) -> None:
    """Append the rows of one merged cache to another, in place."""
    for layer, other_layer in zip(cache, other, strict=True):
        layer.extend(other_layer)


def keep(cache: Cache, rows: Sequence[int]) -> None:
    """Drop all other rows of a merged cache, in place."""
    for layer in cache:
        layer.filter(list(rows))


def split(cache: Cache, rows: Sequence[int]) -> Cache:
    """A merged cache of these rows alone; the given one is left as it is."""
    part = copy.deepcopy(cache)
    keep(part, rows)
    return part


def extract(cache: Cache, row: int) -> Cache:
    """One row of a merged cache as a plain cache."""
    return [layer.extract(row) for layer in cache]


def evaluate(cache: Cache) -> None:
    """Wait until the keys and values are computed."""
    mx.eval([layer.state for layer in cache])


def num_bytes(cache: Cache) -> int:
    """Bytes the cache holds, unused room included."""
    return sum(layer.nbytes for layer in cache if not layer.empty())


def allocated(length: int) -> int:
    """Tokens a cache of `length` takes room for."""
    return -(-max(length, 1) // ALLOCATION_STEP) * ALLOCATION_STEP

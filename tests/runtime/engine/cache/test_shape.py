"""Tests of runtime.engine.cache.shape: what is found of a cache is what it then takes."""

from collections.abc import Callable
from pathlib import Path

import mlx.core as mx
import pytest

from registry.checkpoint.cache_shape import CacheShape, Window
from registry.checkpoint.kv_bits import KvBits
from runtime.engine.cache import kv_cache
from runtime.engine.cache.shape import shape_of
from runtime.engine.loader import load
from runtime.memory.kv import STEP_TOKENS, chunk_bytes, quantized, row_bytes
from tests.models import tiny_models

# Two layers of two heads of 16 numbers, keys and values; of other models as many as they have.
ROW = 2 * 2 * 16 * 4
EXPECTED: dict[Callable[[Path], Path], CacheShape] = {
    tiny_models.make_llama: CacheShape(2 * ROW),
    tiny_models.make_gemma3: CacheShape(ROW, (Window(32, 2 * ROW),)),
    tiny_models.make_llama4: CacheShape(ROW, (Window(32 + STEP_TOKENS, 3 * ROW),)),
    # Of two layers: 3 tokens of a convolution over 160 numbers, 8 states of 16 by 16.
    tiny_models.make_mamba2: CacheShape(0, (), 2 * 4 * (3 * 160 + 8 * 16 * 16)),
    tiny_models.make_lfm2: CacheShape(2 * ROW, (), 2 * 2 * 64 * 4),
}


@pytest.mark.parametrize(("bits", "head_bytes"), [(8, 32 + 8), (4, 16 + 8)])
def test_quantised_a_cache_takes_less(tmp_path: Path, bits: KvBits, head_bytes: int) -> None:
    """Of a head of 32 numbers so many bits each, and a scale and a bias in float32."""
    folder = tiny_models.make_llama(tmp_path, head_dim=32)
    wide = load(folder, lambda done, total: None).info.cache_shape
    loaded = load(folder, lambda done, total: None, kv_bits=bits)
    shape = loaded.info.cache_shape
    assert shape == CacheShape(2 * 2 * 2 * head_bytes) == quantized(wide, bits, 4, 32)
    cache = kv_cache.make(loaded.model)
    loaded.model(mx.ones((1, 300), mx.int32), cache=cache)
    assert kv_cache.num_bytes(cache) == 512 * shape.token_bytes <= row_bytes(shape, 300)


@pytest.mark.parametrize("make", EXPECTED, ids=lambda make: make.__name__[5:])
def test_a_cache_takes_what_its_shape_says(make: Callable[[Path], Path], tmp_path: Path) -> None:
    """Never more, and less by the room for one more step at most, however it was read."""
    loaded = load(make(tmp_path), lambda done, total: None)
    shape = loaded.info.cache_shape
    assert shape == EXPECTED[make] == shape_of(loaded.model)
    cache, length = kv_cache.make(loaded.model), 0
    for count in (3, 300, 1, 257, 1, 1):
        loaded.model(mx.ones((1, count), mx.int32), cache=cache)
        kv_cache.evaluate(cache)
        length += count
        most = row_bytes(shape, length) + chunk_bytes(shape, count)
        least = row_bytes(shape, max(0, length - STEP_TOKENS + 1)) - chunk_bytes(shape, STEP_TOKENS)
        assert least <= kv_cache.num_bytes(cache) <= most

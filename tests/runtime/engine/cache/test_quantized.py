"""Tests of runtime.engine.cache.quantized: a row is held the same alone and in company."""

import random
from typing import Any

import mlx.core as mx
import pytest
from mlx_lm.models.cache import QuantizedKVCache

from runtime.engine.cache.kv_cache import GroupCache
from runtime.engine.cache.quantized import (
    HeadSizeRefused,
    MergedQuantizedCache,
    QuantizedCache,
    group_size,
)

_HEADS, _SIZE = 2, 32


def drawn(num_tokens: int, num_rows: int = 1) -> tuple[mx.array, mx.array]:
    """Keys and values; heads of another size, as some architectures have for their values."""
    shape = (num_rows, _HEADS, num_tokens)
    return mx.random.normal((*shape, _SIZE)), mx.random.normal((*shape, 2 * _SIZE))


def written(cache: QuantizedCache) -> list[mx.array]:
    return [array[..., : cache.num_written, :] for array in cache.arrays]


def same(cache: QuantizedCache, other: QuantizedCache) -> bool:
    pairs = zip(written(cache), written(other), strict=True)
    return all(mx.array_equal(one, two).item() for one, two in pairs)


@pytest.mark.parametrize("bits", [4, 8])
def test_a_row_alone_is_held_as_mlx_lm_holds_it(bits: int) -> None:
    """In pieces of any length, past several steps of allocation."""
    mx.random.seed(1)
    own, reference = QuantizedCache(bits), QuantizedKVCache(group_size=32, bits=bits)
    for count in (3, 250, 1, 3, 255, 1, 600, 1):
        pair = drawn(count)
        found = own.update_and_fetch(*pair)
        expected = reference.update_and_fetch(*pair)
        for packed, other in zip(found, expected, strict=True):
            assert all(map(mx.array_equal, packed, other))
        assert own.offset == reference.offset
        assert own.nbytes == reference.nbytes
    assert own.trim(1000) == 1000 and own.size() == 114 and own.trim(1000) == 114


def test_rows_are_held_the_same_in_any_company() -> None:
    """Rows join, write, are kept and taken in random order; each is bit by bit what it is alone."""
    mx.random.seed(2)
    generator = random.Random(2)
    alone: list[QuantizedCache] = []
    groups: list[tuple[GroupCache, list[int]]] = []  # and which rows of `alone` are in it

    def check() -> None:
        for group, rows in groups:
            for at, row in enumerate(rows):
                layer = group.layers[0]
                found = layer if isinstance(layer, QuantizedCache) else layer.extract(at)
                assert isinstance(found, QuantizedCache) and same(found, alone[row])

    for _ in range(60):
        action = generator.choice(["new", "new", "join", "write", "write", "keep", "take"])
        if action == "new" or not groups:
            cache, twin = QuantizedCache(8), QuantizedCache(8)
            pair = drawn(generator.choice((1, 9, 257)))
            cache.update_and_fetch(*pair)
            twin.update_and_fetch(*pair)
            alone.append(twin)
            layers: Any = [cache]
            groups.append((GroupCache(layers, 1), [len(alone) - 1]))
            continue
        group, rows = groups.pop(generator.randrange(len(groups)))
        if action == "join" and groups:
            other, more = groups.pop()
            group.join(other)
            rows = rows + more
        elif action == "write":
            keys, values = drawn(generator.choice((1, 1, 5)), len(rows))
            layer = group.layers[0]
            assert isinstance(layer, QuantizedCache | MergedQuantizedCache)
            layer.update_and_fetch(keys, values)
            for at, row in enumerate(rows):
                alone[row].update_and_fetch(keys[at : at + 1], values[at : at + 1])
        elif action in ("keep", "take"):
            chosen = sorted(generator.sample(range(len(rows)), generator.randint(1, len(rows))))
            if action == "take":
                group = group.take(chosen)
            else:
                group.keep(chosen)
            rows = [rows[at] for at in chosen]
        groups.append((group, rows))
        check()


def test_padding_on_the_right_goes_to_the_left() -> None:
    """As prompts of several lengths are read in one pass; then an empty row joins and writes."""
    mx.random.seed(3)
    lengths = [5, 2, 7]
    merged = QuantizedCache(4).merge([QuantizedCache(4) for _ in lengths])
    assert merged.empty()
    merged.prepare(lengths=lengths, right_padding=[2, 5, 0])
    keys, values = drawn(7, 3)
    merged.update_and_fetch(keys, values)
    merged.finalize()
    assert merged.offset.tolist() == lengths
    for row, length in enumerate(lengths):
        alone = QuantizedCache(4)
        alone.update_and_fetch(keys[row : row + 1, :, :length], values[row : row + 1, :, :length])
        assert same(merged.extract(row), alone)
    merged.extend(QuantizedCache(4).merge([QuantizedCache(4)]))
    pair = drawn(1, 4)
    merged.update_and_fetch(*pair)
    alone = QuantizedCache(4)
    alone.update_and_fetch(*(each[3:] for each in pair))
    assert merged.offset.tolist() == [6, 3, 8, 1] and same(merged.extract(3), alone)


@pytest.mark.parametrize(("bits", "num_bytes"), [(8, 64 + 8), (4, 32 + 8)])
def test_bytes_are_those_of_the_packed_numbers(bits: int, num_bytes: int) -> None:
    """Of a head of 64 numbers: so many bits each, and a float32 scale and bias for all of them."""
    cache = QuantizedCache(bits)
    cache.update_and_fetch(*(mx.zeros((1, 3, 10, 64)) for _ in range(2)))
    assert cache.group_size == 64
    assert cache.nbytes == 256 * 3 * 2 * num_bytes


def test_groups_divide_the_heads() -> None:
    assert group_size(128, 64) == 64 and group_size(192, 96) == 32
    with pytest.raises(HeadSizeRefused, match="24 and 64 numbers, which are no multiple of 32"):
        group_size(64, 24)

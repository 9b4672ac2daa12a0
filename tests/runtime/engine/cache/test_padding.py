"""Tests of runtime.engine.cache.padding: which rows may decode in one cache."""

from mlx_lm.models.cache import ArraysCache, CacheList, KVCache, RotatingKVCache

from runtime.engine.cache.padding import Padding


def test_padding_may_at_most_double_what_rows_take() -> None:
    padding = Padding.of([KVCache(), RotatingKVCache(max_size=128)])
    assert padding.fits([5]) and padding.fits([3000, 2900, 100])
    assert not padding.fits([4000, *[100] * 15])
    assert padding.wasted([10, 4]) == 6 and padding.allocated(257) == 512


def test_windows_and_states_are_padded_no_further_than_they_reach() -> None:
    assert Padding.of([ArraysCache(2)]).fits([4000, *[100] * 15])
    windowed = Padding.of([RotatingKVCache(max_size=512), ArraysCache(2)])
    assert windowed.fits([100_000, 600]) and windowed.wasted([100_000, 600, 500]) == 12
    assert windowed.allocated(100_000) == 512
    mixed = Padding.of([CacheList(KVCache(), ArraysCache(1))])
    assert not mixed.fits([4000, *[100] * 15])

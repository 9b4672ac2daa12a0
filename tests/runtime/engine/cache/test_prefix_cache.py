"""Tests of the prefix cache by itself: what it holds, gives away, and evicts."""

import gc
from pathlib import Path
from typing import Any

import mlx.core as mx
import pytest

from runtime.engine.cache import kv_cache
from runtime.engine.cache.layers import RowView, flat
from runtime.engine.cache.padding import stepped
from runtime.engine.cache.prefix import RowPrefix, TreePrefix
from runtime.engine.cache.prefix_cache import PrefixCache
from runtime.engine.cache.trail import Trail
from tests.runtime.engine.numbers import load, prompts

_ROOMY = 1 << 30


def read(model: Any, tokens: list[int], cache: kv_cache.Cache | None = None) -> kv_cache.Cache:
    """A plain cache with these tokens in it, too."""
    cache = kv_cache.make(model) if cache is None else cache
    model(mx.array([tokens]), cache=cache)
    kv_cache.evaluate(cache)
    return cache


def put(kept: PrefixCache, model: Any, tokens: list[int], trail: Trail | None = None) -> None:
    kept.keep(tokens, RowView(read(model, tokens), kept.layers, len(tokens)), trail or Trail())


def filled(model: Any, length: int) -> kv_cache.Cache:
    """A plain cache of full layers as if it had read so many tokens."""
    cache = kv_cache.make(model)
    for layer in flat(cache):
        shape = (1, 2, stepped(length), 16)
        layer.keys, layer.values = mx.random.normal(shape), mx.random.normal(shape)
        layer.offset = length
        mx.eval(layer.keys, layer.values)
    return cache


def cache_of(model: Any, budget: int = _ROOMY) -> PrefixCache:
    return PrefixCache(lambda: kv_cache.make(model), budget)


def reach(kept: PrefixCache, tokens: list[int]) -> int:
    return TreePrefix(kept, tokens).reach(len(tokens))


def test_who_goes_on_alone_is_given_all_there_is(tmp_path: Path) -> None:
    """The tree holds nothing of it until it comes back, longer; then that, once."""
    model = load(tmp_path, "llama")
    kept = cache_of(model)
    first, more = prompts([500, 40])
    put(kept, model, first)
    assert reach(kept, [*first, *more]) == 500
    restored = TreePrefix(kept, [*first, *more]).restore(500, stepped(540) - 500)
    assert (kept.num_bytes, kept.num_tokens) == (0, 0)
    cache = read(model, more, restored.cache)
    tokens = [*first, *more]
    kept.keep(tokens, RowView(cache, kept.layers, 540), restored.trail)
    assert (kept.num_tokens, kept.num_prefixes) == (540, 1)
    again = TreePrefix(kept, tokens).restore(540, 0)
    expected = read(model, [7, 8, 9], read(model, tokens))
    assert_same(read(model, [7, 8, 9], again.cache), expected)


def test_what_others_share_is_copied(tmp_path: Path) -> None:
    model = load(tmp_path, "llama")
    kept = cache_of(model)
    shared, *ends = prompts([300, 50, 60])
    for end in ends:
        put(kept, model, [*shared, *end])
    assert kept.num_tokens == 300 + 50 + 60
    held = kept.num_bytes
    restored = TreePrefix(kept, [*shared, 5]).restore(300, 0)
    assert kept.num_bytes == held
    assert restored.cache[0].nbytes == held * 300 // 410 // 2  # of two layers


def test_a_small_rest_that_nobody_asked_for_goes_along(tmp_path: Path) -> None:
    """Such as the tokens that begin an answer, and are written otherwise once it is a past one."""
    model = load(tmp_path, "llama")
    kept = cache_of(model)
    (tokens,) = prompts([500])
    put(kept, model, tokens)
    TreePrefix(kept, [*tokens[:490], 3, 4]).restore(490, 0)
    assert kept.num_tokens == 0
    put(kept, model, tokens)
    TreePrefix(kept, [*tokens[:300], 3, 4]).restore(300, 0)
    assert kept.num_tokens == 500  # 200 tokens may be somebody's next turn


@pytest.mark.parametrize("budget_tokens", [0, 100, 300, 900])
def test_no_path_leads_beyond_the_budget(tmp_path: Path, budget_tokens: int) -> None:
    """What does not fit as a whole is kept in part, from its beginning, where that is possible."""
    model = load(tmp_path, "llama")
    probe = cache_of(model)
    (tokens,) = prompts([512])
    put(probe, model, tokens)
    each = probe.num_bytes // 512
    kept = cache_of(model, budget_tokens * each)
    put(kept, model, tokens)
    assert kept.num_bytes <= budget_tokens * each
    assert reach(kept, tokens) == (budget_tokens if 256 <= budget_tokens < 512 else 0) or (
        budget_tokens >= 512 and reach(kept, tokens) == 512
    )
    for seed in range(5):
        put(kept, model, prompts([300], seed=seed)[0])
        assert kept.num_bytes <= budget_tokens * each


def test_who_has_to_go(tmp_path: Path) -> None:
    """For equal room what is cheaper to read again, tokens with fewer before them; but what was
    used since the last had to go is worth more than any that was not. Long ones go by halves.
    """
    model = load(tmp_path, "llama")
    kept = cache_of(model)
    long, middle, short = prompts([3000, 290, 280])
    for tokens in (middle, long, short):
        put(kept, model, tokens)

    def held() -> list[int]:
        return [kept._tree.path(each)[1] for each in (long, middle, short)]

    kept.shrink(kept.num_bytes - 1)
    assert held() == [3000, 290, 0]
    kept.find(middle)
    for expected in (1500, 750, 0):
        kept.shrink(kept.num_bytes - 1)
        assert held() == [expected, 290, 0]
    assert kept.num_evicted == 4


def test_a_row_that_is_there_is_a_beginning_too(tmp_path: Path) -> None:
    """Alone and in a merged cache, whose rows are padded on the left."""
    model = load(tmp_path, "llama")
    kept = cache_of(model)
    first, second, third = prompts([90, 40, 3])
    group = kv_cache.GroupCache(kv_cache.merge([read(model, first), read(model, second)]), 2)
    for place, tokens in enumerate((first, second)):
        view = RowView(group.layers, kept.layers, len(tokens), group.place(place))
        prefix = RowPrefix(kept, view, Trail(), len(tokens) - 5)
        count = len(tokens) - 5
        assert prefix.reach(1000) == count
        cache = read(model, third, prefix.restore(count, 0).cache)
        expected = read(model, third, read(model, tokens[:count]))
        assert_same(cache, expected)


@pytest.mark.parametrize("architecture", ["gemma3", "lfm2"])
def test_states_and_windows_are_gone_on_from_where_they_were_kept(
    tmp_path: Path, architecture: str
) -> None:
    """A prefix that ends elsewhere is read from the place before."""
    model = load(tmp_path, architecture)
    kept = cache_of(model)
    (tokens,) = prompts([400])
    trail, cache = Trail(), read(model, tokens[:256])
    trail.note(RowView(cache, kept.layers, 256), kept.layers)
    cache = read(model, tokens[256:], cache)
    kept.keep(tokens, RowView(cache, kept.layers, 400), trail)
    # Of the second piece the window still held all, so that every place in it can be gone on from.
    ends = {"gemma3": [400, 390, 257, 256, 255], "lfm2": [400, 256, 256, 256, 0]}
    assert [reach(kept, tokens[:n]) for n in (400, 390, 257, 256, 255)] == ends[architecture]
    restored = TreePrefix(kept, [*tokens[:300], 3]).restore(256, 0)
    expected = read(model, [5, 6, 7], read(model, tokens[:256]))
    assert_same(read(model, [5, 6, 7], restored.cache), expected)


def assert_same(cache: kv_cache.Cache, expected: kv_cache.Cache) -> None:
    for layer, plain in zip(cache, expected, strict=True):
        for one, other in zip(arrays(layer), arrays(plain), strict=True):
            assert mx.allclose(one, other, atol=1e-4)


def arrays(layer: Any) -> list[mx.array]:
    """What a layer holds, without the room for more."""
    if hasattr(layer, "keys"):
        return list(layer.keys_and_values())
    return [array for array in layer.cache if array is not None]


def test_a_hit_of_a_single_user_takes_hardly_more_memory(tmp_path: Path) -> None:
    """Each layer's arrays are freed as soon as the row has its own: also of a chain of nodes."""
    layers = 16
    model = load(tmp_path, "llama", num_hidden_layers=layers)
    mx.eval(model.parameters())
    (tokens,) = prompts([4000])
    for pieces in (1, 2):
        kept = cache_of(model)
        for piece in range(pieces):
            length = 4000 * (piece + 1) // pieces
            view = RowView(filled(model, length), kept.layers, length)
            kept.keep(tokens[:length], view, Trail())
        gc.collect()
        entry = kept.num_bytes
        mx.clear_cache()
        mx.reset_peak_memory()
        before = mx.get_active_memory()
        restored = TreePrefix(kept, [*tokens, 5]).restore(4000, stepped(4020) - 4000)
        assert mx.get_peak_memory() - before <= 2 * entry / layers + 0.1 * entry
        assert restored.num_tokens == 4000

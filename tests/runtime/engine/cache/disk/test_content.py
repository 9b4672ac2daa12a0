"""Tests of what a file holds: arrays and states of any cache come back as they were."""

from pathlib import Path
from typing import Any

import mlx.core as mx
import pytest

from runtime.engine.cache import kv_cache
from runtime.engine.cache.disk.content import Content, NotStorable, decoded, encoded
from runtime.engine.cache.layers import Layers, RowView, flat
from tests.runtime.engine.batch.test_reuse import ARCHITECTURES
from tests.runtime.engine.numbers import load, prompts


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_a_rows_cache_comes_back(tmp_path: Path, architecture: str) -> None:
    model = load(tmp_path, architecture)
    cache, (prompt,) = kv_cache.make(model), prompts([90])
    model(mx.array([prompt]), cache=cache)
    layers = Layers(kv_cache.make(model))
    view = RowView(cache, layers, len(prompt))
    held = Content(view.full(10, 90), view.windows(0), view.state() if layers.states else None)
    again = decoded(encoded(held), lambda: kv_cache.make(model), layers)
    assert _plain(again.full) == _plain(held.full)
    assert _plain(again.windows) == _plain(held.windows)
    before, after = ([vars(layer) for layer in each.state or []] for each in (held, again))
    assert _plain(after) == _plain(before)
    kinds = [type(layer) for layer in again.state or []]
    assert kinds == [type(list(flat(cache))[place]) for place in layers.states]


@pytest.mark.parametrize("dtype", [mx.bfloat16, mx.float16, mx.float32, mx.uint32, mx.int64])
def test_any_dtype(dtype: mx.Dtype) -> None:
    array = mx.arange(48).reshape(1, 2, 4, 6).astype(dtype)
    held = Content([(), (array, array[..., 1:3, :])], [])
    again = decoded(encoded(held), list, Layers([]))
    assert _plain(again.full) == _plain(held.full)
    assert again.full[1][0].dtype == dtype


def test_a_state_of_things_that_are_no_values_is_refused() -> None:
    class Layer:
        def __init__(self, value: object) -> None:
            self.value = value

    for value in (object(), {1: 2}, [object()], b"bytes"):
        layer: Any = Layer(value)
        with pytest.raises(NotStorable):
            encoded(Content([], [], [layer]))


def _plain(value: Any) -> Any:
    """Equal where the arrays in it are, in numbers, shapes and dtypes."""
    if isinstance(value, mx.array):
        numbers: Any = value.astype(mx.float32).tolist() if value.size else []
        return value.shape, str(value.dtype), numbers
    if isinstance(value, dict):
        return {name: _plain(each) for name, each in value.items()}
    if isinstance(value, list | tuple):
        return [type(value), *map(_plain, value)]
    return value

"""The KV cache of a row or of several: lists of mlx-lm's cache objects, one per layer.

A row alone keeps the plain cache its model makes, the cheapest to step. Rows that decode together
share the merged form (`BatchKVCache` and its kin), left-padded to the longest row.
"""

import copy
from collections.abc import Sequence
from typing import Any, Protocol, Self, TypeAlias

import mlx.core as mx
from mlx_lm.models.cache import BatchKVCache, CacheList, KVCache, make_prompt_cache

from .padding import ROOM_TOKENS

# A row with fewer tokens is not merged yet: a state that is shorter than the convolution over it
# has no place beside others in mlx-lm's caches, and an empty cache cannot be taken apart again.
MIN_MERGED_TOKENS = 4


class LayerCache(Protocol):
    """What one layer's cache can do, in the words of `mlx_lm.models.cache`.

    Plain ones have `merge`, where the architecture allows it; merged ones have the rest.
    """

    @property
    def state(self) -> object: ...  # a tree of arrays, another one for every architecture

    @property
    def nbytes(self) -> int: ...

    def empty(self) -> bool: ...

    def merge(self, caches: Sequence[Self]) -> "LayerCache": ...

    def extend(self, other: Self) -> None: ...

    def filter(self, batch_indices: list[int]) -> None: ...

    def extract(self, idx: int) -> "LayerCache": ...

    def prepare(self, *, lengths: list[int], right_padding: list[int]) -> None: ...

    def finalize(self) -> None: ...


Cache: TypeAlias = list[LayerCache]


class ReadsTokens(Protocol):
    """A model, as far as its caches are concerned."""

    def __call__(self, inputs: mx.array, cache: Cache) -> mx.array: ...


class GroupCache:
    """The cache of a group's rows, in their order: plain for one row, merged for several.

    A `Column` of the group: rows join, and are kept or taken.
    """

    def __init__(self, layers: Cache, num_rows: int) -> None:
        """`layers` are merged if there are several rows. They belong to this from now on."""
        self.layers = layers
        self._num_rows = num_rows

    @property
    def _is_merged(self) -> bool:
        return self._num_rows > 1

    @property
    def num_bytes(self) -> int:
        return num_bytes(self.layers)

    def place(self, row: int) -> int | None:
        """Where a row is in the layers, if they are merged."""
        return row if self._is_merged else None

    def join(self, other: "GroupCache") -> None:
        """Append the rows of another, which must not be used afterwards."""
        if self._is_merged or other._is_merged:
            for cache in (self, other):
                if not cache._is_merged:
                    cache.layers = merge([cache.layers])
            for layer, other_layer in zip(self.layers, other.layers, strict=True):
                layer.extend(other_layer)
        else:
            self.layers = merge([self.layers, other.layers])
        self._num_rows += other._num_rows

    def keep(self, rows: Sequence[int]) -> None:
        """Drop all other rows and free what they held."""
        if len(rows) == self._num_rows:
            return
        if not rows:
            self.layers = []
        elif len(rows) == 1:  # the plain cache of a single row is cheaper to step
            self.layers = [_extracted(layer, rows[0]) for layer in self.layers]
        else:
            for layer in self.layers:
                layer.filter(list(rows))
        self._num_rows = len(rows)

    def take(self, rows: Sequence[int]) -> "GroupCache":
        """A cache of these rows alone; this one is left as it is."""
        if len(rows) == 1 and self._is_merged:
            return GroupCache([_extracted(layer, rows[0]) for layer in self.layers], 1)
        part = GroupCache(copy.deepcopy(self.layers), self._num_rows)
        part.keep(rows)
        return part


def make(model: object) -> Cache:
    """An empty cache for one row of an mlx-lm model."""
    return list(make_prompt_cache(model))


def is_mergeable(cache: Sequence[object]) -> bool:
    """Whether rows with such caches can decode together."""
    return all(
        is_mergeable(layer.caches) if isinstance(layer, CacheList) else hasattr(layer, "merge")
        for layer in cache
    )


def merge(caches: Sequence[Cache]) -> Cache:
    """Plain caches of several rows as one merged cache, in that order."""
    return [_merged(layers) for layers in zip(*caches, strict=True)]


def _merged(rows: Sequence[Any]) -> Any:
    """One layer's cache; of full attention with room for more, unlike mlx-lm's own `merge`."""
    full: list[Any] = [row for row in rows if type(row) is KVCache and not row.empty()]
    if len(full) < len(rows):
        return rows[0].merge(rows)
    longest = max(row.offset for row in full)
    padding = [longest - row.offset for row in full]
    merged: Any = BatchKVCache(padding)
    merged.keys = _stacked([row.keys for row in full], padding, longest)
    merged.values = _stacked([row.values for row in full], padding, longest)
    merged.offset, merged._idx = merged.offset + longest, longest
    return merged


def _stacked(arrays: Sequence[mx.array], padding: Sequence[int], longest: int) -> mx.array:
    """(B, heads, longest and room, head size) of (1, heads, tokens and room, head size) each."""
    _, num_heads, _, head_size = arrays[0].shape
    shape = (len(arrays), num_heads, longest + ROOM_TOKENS, head_size)
    stacked = mx.zeros(shape, arrays[0].dtype)
    for row, (array, left) in enumerate(zip(arrays, padding, strict=True)):
        stacked[row : row + 1, :, left:longest] = array[:, :, : longest - left]
    return stacked


def _extracted(layer: LayerCache, row: int) -> Any:
    """A row's own cache; of full attention with room for more, unlike mlx-lm's own `extract`."""
    if type(layer) is not BatchKVCache or layer.empty():
        return layer.extract(row)
    merged: Any = layer
    left, end = merged.left_padding.tolist()[row], merged._idx
    plain: Any = KVCache()
    plain.keys, plain.values = (
        mx.pad(array[row : row + 1, :, left:end], [(0, 0), (0, 0), (0, ROOM_TOKENS), (0, 0)])
        for array in (merged.keys, merged.values)
    )
    plain.offset = end - left
    return plain


def read_together(model: ReadsTokens, prompts: Sequence[Sequence[int]]) -> Cache:
    """One pass over several prompts, right-padded to the longest. Returns their merged cache.

    Afterwards the padding is on the left, as decoding wants it. Padding is a prompt's own last
    token: the embedding of another one may be all zeros, and its norm not a number.
    """
    lengths = [len(prompt) for prompt in prompts]
    padding = [max(lengths) - length for length in lengths]
    cache = merge([make(model) for _ in prompts])
    if any(padding):
        for layer in cache:
            layer.prepare(lengths=lengths, right_padding=padding)
    padded = [[*prompt, *[prompt[-1]] * n] for prompt, n in zip(prompts, padding, strict=True)]
    model(mx.array(padded), cache=cache)
    if any(padding):
        for layer in cache:
            layer.finalize()
    evaluate(cache)
    return cache


def evaluate(cache: Cache) -> None:
    """Wait until the keys and values are computed."""
    mx.eval([layer.state for layer in cache])


def num_bytes(cache: Cache) -> int:
    """Bytes the cache holds, unused room included."""
    return sum(layer.nbytes for layer in cache if not layer.empty())

"""What of a row's cache can be cut along its tokens, and what can only be kept whole.

Layers are of three kinds. Full ones hold every token; windows the last few; the others hold a state
of all tokens at once, and of that there is a copy or there is none.
"""

import copy
from collections.abc import Iterator, Sequence
from typing import Any, TypeAlias

import mlx.core as mx
from mlx.utils import tree_map
from mlx_lm.models.cache import BatchKVCache, CacheList, KVCache, RotatingKVCache

from .kv_cache import Cache, LayerCache
from .padding import ALLOCATION_STEP
from .quantized import MergedQuantizedCache, QuantizedCache

Arrays: TypeAlias = tuple[mx.array, ...]  # of one layer: (1, heads, tokens, -1) each
State: TypeAlias = list[LayerCache]  # copies of the layers that cannot be cut, as of one position


class Layers:
    """The kinds of a model's layers, by their place among all (those in lists among them)."""

    def __init__(self, empty: Cache) -> None:
        """By the empty cache of a row."""
        self.full: list[int] = []
        self.windows: list[int] = []
        self.states: list[int] = []
        self.window = 0  # tokens that the longest window holds
        for place, layer in enumerate(flat(empty)):
            if type(layer) in (KVCache, QuantizedCache):
                self.full.append(place)
            elif type(layer) is RotatingKVCache and layer.keep == 0:
                self.windows.append(place)
                self.window = max(self.window, layer.max_size)
            else:
                self.states.append(place)
        shorter = [
            place for place in self.windows if _layer(empty, place).max_size < self.window
        ]  # a piece of one length would not hold enough of some, and too much of others
        self.windows = [place for place in self.windows if place not in shorter]
        self.states += shorter

    @property
    def are_full(self) -> bool:
        """Whether a cache can be cut at any token."""
        return not self.windows and not self.states


class RowView:
    """One row's part of a cache, plain or merged. It is only read, until it is given up."""

    def __init__(self, cache: Cache, layers: Layers, length: int, index: int | None = None) -> None:
        """`length` tokens are in it; `index` is the row's place where the cache is merged."""
        self.length = length
        self._flat = list(flat(cache))
        self._layers = layers
        self._index = index

    @property
    def is_plain(self) -> bool:
        return self._index is None

    def full(self, start: int, stop: int) -> list[Arrays]:
        """Keys and values of these tokens, of each full layer: views, not copies."""
        return [self._cut(self._flat[place], start, stop) for place in self._layers.full]

    def give_up(self) -> list[Arrays]:
        """All that each full layer of a plain cache holds, with hardly more room than that. The row
        must not be computed any more.
        """
        layers = [self._flat[place] for place in self._layers.full]
        _check(all(layer.empty() or layer.offset == self.length for layer in layers))
        for layer in layers:  # one at a time, so that only one of them is there twice
            if not layer.empty() and arrays_of(layer)[0].shape[2] > self.length + ALLOCATION_STEP:
                fill(layer, joined([sliced(arrays_of(layer), 0, self.length)]), self.length)
        return [() if layer.empty() else arrays_of(layer) for layer in layers]

    def windows(self, start: int) -> list[Arrays]:
        """Of each window, what it holds of the tokens from `start` on: views, not copies."""
        cut: list[Arrays] = []
        for place in self._layers.windows:
            layer = self._row(place)
            if layer.empty():
                cut.append(())
                continue
            keys, values = map(layer._temporal_order, (layer.keys, layer.values))
            first = max(0, keys.shape[2] - (self.length - start))
            cut.append((keys[..., first:, :], values[..., first:, :]))
        return cut

    def state(self) -> State:
        """Copies of the layers that cannot be cut, computed."""
        copies = [copy.deepcopy(self._row(place)) for place in self._layers.states]
        if self._index is not None:
            for layer in copies:  # what was cut out of a group may hold all of the group's memory
                layer.state = tree_map(_compact, layer.state)
        mx.eval([layer.state for layer in copies])
        return copies

    def _row(self, place: int) -> Any:
        layer: Any = self._flat[place]
        return layer if self._index is None else layer.extract(self._index)

    def _cut(self, layer: Any, start: int, stop: int) -> Arrays:
        if layer.empty():
            return ()
        if self._index is None:
            _check(layer.offset == self.length)
            return tuple(array[..., start:stop, :] for array in arrays_of(layer))
        is_full = isinstance(layer, BatchKVCache | MergedQuantizedCache)
        _check(is_full and layer.size() >= self.length)
        padding, row = layer.size() - self.length, slice(self._index, self._index + 1)
        cut = slice(padding + start, padding + stop)
        return tuple(array[row, :, cut] for array in arrays_of(layer))


def _compact(value: Any) -> Any:
    return mx.contiguous(value) if isinstance(value, mx.array) else value


class NotCuttable(ValueError):
    """A layer does not hold the tokens of its row one by one, so nothing can be told of it."""


def _check(holds: bool) -> None:
    if not holds:
        raise NotCuttable("a layer's cache does not hold as many tokens as were read")


def _layer(cache: Cache, place: int) -> Any:
    return list(flat(cache))[place]


def flat(cache: Sequence[object]) -> Iterator[Any]:
    """All layers, also those in lists."""
    for layer in cache:
        if isinstance(layer, CacheList):
            yield from flat(layer.caches)
        else:
            yield layer


def arrays_of(layer: Any) -> Arrays:
    """What a full layer holds, its room for more included."""
    if isinstance(layer, QuantizedCache | MergedQuantizedCache):
        return tuple(layer.arrays)
    return layer.keys, layer.values


def fill(layer: Any, arrays: Arrays, num_tokens: int) -> None:
    """Have an empty full layer or window hold `arrays`, as if it had read `num_tokens`."""
    if not arrays:
        return
    if isinstance(layer, QuantizedCache):
        layer.hold(arrays, num_tokens)
        return
    layer.keys, layer.values = arrays
    layer.offset = num_tokens
    if isinstance(layer, RotatingKVCache):
        layer._idx = layer.keys.shape[2]


def grow_to(cache: Cache, num_tokens: int, most_bytes: int) -> None:
    """Have what full layers hold grow to room for so many tokens in all; one layer after the
    other, until so many bytes are written.

    mlx-lm's caches grow by a step at a time, and are copied whole for it: at the end of a long
    prompt that takes longer than to read the next piece.
    """
    for layer in flat(cache):
        if type(layer) not in (KVCache, QuantizedCache) or layer.empty():
            continue
        room = num_tokens - arrays_of(layer)[0].shape[2]
        if room > 0 and most_bytes > 0:
            around = [(0, 0), (0, 0), (0, room), (0, 0)]
            arrays = tuple(mx.pad(array, around) for array in arrays_of(layer))
            mx.eval(arrays)
            fill(layer, arrays, layer.offset)
            most_bytes -= layer.nbytes


def set_state(layer: Any, saved: LayerCache) -> None:
    """Have an empty layer hold what was saved of one. Both go on apart."""
    vars(layer).update(vars(copy.deepcopy(saved)))


def joined(parts: Sequence[Arrays], room: int = 0) -> Arrays:
    """Arrays one behind the other along the tokens, computed; with room for so many more."""
    held = [part for part in parts if part]
    if not held:
        return ()
    whole = []
    for pieces in zip(*held, strict=True):
        first = pieces[0]
        if room > 0:
            shape = (*first.shape[:2], room, first.shape[3])
            pieces = (*pieces, mx.zeros(shape, dtype=first.dtype))
        is_one = len(pieces) == 1
        whole.append(mx.contiguous(first) if is_one else mx.concatenate(list(pieces), axis=2))
    mx.eval(whole)
    return tuple(whole)


def sliced(arrays: Arrays, start: int, stop: int) -> Arrays:
    """These tokens of arrays: a view."""
    return tuple(array[..., start:stop, :] for array in arrays)


def num_bytes(arrays: Sequence[Arrays]) -> int:
    return sum(array.nbytes for layer in arrays for array in layer)


def state_bytes(state: State | None) -> int:
    return 0 if state is None else sum(layer.nbytes for layer in state if not layer.empty())

"""What a row's cache takes, found out by looking at one: its arrays, of every layer.

Nothing is computed for it. MLX knows the shape of an array before its numbers.
"""

from collections import Counter
from collections.abc import Iterator, Sequence

import mlx.core as mx
from mlx_lm.models.cache import CacheList

from registry.checkpoint.cache_shape import CacheShape, Window
from runtime.memory.kv import STEP_TOKENS

from .kv_cache import ReadsTokens, make

# More than any convolution looks back, so that what does not grow has its full size.
_SHORT, _LONG = 16, 48


def shape_of(model: ReadsTokens) -> CacheShape:
    """By the caches of a short and of a longer prompt. Raises what the model raises."""
    token_bytes = state_bytes = 0
    windows: Counter[int] = Counter()
    for layer, longer in zip(_after(model, _SHORT), _after(model, _LONG), strict=True):
        if (keys := getattr(layer, "keys", None)) is not None:
            own = _per_token(keys) + _per_token(getattr(layer, "values", None))
            if (kept := _kept_tokens(layer)) is not None:
                windows[kept] += own
            else:
                token_bytes += own
        else:  # a state; of other caches than mlx-lm's own, what grows does so with each token
            size, grown = _num_bytes(layer), _num_bytes(longer)
            own = -(-max(0, grown - size) // (_LONG - _SHORT))
            token_bytes += own
            state_bytes += max(0, size - _SHORT * own)
    return CacheShape(token_bytes, tuple(Window(*each) for each in windows.items()), state_bytes)


def _after(model: ReadsTokens, num_tokens: int) -> Iterator[object]:
    """Each layer's cache of a prompt of so many tokens."""
    cache = make(model)
    model(mx.ones((1, num_tokens), mx.int32), cache=cache)
    return _layers(cache)


def _layers(cache: Sequence[object]) -> Iterator[object]:
    for layer in cache:
        if isinstance(layer, CacheList):
            yield from _layers(layer.caches)
        else:
            yield layer


def _kept_tokens(layer: object) -> int | None:
    """How many tokens a layer keeps at most; None: all of them."""
    if (chunk := getattr(layer, "chunk_size", None)) is not None:
        return int(chunk) + STEP_TOKENS  # which grows beyond it, and is cut when more is read
    window = getattr(layer, "max_size", None)
    return None if window is None else int(window)


def _per_token(tree: object) -> int:
    """Of keys or values (1, heads, tokens, size), in one array or several; 0 of none."""
    return sum(array.nbytes // array.shape[2] for array in _arrays(tree))


def _num_bytes(layer: object) -> int:
    return sum(array.nbytes for array in _arrays(getattr(layer, "state", None)))


def _arrays(tree: object) -> Iterator[mx.array]:
    if isinstance(tree, mx.array):
        yield tree
    elif isinstance(tree, list | tuple):
        for part in tree:
            yield from _arrays(part)

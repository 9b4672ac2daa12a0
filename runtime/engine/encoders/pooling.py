"""Hidden states to one vector per input: pooled, cut, normalised, always in float32."""

from collections.abc import Callable

import mlx.core as mx

from registry.checkpoint.modules import PoolingMode

from .attention import Pack


def pool(hidden: mx.array, pack: Pack, modes: tuple[PoolingMode, ...]) -> mx.array:
    """Rows x size; the vectors of several modes are concatenated."""
    hidden = hidden.astype(mx.float32)
    pooled = [_POOLINGS[mode](hidden, pack) for mode in modes]
    return pooled[0] if len(pooled) == 1 else mx.concatenate(pooled, axis=-1)


def normalize(vectors: mx.array) -> mx.array:
    """To length 1; a zero vector stays zero."""
    return vectors / mx.maximum(mx.linalg.norm(vectors, axis=-1, keepdims=True), 1e-12)


def mean(hidden: mx.array, pack: Pack) -> mx.array:
    return _total(hidden, pack) / pack.lengths[:, None]


def _total(hidden: mx.array, pack: Pack) -> mx.array:
    return mx.where(pack.is_real[..., None], hidden, 0).sum(axis=1)


def _first(hidden: mx.array, pack: Pack) -> mx.array:
    return hidden[:, 0]


def _last(hidden: mx.array, pack: Pack) -> mx.array:
    return hidden[mx.arange(hidden.shape[0]), pack.lengths - 1]


def _highest(hidden: mx.array, pack: Pack) -> mx.array:
    return mx.where(pack.is_real[..., None], hidden, -mx.inf).max(axis=1)


def _mean_of_root(hidden: mx.array, pack: Pack) -> mx.array:
    return _total(hidden, pack) / mx.sqrt(pack.lengths[:, None])


def _weighted_mean(hidden: mx.array, pack: Pack) -> mx.array:
    """Later tokens count more: the n-th counts n times."""
    weights = mx.arange(1, hidden.shape[1] + 1)[:, None]
    count = pack.lengths[:, None]
    return _total(hidden * weights, pack) / (count * (count + 1) / 2)


_POOLINGS: dict[PoolingMode, Callable[[mx.array, Pack], mx.array]] = {
    "cls": _first,
    "mean": mean,
    "max": _highest,
    "mean_sqrt_len": _mean_of_root,
    "weightedmean": _weighted_mean,
    "lasttoken": _last,
}

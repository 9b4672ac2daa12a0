"""Logits of many rows to one token each, every row by its own temperature, top_p and seed.

All rows of a decode group are drawn in one go. A row's randomness depends on its seed and the
position of the token alone, so it does not matter who shares the batch.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import mlx.core as mx

NUMERICAL_FAULT = -1  # drawn instead of a token when the logits are not numbers

_NUCLEUS_SIZES = (128, 2048)  # how many candidates to try before sorting the whole vocabulary


@dataclass(frozen=True, slots=True)
class RowSampling:
    """The parameters of one row. `key` is a threefry key derived from its seed, shape (2,)."""

    temperature: float
    top_p: float
    key: tuple[int, int]

    @classmethod
    def seeded(cls, temperature: float, top_p: float, seed: int) -> "RowSampling":
        """`seed` is any 64-bit integer, signed or not."""
        # One split mixes the seed well, so that neighbouring seeds share nothing and adding
        # a position to the key cannot reach another seed's keys by accident.
        key = mx.random.split(mx.random.key(seed % 2**64))[0]
        words: list[int] = key.tolist()  # type: ignore[assignment]
        return cls(temperature, top_p, (words[0], words[1]))


class Sampler:
    """Draws for a fixed list of rows; make a new one when the membership of a group changes."""

    def __init__(self, rows: Sequence[RowSampling]) -> None:
        self._plain = _indices(rows, lambda row: row.temperature > 0 and row.top_p >= 1)
        self._nucleus = _indices(rows, lambda row: row.temperature > 0 and row.top_p < 1)
        self._keys = mx.array([row.key for row in rows], dtype=mx.uint32)
        # The smallest normal float keeps 1/temperature finite; it is greedy to all purposes.
        self._scale = mx.array([1 / max(row.temperature, 1e-6) for row in rows])[:, None]
        self._top_p = mx.array([row.top_p for row in rows])[:, None]

    def draw(self, logits: mx.array, positions: mx.array) -> mx.array:
        """Tokens (B,) from logits (B, vocab); `positions` (B,) count each row's drawn tokens.

        A row whose logits hold a NaN draws `NUMERICAL_FAULT`.
        """
        tokens = mx.argmax(logits, axis=-1).astype(mx.int32)
        peak = mx.take_along_axis(logits, tokens[:, None], axis=-1).astype(mx.float32)
        if self._plain is not None or self._nucleus is not None:
            zeros = mx.zeros_like(positions)
            keys = self._keys + mx.stack([zeros, positions], axis=-1).astype(mx.uint32)
            # Highest scaled logit at 0: nothing overflows, whatever the temperature.
            scaled = (logits.astype(mx.float32) - peak) * self._scale
            if (rows := self._plain) is not None:
                tokens[rows] = _draw_plain(scaled[rows], keys[rows])
            if (rows := self._nucleus) is not None:
                tokens[rows] = _draw_nucleus(scaled[rows], keys[rows], self._top_p[rows])
        # argmax lands on a NaN where there is one, so looking at the peak alone is enough.
        return mx.where(mx.isfinite(peak[:, 0]), tokens, NUMERICAL_FAULT)


def _indices(rows: Sequence[RowSampling], test: Callable[[RowSampling], bool]) -> mx.array | None:
    chosen = [index for index, row in enumerate(rows) if test(row)]
    return mx.array(chosen) if chosen else None


def _draw_plain(scaled: mx.array, keys: mx.array) -> mx.array:
    """Gumbel-max over the whole vocabulary: exact, and needs neither softmax nor sort."""
    vocab_size = scaled.shape[-1]
    noise = mx.vmap(lambda key: mx.random.gumbel((vocab_size,), key=key))(keys)
    return mx.argmax(scaled + noise, axis=-1).astype(mx.int32)


def _draw_nucleus(scaled: mx.array, keys: mx.array, top_p: mx.array) -> mx.array:
    """Nucleus sampling (Holtzman et al. 2019) by inverse transform over the sorted candidates."""
    weights = mx.exp(scaled)
    target = top_p * weights.sum(axis=-1, keepdims=True)
    candidates, cumulated = _sorted_candidates(weights, target)
    # The nucleus ends with the first candidate that brings the mass to the target.
    size = (cumulated < target).sum(axis=-1, keepdims=True)
    size = mx.minimum(size, cumulated.shape[-1] - 1)
    mass = mx.take_along_axis(cumulated, size, axis=-1)
    uniform = mx.vmap(lambda key: mx.random.uniform(shape=(1,), key=key))(keys)
    rank = mx.minimum((cumulated <= uniform * mass).sum(axis=-1, keepdims=True), size)
    return mx.take_along_axis(candidates, rank, axis=-1)[:, 0].astype(mx.int32)


def _sorted_candidates(weights: mx.array, target: mx.array) -> tuple[mx.array, mx.array]:
    """The heaviest tokens of each row, heaviest first, and their cumulated weights.

    Only as many as are proven to reach every row's target mass: a full sort of a 32k vocabulary
    for 16 rows costs 44 ms on a CPU, a partition into 128 costs 7. The prefix of a sorted row is
    the same however long it is, so a row draws the same token whoever shares the batch.
    """
    vocab_size = weights.shape[-1]
    for count in _NUCLEUS_SIZES:
        if count >= vocab_size:
            break
        heaviest = mx.argpartition(weights, vocab_size - count, axis=-1)[:, -count:]
        candidates, cumulated = _sort(weights, heaviest)
        if bool((cumulated[:, -1:] >= target).all().item()):
            return candidates, cumulated
    everything = mx.broadcast_to(mx.arange(vocab_size), weights.shape)
    return _sort(weights, everything)


def _sort(weights: mx.array, candidates: mx.array) -> tuple[mx.array, mx.array]:
    chosen = mx.take_along_axis(weights, candidates, axis=-1)
    # By id among equals: argpartition leaves them in any order.
    by_id = mx.argsort(candidates, axis=-1)
    candidates = mx.take_along_axis(candidates, by_id, axis=-1)
    chosen = mx.take_along_axis(chosen, by_id, axis=-1)
    order = mx.argsort(-chosen, axis=-1)
    candidates = mx.take_along_axis(candidates, order, axis=-1)
    chosen = mx.take_along_axis(chosen, order, axis=-1)
    return candidates, mx.cumsum(chosen, axis=-1)

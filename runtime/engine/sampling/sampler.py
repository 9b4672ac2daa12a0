"""Logits of many rows to one token each, every row by its own temperature, top_p and seed.

All rows of a decode group are drawn in one go. A row's randomness depends on its seed and the
position of the token alone, so it does not matter who shares the batch.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import mlx.core as mx

NUMERICAL_FAULT = -1  # drawn instead of a token when the logits are not numbers

_BLOCK = 128  # tokens whose weights are summed before one among them is looked for


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
    """Nucleus sampling (Holtzman et al. 2019) by rejection, without a sort.

    A token drawn from all of them is in the nucleus if those heavier than it hold less than top_p
    of the mass. One that is not rules out itself and all lighter ones, so that the next draw is
    from the heavier ones alone. Two rounds are the rule; each waits for its outcome.
    """
    candidates = weights = mx.exp(scaled)
    # The heaviest token weighs 1. It is inside whatever top_p is, 0 too.
    target = mx.maximum(top_p * weights.sum(axis=-1, keepdims=True), 1e-9)
    tokens: mx.array | None = None
    is_inside = mx.array(False)
    while tokens is None or not is_inside.all().item():
        drawn = _draw_by_weight(candidates, keys)
        tokens = drawn if tokens is None else mx.where(is_inside, tokens, drawn)
        weight = mx.take_along_axis(weights, tokens, axis=-1)
        candidates = mx.where(weights > weight, weights, 0)
        # Written so that a row of NaN ends the loop.
        is_inside = mx.logical_not(candidates.sum(axis=-1, keepdims=True) >= target)
        keys = keys + mx.array([1, 0], dtype=mx.uint32)
    return tokens[:, 0].astype(mx.int32)


def _draw_by_weight(weights: mx.array, keys: mx.array) -> mx.array:
    """One index (R, 1) per row of weights (R, vocab) by inverse transform, block by block."""
    num_rows, vocab_size = weights.shape
    num_blocks = -(-vocab_size // _BLOCK)
    padded = mx.pad(weights, [(0, 0), (0, num_blocks * _BLOCK - vocab_size)])
    blocks = padded.reshape(num_rows, num_blocks, _BLOCK)
    cumulated = mx.cumsum(blocks.sum(axis=-1), axis=-1)
    uniform = mx.vmap(lambda key: mx.random.uniform(shape=(1,), key=key))(keys)
    target = uniform * cumulated[:, -1:]
    block = mx.minimum((cumulated <= target).sum(axis=-1, keepdims=True), num_blocks - 1)
    inside = mx.take_along_axis(blocks, block[:, :, None], axis=1)[:, 0]
    before = mx.take_along_axis(cumulated, block, axis=-1) - inside.sum(axis=-1, keepdims=True)
    offset = (before + mx.cumsum(inside, axis=-1) <= target).sum(axis=-1, keepdims=True)
    return mx.minimum(block * _BLOCK + mx.minimum(offset, _BLOCK - 1), vocab_size - 1)

"""Logits of many rows to one token each, every row by its own parameters and seed.

All rows of a decode group are drawn in one go. A row's randomness depends on its seed and the
position of the token alone, so it does not matter who shares the batch. Nothing in here reads a
value of the device: the host never waits for a draw before it can go on.

What is cut off is cut in this order, as vLLM does: by min_p, then by top_k, then by top_p of what
is left; all after the temperature.
"""

from collections.abc import Sequence
from typing import NamedTuple, TypeAlias

import mlx.core as mx

from runtime.engine import device
from runtime.requests import SamplingParams

from . import nucleus, weighted
from .rows import only, put
from .top_k import largest

NUMERICAL_FAULT = -1  # drawn instead of a token when the logits are not numbers

_COLDEST = 1e-6  # a temperature that is greedy to all purposes, and keeps 1/temperature finite

# How a row is drawn: the rounds of its nucleus, and how many tokens it is drawn from (0: all).
_Way: TypeAlias = tuple[int, int]


class _Draw(NamedTuple):
    """Rows that are drawn in one go, R of them."""

    rows: list[int]
    keys: mx.array  # (R, 2)
    scale: mx.array  # (R, 1), by which logits are multiplied
    top_p: mx.array  # (R, 1)
    min_p: mx.array | None  # (R, 1)
    num_rounds: int  # 0: without top_p
    top_k: int  # 0: from the whole vocabulary


class Sampler:
    """The drawing of a group's rows, a `Column` of the group."""

    def __init__(
        self, params: Sequence[SamplingParams], keys: Sequence[mx.array] | None = None
    ) -> None:
        """A `seed` is any 64-bit integer, signed or not. `keys` are made of them."""
        self._params = list(params)
        self._keys = [_key(row) for row in params] if keys is None else list(keys)  # (2,) each
        mx.async_eval(self._keys)  # a key that is never drawn with shall not hold its origins
        self._draws = self._sort()

    def join(self, other: "Sampler") -> None:
        self._params += other._params
        self._keys += other._keys
        self._draws = self._sort()

    def keep(self, rows: Sequence[int]) -> None:
        self._params = [self._params[row] for row in rows]
        self._keys = [self._keys[row] for row in rows]
        self._draws = self._sort()

    def take(self, rows: Sequence[int]) -> "Sampler":
        return Sampler([self._params[row] for row in rows], [self._keys[row] for row in rows])

    def draw(self, logits: mx.array, positions: Sequence[int]) -> mx.array:
        """Tokens (B,) from logits (B, vocab); `positions` count each row's drawn tokens.

        A row whose logits hold a NaN draws `NUMERICAL_FAULT`.
        """
        heaviest = mx.argmax(logits, axis=-1).astype(mx.int32)
        peak = mx.take_along_axis(logits, heaviest[:, None], axis=-1).astype(mx.float32)
        tokens = heaviest
        for draw in self._draws:
            # Highest scaled logit at 0: nothing overflows, whatever the temperature.
            shifted = only(logits, draw.rows).astype(mx.float32) - only(peak, draw.rows)
            at = mx.array([[0, positions[row]] for row in draw.rows], dtype=mx.uint32)
            drawn = _drawn(shifted * draw.scale, draw.keys + at, draw, only(heaviest, draw.rows))
            tokens = put(tokens, draw.rows, drawn)
        # argmax lands on a NaN where there is one, so looking at the peak alone is enough.
        return mx.where(mx.isfinite(peak[:, 0]), tokens, NUMERICAL_FAULT)

    def _sort(self) -> list[_Draw]:
        """The rows that are not greedy, by how they are drawn.

        The way of a row is its own, since what it draws must not depend on its company.
        """
        alike: dict[_Way, list[int]] = {}
        for index, row in enumerate(self._params):
            if row.temperature > 0 and row.top_p > 0 and row.top_k != 1:
                alike.setdefault((nucleus.num_rounds(row.top_p), row.top_k), []).append(index)
        return [self._draw_of(rows, way) for way, rows in alike.items()]

    def _draw_of(self, rows: list[int], way: _Way) -> _Draw:
        params = [self._params[row] for row in rows]
        return _Draw(
            rows,
            mx.stack([self._keys[row] for row in rows]),
            mx.array([[1 / max(row.temperature, _COLDEST)] for row in params]),
            mx.array([[row.top_p] for row in params]),
            mx.array([[row.min_p] for row in params]) if any(r.min_p for r in params) else None,
            *way,
        )


def _key(params: SamplingParams) -> mx.array:
    """The threefry key (2,) of a row.

    One split mixes the seed well, so that neighbouring seeds share nothing, and adding a position
    to the key cannot reach another seed's keys by accident.
    """
    return mx.random.split(mx.random.key(params.seed % 2**64))[0]


def _drawn(scaled: mx.array, keys: mx.array, draw: _Draw, heaviest: mx.array) -> mx.array:
    """Tokens (R,) of scaled logits (R, vocab), the highest of each row at 0."""
    places: mx.array | None = None
    if 0 < draw.top_k < scaled.shape[-1]:
        scaled, places = largest(scaled, draw.top_k)
    weights = device.exp(scaled)  # the heaviest weighs 1
    if draw.min_p is not None:
        weights = weights * (weights >= draw.min_p)
    if places is not None:
        before = mx.cumsum(weights, axis=-1) - weights
        weights = weights * (before < draw.top_p * weights.sum(axis=-1, keepdims=True))
        drawn = weighted.draw(weights, weighted.uniform(keys)[0])
        return mx.take_along_axis(places, drawn, axis=-1)[:, 0]
    if draw.num_rounds:
        return nucleus.draw(weights, keys, draw.top_p, draw.num_rounds, heaviest)
    blocks = weighted.blocks_of(weights)
    return weighted.draw_block(blocks, blocks.sum(axis=-1), weighted.uniform(keys)[0])[0][:, 0]

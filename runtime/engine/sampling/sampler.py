"""Logits of many rows to one token each, every row by its own temperature, top_p and seed.

All rows of a decode group are drawn in one go. A row's randomness depends on its seed and the
position of the token alone, so it does not matter who shares the batch. Nothing in here reads a
value of the device: the host never waits for a draw before it can go on.
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

import mlx.core as mx

from runtime.requests import SamplingParams

NUMERICAL_FAULT = -1  # drawn instead of a token when the logits are not numbers

_BLOCK = 128  # tokens whose weights are summed before one among them is looked for
_MISS = 2.0**-20  # how often `_draw_nucleus` may have to take a row's heaviest token
_SMALLEST_TOP_P = 1e-4  # below it rounds no longer grow
_COLDEST = 1e-6  # a temperature that is greedy to all purposes, and keeps 1/temperature finite


class _Draw(NamedTuple):
    """Rows that are drawn in one go, R of them."""

    rows: list[int]
    keys: mx.array  # (R, 2)
    scale: mx.array  # (R, 1), by which logits are multiplied
    top_p: mx.array  # (R, 1)
    num_rounds: int  # 0: from the whole vocabulary


class Sampler:
    """The drawing of a group's rows, a `Column` of the group."""

    def __init__(
        self, params: Sequence[SamplingParams], keys: Sequence[mx.array] | None = None
    ) -> None:
        """Every row's `seed` is set: any 64-bit integer, signed or not. `keys` are made of it."""
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
            shifted = _only(logits, draw.rows).astype(mx.float32) - _only(peak, draw.rows)
            scaled = shifted * draw.scale
            at = mx.array([[0, positions[row]] for row in draw.rows], dtype=mx.uint32)
            keys = draw.keys + at
            if draw.num_rounds:
                drawn = _draw_nucleus(scaled, keys, draw, _only(heaviest, draw.rows))
            else:
                drawn = _draw_plain(scaled, keys)
            tokens = _put(tokens, draw.rows, drawn)
        # argmax lands on a NaN where there is one, so looking at the peak alone is enough.
        return mx.where(mx.isfinite(peak[:, 0]), tokens, NUMERICAL_FAULT)

    def _sort(self) -> list[_Draw]:
        """The rows that are not greedy, by how they are drawn.

        The rounds of a row are its own, since what it draws must not depend on its company.
        """
        alike: dict[int, list[int]] = {}
        for index, row in enumerate(self._params):
            if row.temperature > 0 and row.top_p > 0:
                alike.setdefault(_num_rounds(row.top_p), []).append(index)
        return [self._draw_of(rows, num_rounds) for num_rounds, rows in alike.items()]

    def _draw_of(self, rows: list[int], num_rounds: int) -> _Draw:
        params = [self._params[row] for row in rows]
        return _Draw(
            rows,
            mx.stack([self._keys[row] for row in rows]),
            mx.array([[1 / max(row.temperature, _COLDEST)] for row in params]),
            mx.array([[row.top_p] for row in params]),
            num_rounds,
        )


def _key(params: SamplingParams) -> mx.array:
    """The threefry key (2,) of a row.

    One split mixes the seed well, so that neighbouring seeds share nothing, and adding a position
    to the key cannot reach another seed's keys by accident.
    """
    assert params.seed is not None, "set before a row is made"
    return mx.random.split(mx.random.key(params.seed % 2**64))[0]


def _only(array: mx.array, rows: list[int]) -> mx.array:
    """Some rows of an array; all of them without a copy."""
    return array if len(rows) == array.shape[0] else array[mx.array(rows)]


def _put(tokens: mx.array, rows: list[int], drawn: mx.array) -> mx.array:
    """Tokens with those of some rows replaced."""
    if len(rows) == tokens.shape[0]:
        return drawn
    replaced = mx.array(tokens)
    replaced[mx.array(rows)] = drawn
    return replaced


def _draw_plain(scaled: mx.array, keys: mx.array) -> mx.array:
    """Gumbel-max over the whole vocabulary: exact, and needs neither softmax nor sort."""
    vocab_size = scaled.shape[-1]
    noise = mx.vmap(lambda key: mx.random.gumbel((vocab_size,), key=key))(keys)
    return mx.argmax(scaled + noise, axis=-1).astype(mx.int32)


def _num_rounds(top_p: float) -> int:
    """Rounds after which `_draw_nucleus` has a token, but for a chance of `_MISS`; 0 without top_p.

    A round that misses leaves a uniform share of the mass that it drew from, so the misses until
    less than top_p is left are Poisson distributed with the mean ln(1/top_p): 4 rounds for 0.95,
    8 for 0.5. Single tokens of much mass only make them fewer.
    """
    if top_p >= 1:
        return 0
    mean = -math.log(max(top_p, _SMALLEST_TOP_P))
    chance = math.exp(-mean)  # of no miss, then of one, ...
    missed = 1 - chance
    num_rounds = 1
    while missed > _MISS:
        chance *= mean / num_rounds
        missed -= chance
        num_rounds += 1
    return num_rounds


def _draw_nucleus(scaled: mx.array, keys: mx.array, draw: _Draw, heaviest: mx.array) -> mx.array:
    """Nucleus sampling (Holtzman et al. 2019) by rejection, without a sort.

    A token drawn from all of them is in the nucleus if those heavier than it hold less than top_p
    of the mass. One that is not rules out itself and all lighter ones, so that the next draw is
    from the heavier ones alone. The number of rounds is fixed: to stop early, the host would have
    to wait for the device. A row that found nothing takes its heaviest token.
    """
    weights = _blocks(mx.exp(scaled))
    sums = weights.sum(axis=-1)
    # The heaviest token weighs 1, so it is inside however small top_p is.
    target = draw.top_p * sums.sum(axis=-1, keepdims=True)
    tokens = heaviest[:, None]
    is_found: mx.array | None = None
    candidates = weights
    for uniform in _uniform(keys, draw.num_rounds):
        drawn, weight = _draw_by_weight(candidates, sums, uniform)
        candidates = mx.where(weights > weight[:, :, None], weights, 0)
        sums = candidates.sum(axis=-1)
        is_inside = sums.sum(axis=-1, keepdims=True) < target
        is_first = is_inside if is_found is None else mx.logical_and(is_inside, ~is_found)
        tokens = mx.where(is_first, drawn, tokens)
        is_found = is_inside if is_found is None else mx.logical_or(is_found, is_inside)
    return tokens[:, 0]


def _blocks(weights: mx.array) -> mx.array:
    """Weights (R, vocab) as (R, blocks, `_BLOCK`), filled up with zeros."""
    num_rows, vocab_size = weights.shape
    num_blocks = -(-vocab_size // _BLOCK)
    if missing := num_blocks * _BLOCK - vocab_size:
        weights = mx.pad(weights, [(0, 0), (0, missing)])
    return weights.reshape(num_rows, num_blocks, _BLOCK)


def _uniform(keys: mx.array, num_rounds: int) -> mx.array:
    """Numbers from 0 to 1 (num_rounds, R, 1): those of a round depend on no other round."""
    shift = mx.array([[[number, 0]] for number in range(num_rounds)], dtype=mx.uint32)
    flat = (keys[None] + shift).reshape(-1, 2)
    drawn = mx.vmap(lambda key: mx.random.uniform(shape=(1,), key=key))(flat)
    return drawn.reshape(num_rounds, -1, 1)


def _draw_by_weight(
    blocks: mx.array, sums: mx.array, uniform: mx.array
) -> tuple[mx.array, mx.array]:
    """An index (R, 1) per row of blocks (R, N, `_BLOCK`), by inverse transform; and its weight.

    `sums` (R, N) are those of the blocks: first a block is found, then a place in it.
    """
    num_blocks = blocks.shape[1]
    cumulated = mx.cumsum(sums, axis=-1)
    target = uniform * cumulated[:, -1:]
    block = mx.minimum((cumulated <= target).sum(axis=-1, keepdims=True), num_blocks - 1)
    inside = mx.take_along_axis(blocks, block[:, :, None], axis=1)[:, 0]
    before = mx.take_along_axis(cumulated - sums, block, axis=-1)
    offset = (before + mx.cumsum(inside, axis=-1) <= target).sum(axis=-1, keepdims=True)
    offset = mx.minimum(offset, _BLOCK - 1)
    index = (block * _BLOCK + offset).astype(mx.int32)
    return index, mx.take_along_axis(inside, offset, axis=-1)

"""Logits of many rows to one token each, every row by its own temperature, top_p and seed.

All rows of a decode group are drawn in one go. A row's randomness depends on its seed and the
position of the token alone, so it does not matter who shares the batch. Nothing in here reads a
value of the device: the host never waits for a draw before it can go on.
"""

import math
from collections.abc import Sequence

import mlx.core as mx

from runtime.requests import SamplingParams

from .column import Values

NUMERICAL_FAULT = -1  # drawn instead of a token when the logits are not numbers

_BLOCK = 128  # tokens whose weights are summed before one among them is looked for
_MISS = 2.0**-20  # how often `_draw_nucleus` may have to take a row's heaviest token
_SMALLEST_TOP_P = 1e-4  # below it rounds no longer grow


class Sampler:
    """The drawing of a group's rows, a `Column` of the group."""

    def __init__(self, params: Sequence[SamplingParams]) -> None:
        """Every row's `seed` is set: any 64-bit integer, signed or not."""
        self._params = list(params)
        self._keys = Values(mx.stack([_key(row.seed or 0) for row in params]))  # (B, 2)
        # The smallest normal float keeps 1/temperature finite; it is greedy to all purposes.
        self._scale = Values(mx.array([[1 / max(row.temperature, 1e-6)] for row in params]))
        self._top_p = Values(mx.array([[row.top_p] for row in params]))
        self._sort()

    def join(self, other: "Sampler") -> None:
        self._params += other._params
        for own, others in zip(self._columns, other._columns, strict=True):
            own.join(others)
        self._sort()

    def keep(self, rows: Sequence[int]) -> None:
        self._params = [self._params[row] for row in rows]
        for column in self._columns:
            column.keep(rows)
        self._sort()

    def take(self, rows: Sequence[int]) -> "Sampler":
        part = object.__new__(Sampler)
        part._params = [self._params[row] for row in rows]
        part._keys, part._scale, part._top_p = (column.take(rows) for column in self._columns)
        part._sort()
        return part

    @property
    def _columns(self) -> tuple[Values, Values, Values]:
        return self._keys, self._scale, self._top_p

    def _sort(self) -> None:
        """Which rows are drawn how, looked at once for all steps until the rows change."""
        rows = list(enumerate(self._params))
        self._plain = [i for i, row in rows if row.temperature > 0 and row.top_p >= 1]
        self._nucleus = [i for i, row in rows if row.temperature > 0 and row.top_p < 1]
        self._num_rounds = _num_rounds([self._params[i].top_p for i in self._nucleus])

    def draw(self, logits: mx.array, positions: mx.array) -> mx.array:
        """Tokens (B,) from logits (B, vocab); `positions` (B,) count each row's drawn tokens.

        A row whose logits hold a NaN draws `NUMERICAL_FAULT`.
        """
        tokens = mx.argmax(logits, axis=-1).astype(mx.int32)
        peak = mx.take_along_axis(logits, tokens[:, None], axis=-1).astype(mx.float32)
        shift = mx.stack([mx.zeros_like(positions), positions], axis=-1)
        keys = self._keys.array + shift.astype(mx.uint32)
        if self._plain:
            scaled = self._scaled(logits, peak, self._plain)
            drawn = _draw_plain(scaled, _only(keys, self._plain))
            tokens = _put(tokens, self._plain, drawn)
        if self._nucleus:
            scaled = self._scaled(logits, peak, self._nucleus)
            drawn = _draw_nucleus(
                scaled,
                _only(keys, self._nucleus),
                _only(self._top_p.array, self._nucleus),
                _only(tokens, self._nucleus),
                self._num_rounds,
            )
            tokens = _put(tokens, self._nucleus, drawn)
        # argmax lands on a NaN where there is one, so looking at the peak alone is enough.
        return mx.where(mx.isfinite(peak[:, 0]), tokens, NUMERICAL_FAULT)

    def _scaled(self, logits: mx.array, peak: mx.array, rows: list[int]) -> mx.array:
        """Logits of these rows by temperature, the highest at 0: nothing overflows."""
        shifted = _only(logits, rows).astype(mx.float32) - _only(peak, rows)
        return shifted * _only(self._scale.array, rows)


def _key(seed: int) -> mx.array:
    """The threefry key (2,) of a row.

    One split mixes the seed well, so that neighbouring seeds share nothing, and adding a position
    to the key cannot reach another seed's keys by accident.
    """
    return mx.random.split(mx.random.key(seed % 2**64))[0]


def _only(array: mx.array, rows: list[int]) -> mx.array:
    """Some rows of an array; all of them without a copy."""
    return array if len(rows) == array.shape[0] else array[mx.array(rows)]


def _put(tokens: mx.array, rows: list[int], drawn: mx.array) -> mx.array:
    if len(rows) == tokens.shape[0]:
        return drawn
    tokens[mx.array(rows)] = drawn
    return tokens


def _draw_plain(scaled: mx.array, keys: mx.array) -> mx.array:
    """Gumbel-max over the whole vocabulary: exact, and needs neither softmax nor sort."""
    vocab_size = scaled.shape[-1]
    noise = mx.vmap(lambda key: mx.random.gumbel((vocab_size,), key=key))(keys)
    return mx.argmax(scaled + noise, axis=-1).astype(mx.int32)


def _num_rounds(top_p: Sequence[float]) -> int:
    """Rounds after which `_draw_nucleus` has a token for every row, but for a chance of `_MISS`.

    A round that misses leaves a uniform share of the mass that it drew from, so the misses until
    less than top_p is left are Poisson distributed with the mean ln(1/top_p): 4 rounds for 0.95,
    9 for 0.5. Single tokens of much mass only make them fewer.
    """
    if not top_p:
        return 0
    mean = -math.log(max(min(top_p), _SMALLEST_TOP_P))
    chance = math.exp(-mean)  # of no miss, then of one, ...
    missed = 1 - chance
    num_rounds = 1
    while missed > _MISS:
        chance *= mean / num_rounds
        missed -= chance
        num_rounds += 1
    return num_rounds


def _draw_nucleus(
    scaled: mx.array, keys: mx.array, top_p: mx.array, heaviest: mx.array, num_rounds: int
) -> mx.array:
    """Nucleus sampling (Holtzman et al. 2019) by rejection, without a sort.

    A token drawn from all of them is in the nucleus if those heavier than it hold less than top_p
    of the mass. One that is not rules out itself and all lighter ones, so that the next draw is
    from the heavier ones alone. The number of rounds is fixed: to stop early, the host would have
    to wait for the device. A row that found nothing takes its heaviest token.
    """
    weights = _blocks(mx.exp(scaled))
    sums = weights.sum(axis=-1)
    # The heaviest token weighs 1. It is inside whatever top_p is, 0 too.
    target = mx.maximum(top_p * sums.sum(axis=-1, keepdims=True), 1e-9)
    tokens = heaviest[:, None]
    is_found: mx.array | None = None
    candidates = weights
    for uniform in _uniform(keys, num_rounds):
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

"""Nucleus sampling (Holtzman et al. 2019) without a sort, and without a wait for the device."""

import math

import mlx.core as mx

from .weighted import blocks_of, draw_block, uniform

_MISS = 2.0**-20  # how often `draw` may have to take a row's heaviest token
_SMALLEST_TOP_P = 1e-4  # below it rounds no longer grow


def num_rounds(top_p: float) -> int:
    """Rounds after which `draw` has a token, but for a chance of `_MISS`; 0 without top_p.

    A round that misses leaves a uniform share of the mass that it drew from, so the misses until
    less than top_p is left are Poisson distributed with the mean ln(1/top_p): 4 rounds for 0.95,
    8 for 0.5. Single tokens of much mass only make them fewer.
    """
    if top_p >= 1:
        return 0
    mean = -math.log(max(top_p, _SMALLEST_TOP_P))
    chance = math.exp(-mean)  # of no miss, then of one, ...
    missed = 1 - chance
    count = 1
    while missed > _MISS:
        chance *= mean / count
        missed -= chance
        count += 1
    return count


def draw(
    weights: mx.array, keys: mx.array, top_p: mx.array, rounds: int, heaviest: mx.array
) -> mx.array:
    """Tokens (R,) of weights (R, vocab), by rejection; `top_p` is (R, 1), `heaviest` (R,).

    A token drawn from all of them is in the nucleus if those heavier than it hold less than top_p
    of the mass. One that is not rules out itself and all lighter ones, so that the next draw is
    from the heavier ones alone. The number of rounds is fixed: to stop early, the host would have
    to wait for the device. A row that found nothing takes its heaviest token.
    """
    blocks = blocks_of(weights)
    sums = blocks.sum(axis=-1)
    # The heaviest token weighs 1, so it is inside however small top_p is.
    target = top_p * sums.sum(axis=-1, keepdims=True)
    tokens = heaviest[:, None]
    is_found: mx.array | None = None
    candidates = blocks
    for share in uniform(keys, rounds):
        drawn, weight = draw_block(candidates, sums, share)
        candidates = blocks * (blocks > weight[:, :, None])
        sums = candidates.sum(axis=-1)
        is_inside = sums.sum(axis=-1, keepdims=True) < target
        is_first = is_inside if is_found is None else mx.logical_and(is_inside, ~is_found)
        tokens = mx.where(is_first, drawn, tokens)
        is_found = is_inside if is_found is None else mx.logical_or(is_found, is_inside)
    return tokens[:, 0]

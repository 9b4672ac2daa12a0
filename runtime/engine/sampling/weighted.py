"""Drawing by weight: inverse transform, exact for every token that has any weight."""

import mlx.core as mx

BLOCK = 128  # tokens whose weights are summed before one among them is looked for
_BELOW_ONE = 1 - 2.0**-20  # keeps a target below the sum of all weights, whatever is rounded


def blocks_of(weights: mx.array) -> mx.array:
    """Weights (R, vocab) as (R, blocks, `BLOCK`), filled up with zeros."""
    num_rows, vocab_size = weights.shape
    num_blocks = -(-vocab_size // BLOCK)
    if missing := num_blocks * BLOCK - vocab_size:
        weights = mx.pad(weights, [(0, 0), (0, missing)])
    return weights.reshape(num_rows, num_blocks, BLOCK)


def uniform(keys: mx.array, num_rounds: int = 1) -> mx.array:
    """Numbers from 0 to 1 (num_rounds, R, 1): those of a round depend on no other round."""
    shift = mx.array([[[number, 0]] for number in range(num_rounds)], dtype=mx.uint32)
    flat = (keys[None] + shift).reshape(-1, 2)
    drawn = mx.vmap(lambda key: mx.random.uniform(shape=(1,), key=key))(flat)
    return drawn.reshape(num_rounds, -1, 1)


def draw_block(blocks: mx.array, sums: mx.array, share: mx.array) -> tuple[mx.array, mx.array]:
    """An index (R, 1) per row of blocks (R, N, `BLOCK`), and its weight (R, 1), which is not 0.

    `sums` (R, N) are those of the blocks, `share` (R, 1) says where in the whole sum: first a block
    is found, then a place in it.
    """
    block, rest = _place(sums, share)
    inside = mx.take_along_axis(blocks, block[:, :, None], axis=1)[:, 0]
    total = mx.take_along_axis(sums, block, axis=-1)
    offset, _ = _place(inside, rest / total)
    return (block * BLOCK + offset).astype(mx.int32), mx.take_along_axis(inside, offset, axis=-1)


def draw(weights: mx.array, share: mx.array) -> mx.array:
    """An index (R, 1) per row of a few weights (R, N)."""
    return _place(weights, share)[0].astype(mx.int32)


def _place(weights: mx.array, share: mx.array) -> tuple[mx.array, mx.array]:
    """Where this share of the sum lies (R, 1): behind so much weight, and how far in (R, 1).

    Never on a weight of 0: the place is one whose cumulated sum is larger than the target, while
    the one before is not, and rounding is kept from reaching the ends.
    """
    cumulated = mx.cumsum(weights, axis=-1)
    total = cumulated[:, -1:]
    target = mx.minimum(mx.maximum(share, 0), _BELOW_ONE) * total
    place = (cumulated <= target).sum(axis=-1, keepdims=True)
    weight = mx.take_along_axis(weights, place, axis=-1)
    return place, target - (mx.take_along_axis(cumulated, place, axis=-1) - weight)

"""Bytes of keys, values and states: of a row, of rows that decode together, of their joining."""

from collections.abc import Sequence

import msgspec

from registry.checkpoint.cache_shape import CacheShape

_ROW_BYTES = 16 << 10  # keys, positions, and what is rounded up
STEP_TOKENS = 256  # mlx-lm grows a cache by so many tokens at a time


def row_bytes(shape: CacheShape, num_tokens: int) -> int:
    """At most what the cache of one row of so many tokens takes."""
    return group_bytes(shape, [num_tokens])


def group_bytes(shape: CacheShape, lengths: Sequence[int]) -> int:
    """At most what rows of these lengths take that decode together.

    Merged, every row takes the room of the longest, and there is room for up to a step more than
    there are tokens: it is made when rows merge, or a cache grows by steps from any length.
    """
    if not lengths:
        return 0
    room = max(lengths) + STEP_TOKENS - 1
    windows = sum(min(room, window.num_tokens) * window.token_bytes for window in shape.windows)
    return len(lengths) * (room * shape.token_bytes + windows + shape.state_bytes)


def filled_bytes(shape: CacheShape, num_tokens: int) -> int:
    """At least what the cache of one row of so many tokens takes: no room for more is counted."""
    if not num_tokens:
        return 0
    windows = sum(
        min(num_tokens, window.num_tokens) * window.token_bytes for window in shape.windows
    )
    return num_tokens * shape.token_bytes + windows + shape.state_bytes


def grouped(shape: CacheShape, lengths: Sequence[int]) -> list[list[int]]:
    """Rows of these lengths in the groups that they decode in: padding at most doubles each."""
    kept = None if shape.token_bytes else max((w.num_tokens for w in shape.windows), default=0)
    groups: list[list[int]] = []
    for length in sorted(lengths, reverse=True):
        if groups:
            rows = [n if kept is None else min(n, kept) for n in [*groups[-1], length]]
            own = sum(-(-max(n, 1) // STEP_TOKENS) * STEP_TOKENS for n in rows)
            if kept == 0 or len(rows) * (rows[0] + STEP_TOKENS) <= 2 * own:
                groups[-1].append(length)
                continue
        groups.append([length])
    return groups


def logits_bytes(vocab_size: int) -> int:
    """What a row has beside its cache: its logits, in float32, twice while it draws."""
    return 2 * 4 * vocab_size + _ROW_BYTES


def chunk_bytes(shape: CacheShape, chunk_tokens: int) -> int:
    """What layers with a window hold more while a prompt is read: the whole chunk beside it."""
    return chunk_tokens * sum(window.token_bytes for window in shape.windows)


def join_bytes(shape: CacheShape, lengths: Sequence[int]) -> int:
    """What is there for a moment more when rows become a group of these lengths.

    The joined cache is written while those that it is made of are still there.
    """
    return group_bytes(shape, lengths) if len(lengths) > 1 else 0


def quantized(shape: CacheShape, bits: int, number_bytes: int, group_size: int = 64) -> CacheShape:
    """The shape with all that grows for ever quantised from numbers of `number_bytes`.

    Every `group_size` numbers have a scale and a bias, as wide as the numbers were.
    """
    numbers = shape.token_bytes // number_bytes
    packed = numbers * bits // 8 + 2 * number_bytes * numbers // group_size
    return msgspec.structs.replace(shape, token_bytes=packed)

"""What it costs in memory to decode rows of several lengths in one cache."""

from collections.abc import Sequence
from typing import Self

from mlx_lm.models.cache import ArraysCache, CacheList, RotatingKVCache

ALLOCATION_STEP = 256  # mlx-lm grows a KV cache by this many tokens at a time
# That rows have room for which were merged or taken apart: to grow, a cache is copied once more.
ROOM_TOKENS = ALLOCATION_STEP - 1


def stepped(num_tokens: int) -> int:
    """So many, and what is left of the last step."""
    return -(-num_tokens // ALLOCATION_STEP) * ALLOCATION_STEP


class Padding:
    """Of one model: merged, every row takes the room of the longest one in its cache."""

    def __init__(self, kept_tokens: int | None = None) -> None:
        """How many tokens of a row a layer keeps at most; None: all of them."""
        self._kept_tokens = kept_tokens

    @classmethod
    def of(cls, cache: Sequence[object]) -> Self:
        """By the empty cache of a row."""
        return cls(_kept_tokens(cache))

    def fits(self, lengths: Sequence[int]) -> bool:
        """Whether rows of these lengths waste at most as much room on padding as they fill.

        15 rows of 100 tokens and one of 4,000 would take ten times their own; such rows decode in
        groups of their own. States of a fixed size are not padded: they go with any other.
        """
        if len(lengths) == 1 or self._kept_tokens == 0:
            return True
        own = sum(self.allocated(length) for length in lengths)
        # Merged, there is room for up to a step more than the longest row has.
        merged = len(lengths) * (self._kept(max(lengths)) + ALLOCATION_STEP)
        return merged <= 2 * own

    def allocated(self, length: int) -> int:
        """Tokens that a row of `length` takes room for."""
        return stepped(max(self._kept(length), 1))

    def wasted(self, lengths: Sequence[int]) -> int:
        """Tokens of padding in a merged cache."""
        kept = [self._kept(length) for length in lengths]
        return len(kept) * max(kept) - sum(kept)

    def _kept(self, length: int) -> int:
        return length if self._kept_tokens is None else min(length, self._kept_tokens)


def _kept_tokens(cache: Sequence[object]) -> int | None:
    longest = 0
    for layer in cache:
        if isinstance(layer, ArraysCache):  # the state of a recurrence or a convolution
            kept: int | None = 0
        elif isinstance(layer, CacheList):
            kept = _kept_tokens(layer.caches)
        else:
            kept = layer.max_size if isinstance(layer, RotatingKVCache) else None
        if kept is None:
            return None
        longest = max(longest, kept)
    return longest

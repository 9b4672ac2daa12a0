"""The KV cache of full attention in 8 or 4 bits, of a row or of several.

Each head's key and value is quantised by itself, in groups of numbers that share a scale and a
bias. So what a token is held as does not depend on the tokens before it or on the rows beside it,
and rows join and leave as they do with mlx-lm's caches. `bits` tells mlx-lm's attention that it is
to multiply with what is packed (`mlx_lm.models.base.scaled_dot_product_attention`).
"""

from collections.abc import Sequence
from typing import TypeAlias

import mlx.core as mx
from mlx_lm.models.base import create_causal_mask
from mlx_lm.models.cache import create_attention_mask, dynamic_roll

from .padding import ALLOCATION_STEP, ROOM_TOKENS

GROUP_SIZES = (64, 32)  # numbers that share a scale and a bias; the largest that divides the head

# What `mx.quantize` makes of an array: what is packed, scales, biases; each (B, heads, tokens, -1).
Packed: TypeAlias = tuple[mx.array, mx.array, mx.array]


class HeadSizeRefused(ValueError):
    """Heads that no group divides."""


class _Layer:
    """What is the same for a row and for several. `arrays` have room for tokens to come."""

    def __init__(self, bits: int) -> None:
        self.bits = bits
        self.group_size = GROUP_SIZES[0]  # until the first keys tell
        self.arrays: list[mx.array] = []  # of the keys, then of the values; empty at first
        self.num_written = 0  # tokens, padding included

    def update_and_fetch(self, keys: mx.array, values: mx.array) -> tuple[Packed, Packed]:
        """Write those of the next tokens, (B, heads, tokens, head size); returns all there are."""
        if not self.arrays:
            self.group_size = group_size(keys.shape[-1], values.shape[-1])
        new = [
            array
            for each in (keys, values)
            for array in mx.quantize(each, group_size=self.group_size, bits=self.bits)
        ]
        self._make_room(new)
        start, self.num_written = self.num_written, self.num_written + keys.shape[2]
        for array, piece in zip(self.arrays, new, strict=True):
            array[..., start : self.num_written, :] = piece
        keys_packed, keys_scales, keys_biases, *of_values = self._written()
        values_packed, values_scales, values_biases = of_values
        return (
            (keys_packed, keys_scales, keys_biases),
            (values_packed, values_scales, values_biases),
        )

    @property
    def keys(self) -> list[mx.array] | None:
        """What is packed, scales and biases, with the room for tokens to come; None at first."""
        return self.arrays[:3] or None

    @property
    def values(self) -> list[mx.array] | None:
        """As `keys`."""
        return self.arrays[3:] or None

    def size(self) -> int:
        return self.num_written

    def empty(self) -> bool:
        return not self.arrays

    @property
    def nbytes(self) -> int:
        return sum(array.nbytes for array in self.arrays)

    @property
    def state(self) -> list[mx.array]:
        return self.arrays

    def is_trimmable(self) -> bool:
        return True

    def trim(self, n: int) -> int:
        """Forget the last `n` tokens; returns how many there were to forget."""
        n = min(self.num_written, n)
        self.num_written -= n
        return n

    def _written(self) -> list[mx.array]:
        return [array[..., : self.num_written, :] for array in self.arrays]

    def _make_room(self, new: list[mx.array]) -> None:
        """Grow by whole steps, as mlx-lm's caches do, if what comes does not fit."""
        num_new = new[0].shape[2]
        room = self.arrays[0].shape[2] if self.arrays else 0
        if self.num_written + num_new <= room:
            return
        added = -(-num_new // ALLOCATION_STEP) * ALLOCATION_STEP
        written = self._written() if self.arrays else [array[..., :0, :] for array in new]
        self.arrays = [mx.concatenate([array, _zeros(array, added)], axis=2) for array in written]


class QuantizedCache(_Layer):
    """One layer of one row."""

    @property
    def offset(self) -> int:
        return self.num_written

    def hold(self, arrays: Sequence[mx.array], num_tokens: int) -> None:
        """Go on with arrays of another such cache, of which so many tokens are written."""
        packed, scales, *_ = self.arrays = list(arrays)
        self.group_size = packed.shape[-1] * (32 // self.bits) // scales.shape[-1]
        self.num_written = num_tokens

    def make_mask(
        self, num_tokens: int, return_array: bool = False, window_size: int | None = None
    ) -> object:
        """As mlx-lm's own, in its words."""
        return create_attention_mask(num_tokens, self.offset, return_array, window_size)

    def merge(self, caches: Sequence["QuantizedCache"]) -> "MergedQuantizedCache":
        """These rows in one cache, padded on the left to the longest."""
        longest = max(cache.num_written for cache in caches)
        merged = MergedQuantizedCache(
            self.bits, [longest - cache.num_written for cache in caches], longest
        )
        like = next((cache for cache in caches if cache.arrays), None)
        if like is None:
            return merged
        merged.group_size = like.group_size
        merged.arrays = [
            mx.zeros(
                (len(caches), array.shape[1], longest + ROOM_TOKENS, array.shape[3]), array.dtype
            )
            for array in like.arrays
        ]
        for row, cache in enumerate(caches):
            if cache.arrays:
                for array, own in zip(merged.arrays, cache._written(), strict=True):
                    array[row : row + 1, :, longest - cache.num_written : longest] = own
        return merged


class MergedQuantizedCache(_Layer):
    """One layer of several rows, which end at the same place."""

    def __init__(self, bits: int, left_padding: list[int], num_written: int = 0) -> None:
        super().__init__(bits)
        self.left_padding = mx.array(left_padding)  # (B,) tokens
        self.num_written = num_written
        self._right_padding: mx.array | None = None  # (B,) tokens, between prepare and finalize

    @property
    def offset(self) -> mx.array:
        """(B,): the position of each row's next token."""
        return self.num_written - self.left_padding

    @property
    def state(self) -> list[mx.array]:
        return [*self.arrays, self.left_padding]

    def make_mask(
        self, num_tokens: int, return_array: bool = False, window_size: int | None = None
    ) -> mx.array:
        """(B, 1, tokens, all tokens), false for what is padding or comes later."""
        mask: mx.array = create_causal_mask(
            num_tokens, self.num_written, window_size, left_padding=self.left_padding
        )
        return mask

    def prepare(self, *, lengths: list[int], right_padding: list[int]) -> None:
        """What is read next is padded on the right."""
        self._right_padding = mx.array(right_padding)

    def finalize(self) -> None:
        """Padding on the right goes to the left."""
        if (padding := self._right_padding) is not None:
            self.arrays = [dynamic_roll(array, padding[:, None], axis=2) for array in self.arrays]
            self.left_padding = self.left_padding + padding
            self._right_padding = None

    def extend(self, other: "MergedQuantizedCache") -> None:
        """Append the rows of another, which must not be used afterwards."""
        longest = max(self.num_written, other.num_written)
        parts = [cache._right_justified(longest) for cache in (self, other) if cache.arrays]
        for cache in (self, other):
            cache.left_padding = cache.left_padding + (longest - cache.num_written)
        if len(parts) == 1:  # a cache without a token is all padding
            like, num_rows = parts[0], (other if self.arrays else self).left_padding.shape[0]
            empty = [mx.zeros((num_rows, *array.shape[1:]), array.dtype) for array in like]
            parts = [like, empty] if self.arrays else [empty, like]
        if not self.arrays:
            self.group_size = other.group_size
        self.arrays = [mx.concatenate(list(pair)) for pair in zip(*parts, strict=True)]
        self.left_padding = mx.concatenate([self.left_padding, other.left_padding])
        self.num_written = longest

    def filter(self, batch_indices: list[int]) -> None:
        """Keep these rows, and no more padding than they need."""
        rows = mx.array(batch_indices)
        self.left_padding = self.left_padding[rows]
        shared = min(self._padding)
        self.arrays = [array[rows, :, shared:] for array in self.arrays]
        self.left_padding = self.left_padding - shared
        self.num_written -= shared

    def extract(self, idx: int) -> QuantizedCache:
        """A row's own cache, a copy."""
        padding = self._padding[idx]
        row = QuantizedCache(self.bits)
        row.group_size = self.group_size
        row.arrays = [
            mx.pad(
                array[idx : idx + 1, :, padding : self.num_written],
                [(0, 0), (0, 0), (0, ROOM_TOKENS), (0, 0)],
            )
            for array in self.arrays
        ]
        row.num_written = self.num_written - padding
        return row

    @property
    def _padding(self) -> list[int]:
        padding: list[int] = self.left_padding.tolist()  # type: ignore[assignment]
        return padding

    def _right_justified(self, longest: int) -> list[mx.array]:
        """What is written, behind as much padding as `longest` tokens leave, with room for more."""
        around = (longest - self.num_written, ROOM_TOKENS)
        return [mx.pad(array, [(0, 0), (0, 0), around, (0, 0)]) for array in self._written()]


def group_size(*head_sizes: int) -> int:
    """The largest group that divides these. Raises HeadSizeRefused."""
    for size in GROUP_SIZES:
        if not any(head_size % size for head_size in head_sizes):
            return size
    sizes = " and ".join(str(size) for size in sorted(set(head_sizes)))
    raise HeadSizeRefused(
        f"its heads have {sizes} numbers, which are no multiple of {GROUP_SIZES[-1]}"
    )


def _zeros(like: mx.array, num_tokens: int) -> mx.array:
    return mx.zeros((*like.shape[:2], num_tokens, like.shape[3]), like.dtype)

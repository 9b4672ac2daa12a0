"""Tokens that a row may not draw, since its grammar does not allow them.

What may come next is known as soon as the last token is read: it is found out on the host while the
device computes the logits, and applied to them there.
"""

from collections.abc import Sequence
from functools import cache
from typing import Protocol

import mlx.core as mx
import numpy as np
from numpy.typing import NDArray

from .rows import only, put


class Allowing(Protocol):
    """Knows what the next token of a row may be."""

    @property
    def is_free(self) -> bool:
        """Whether it may be any."""
        ...

    def fill(self, words: NDArray[np.uint32]) -> None:
        """Set the bits of those that may, the lowest bit first. May raise for this row."""
        ...


class Masks:
    """Of a group's rows, a `Column` of the group. Rows that draw what they like cost nothing."""

    def __init__(self, rows: Sequence[Allowing | None]) -> None:
        self._rows = list(rows)
        self._masked: list[int] = []
        self._words: NDArray[np.uint32] | None = None  # (R, words) of those that are masked

    def join(self, other: "Masks") -> None:
        self._rows += other._rows

    def keep(self, rows: Sequence[int]) -> None:
        self._rows = [self._rows[row] for row in rows]

    def take(self, rows: Sequence[int]) -> "Masks":
        return Masks([self._rows[row] for row in rows])

    def compute(self, vocab_size: int) -> dict[int, Exception]:
        """Find out what may be drawn next, and tell which rows failed at that."""
        masked = [(at, row) for at, row in enumerate(self._rows) if row and not row.is_free]
        self._masked = [at for at, _ in masked]
        if not masked:
            return {}
        self._words = np.empty((len(masked), -(-vocab_size // 32)), dtype=np.uint32)
        failed: dict[int, Exception] = {}
        for (at, row), words in zip(masked, self._words, strict=True):
            try:
                row.fill(words)
            except Exception as error:
                failed[at] = error
                words[:] = 0xFFFFFFFF
        return failed

    def apply(self, logits: mx.array) -> mx.array:
        """The logits (B, vocab), those of what may not be drawn at -inf."""
        if self._words is None:
            return logits
        rows, words, self._words = self._masked, self._words, None
        # A byte of the mask is eight numbers to add: a third of the time of choosing by bits.
        added = _added(logits.dtype)[mx.array(words.view(np.uint8))]
        own = only(logits, rows)
        return put(logits, rows, own + added.reshape(len(rows), -1)[:, : own.shape[-1]])


@cache
def _added(dtype: mx.Dtype) -> mx.array:
    """For each byte (256, 8) what is added to the logits of its bits: 0, or -inf."""
    bits = np.unpackbits(np.arange(256, dtype=np.uint8)[:, None], axis=1, bitorder="little")
    added = mx.array(np.where(bits, 0, -np.inf).astype(np.float32)).astype(dtype)
    mx.eval(added)
    return added

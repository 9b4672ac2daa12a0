"""How often each token stands in a row's text, counted on the device."""

from collections.abc import Mapping, Sequence

import mlx.core as mx
import numpy as np


class Counts:
    """A `Column` that only some rows of a group have a part in: the others cost nothing."""

    def __init__(self, rows: Mapping[int, Sequence[int] | mx.array], num_rows: int) -> None:
        """`rows` are of a group of `num_rows`: their tokens so far, or the counts (vocab,)."""
        self._rows = dict(rows)
        self._num_rows = num_rows
        self._stacked: mx.array | None = None  # (R, vocab) float32; then `_rows` are out of date

    @property
    def rows(self) -> list[int]:
        """Those that are counted, in rising order."""
        return list(self._rows)

    def array(self, vocab_size: int) -> mx.array:
        """The counts (R, vocab) of the rows that are counted, as float32."""
        if self._stacked is None:
            counts = [_counted(row, vocab_size) for row in self._rows.values()]
            self._stacked = mx.stack(counts)
        return self._stacked

    def add(self, tokens: mx.array) -> None:
        """One more token (B,) of each row of the group."""
        if self._stacked is not None:
            rows = mx.array(self.rows)
            self._stacked = self._stacked.at[mx.arange(len(self._rows)), tokens[rows]].add(1)

    def join(self, other: "Counts") -> None:
        self._spread()
        other._spread()
        self._rows |= {self._num_rows + row: counts for row, counts in other._rows.items()}
        self._num_rows += other._num_rows

    def keep(self, rows: Sequence[int]) -> None:
        self._spread()
        self._rows = {at: self._rows[row] for at, row in enumerate(rows) if row in self._rows}
        self._num_rows = len(rows)

    def take(self, rows: Sequence[int]) -> "Counts":
        self._spread()
        part = Counts(self._rows, self._num_rows)
        part.keep(rows)
        return part

    def _spread(self) -> None:
        if self._stacked is not None:
            self._rows = {row: self._stacked[at] for at, row in enumerate(self._rows)}
            self._stacked = None


def _counted(row: Sequence[int] | mx.array, vocab_size: int) -> mx.array:
    if isinstance(row, mx.array):
        return row
    counts = np.bincount(np.asarray(row, dtype=np.int64), minlength=vocab_size)
    return mx.array(counts.astype(np.float32))

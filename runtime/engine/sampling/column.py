"""What every row of a group has one of, in the order of the rows; and how rows come and go."""

from collections.abc import Sequence
from typing import Protocol, Self

import mlx.core as mx


class Column(Protocol):
    """The cache, the pending tokens, the sampler, ... of all rows of a group.

    A group hands every change of its rows to all its columns, so a new kind of state that goes
    along with a row is one class with these three methods. `rows` are indices, in rising order.
    """

    def join(self, other: Self) -> None:
        """Append the rows of another, which must not be used afterwards."""
        ...

    def keep(self, rows: Sequence[int]) -> None:
        """Drop all other rows."""
        ...

    def take(self, rows: Sequence[int]) -> Self:
        """A column of these rows alone; this one is left as it is."""
        ...


class Values:
    """A column of numbers on the device: an array with one entry per row on its first axis."""

    def __init__(self, array: mx.array) -> None:
        self.array = array

    def join(self, other: "Values") -> None:
        self.array = mx.concatenate([self.array, other.array])

    def keep(self, rows: Sequence[int]) -> None:
        self.array = self.array[mx.array(list(rows), dtype=mx.int32)]

    def take(self, rows: Sequence[int]) -> "Values":
        return Values(self.array[mx.array(list(rows), dtype=mx.int32)])

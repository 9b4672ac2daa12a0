"""Rows that decode together: one forward pass a step over one merged KV cache."""

from collections.abc import Collection, Sequence
from typing import Any

import mlx.core as mx

from runtime.engine.cache import kv_cache
from runtime.engine.cache.kv_cache import Cache
from runtime.engine.sampling.sampler import Sampler

from .row import Row


def fits(lengths: Sequence[int]) -> bool:
    """Whether rows of these lengths waste at most as much KV on padding as they fill.

    Merged, every row takes the room of the longest: 15 rows of 100 tokens and one of 4,000 would
    take ten times their own. Such rows decode in groups of their own.
    """
    own = [kv_cache.allocated(length) for length in lengths]
    # Merged, the longest row is held exactly and then grows by a whole step.
    merged = len(own) * (max(lengths) + kv_cache.ALLOCATION_STEP)
    return len(own) == 1 or merged <= 2 * sum(own)


class DecodeGroup:
    """At least one row, each with a pending token: the one the next forward pass reads."""

    def __init__(self, model: Any, rows: list[Row], cache: Cache) -> None:
        """`cache` is plain for one row and merged for several; pending are the prompts' ends."""
        self._model = model
        self.rows = rows
        self._cache = cache
        self._is_merged = len(rows) > 1
        self._pending = mx.array([row.tokens[-1] for row in rows], dtype=mx.int32)
        self._unread: set[Row] = set()
        self._unread_tokens = self._pending
        self._positions: mx.array
        self._sampler: Sampler
        self._refresh()

    @property
    def lengths(self) -> list[int]:
        return [row.length for row in self.rows]

    @property
    def num_bytes(self) -> int:
        return kv_cache.num_bytes(self._cache)

    @property
    def is_mergeable(self) -> bool:
        return self._is_merged or kv_cache.is_mergeable(self._cache)

    def dispatch(self) -> None:
        """Start computing each row's next token, without waiting for the pending one."""
        self._unread = {row for row in self.rows if row.num_drawn > 0}
        self._unread_tokens = self._pending
        if all(row.num_drawn >= row.max_tokens for row in self.rows):
            return  # every pending token is the last of its row
        logits = self._model(self._pending[:, None], cache=self._cache)[:, -1, :]
        self._pending = self._sampler.draw(logits, self._positions)
        self._positions = self._positions + 1
        mx.async_eval(self._pending)
        for row in self.rows:
            row.num_drawn += 1

    def read(self) -> list[tuple[Row, int]]:
        """The tokens that the last `dispatch` fed to the model, save those that end a prompt."""
        tokens: list[int] = self._unread_tokens.tolist()  # type: ignore[assignment]
        return [
            (row, token)
            for row, token in zip(self.rows, tokens, strict=True)
            if row in self._unread
        ]

    def join(self, other: "DecodeGroup") -> None:
        """Take over all rows of another group; it must not be used afterwards."""
        if self._is_merged or other._is_merged:
            for group in (self, other):
                if not group._is_merged:
                    group._cache = kv_cache.merge([group._cache])
            kv_cache.extend(self._cache, other._cache)
        else:
            self._cache = kv_cache.merge([self._cache, other._cache])
        self._is_merged = True
        self.rows = self.rows + other.rows
        self._pending = mx.concatenate([self._pending, other._pending])
        self._refresh()

    def leave(self, gone: Collection[Row]) -> None:
        """Drop rows and free their KV; the group may be empty afterwards."""
        self._keep([index for index, row in enumerate(self.rows) if row not in gone])

    def split(self) -> "DecodeGroup":
        """Move the rows shorter than half the longest into a group of their own."""
        limit = max(map(kv_cache.allocated, self.lengths)) / 2
        short = [i for i, n in enumerate(self.lengths) if kv_cache.allocated(n) <= limit]
        part = DecodeGroup(
            self._model,
            [self.rows[index] for index in short],
            kv_cache.extract(self._cache, short[0])
            if len(short) == 1
            else kv_cache.split(self._cache, short),
        )
        part._pending = self._pending[mx.array(short)]
        self._keep([index for index in range(len(self.rows)) if index not in short])
        return part

    def _keep(self, indices: list[int]) -> None:
        if len(indices) == len(self.rows):
            return
        self.rows = [self.rows[index] for index in indices]
        if not indices:
            self._cache = []
            return
        if len(indices) == 1:  # the plain cache of a single row is cheaper to step
            self._cache = kv_cache.extract(self._cache, indices[0])
            self._is_merged = False
        else:
            kv_cache.keep(self._cache, indices)
        self._pending = self._pending[mx.array(indices)]
        self._refresh()

    def _refresh(self) -> None:
        self._sampler = Sampler([row.sampling for row in self.rows])
        self._positions = mx.array([row.num_drawn for row in self.rows], dtype=mx.uint32)

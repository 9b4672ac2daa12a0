"""Rows that decode together: one forward pass a step over one merged KV cache."""

from collections.abc import Collection, Sequence

import mlx.core as mx

from runtime.engine.cache import kv_cache
from runtime.engine.cache.kv_cache import GroupCache
from runtime.engine.language_model import LanguageModel
from runtime.engine.sampling.column import Column, Values
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
    """At least one row, each with a pending token: the one the next forward pass is fed with.

    A step calls `forward`, `read` and `draw`, in this order. `read` tells the tokens that
    `forward` was fed with: the device computes while the host puts them into words.
    """

    def __init__(
        self,
        model: LanguageModel,
        rows: list[Row],
        cache: GroupCache,
        pending: Values,
        positions: Values,
        sampler: Sampler,
    ) -> None:
        self.rows = rows
        self._model = model
        self._cache = cache
        self._pending = pending  # (B,) token ids
        self._positions = positions  # (B,) how many tokens each row has drawn
        self._sampler = sampler
        self._fed: tuple[list[Row], mx.array] = ([], pending.array)
        self._logits: mx.array | None = None  # (B, vocab), between `forward` and `draw`

    @classmethod
    def begin(cls, model: LanguageModel, rows: list[Row], cache: GroupCache) -> "DecodeGroup":
        """Rows whose prompts are in the cache, but for the last token of each: it is pending."""
        return cls(
            model,
            rows,
            cache,
            Values(mx.array([row.tokens[-1] for row in rows], dtype=mx.int32)),
            Values(mx.array([row.num_drawn for row in rows], dtype=mx.uint32)),
            Sampler([row.sampling for row in rows]),
        )

    @property
    def lengths(self) -> list[int]:
        return [row.length for row in self.rows]

    @property
    def num_bytes(self) -> int:
        return self._cache.num_bytes

    @property
    def is_mergeable(self) -> bool:
        return self._cache.is_mergeable

    @property
    def _columns(self) -> tuple[Column, ...]:
        return self._cache, self._pending, self._positions, self._sampler

    def forward(self) -> None:
        """Start the pass over the pending tokens, without waiting for them to be drawn."""
        self._fed = (self.rows, self._pending.array)
        self._logits = None
        if all(row.num_drawn >= row.max_tokens for row in self.rows):
            return  # every pending token is the last of its row
        fed = self._pending.array[:, None]
        self._logits = self._model(fed, cache=self._cache.layers)[:, -1, :]
        mx.async_eval(self._logits)

    def read(self) -> list[tuple[Row, int]]:
        """The tokens that `forward` was fed with, save those that end a prompt."""
        rows, fed = self._fed
        tokens: list[int] = fed.tolist()  # type: ignore[assignment]
        return [pair for pair in zip(rows, tokens, strict=True) if pair[0].num_drawn > 0]

    def draw(self) -> None:
        """Start drawing each row's next token from the logits of `forward`."""
        if self._logits is None:
            return
        self._pending.array = self._sampler.draw(self._logits, self._positions.array)
        self._positions.array = self._positions.array + 1
        self._logits = None
        mx.async_eval(self._pending.array)
        for row in self.rows:
            row.num_drawn += 1

    def join(self, other: "DecodeGroup") -> None:
        """Take over all rows of another group; it must not be used afterwards."""
        for own, others in zip(self._columns, other._columns, strict=True):
            own.join(others)
        self.rows = self.rows + other.rows

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
            self._cache.take(short),
            self._pending.take(short),
            self._positions.take(short),
            self._sampler.take(short),
        )
        self._keep([index for index in range(len(self.rows)) if index not in short])
        return part

    def _keep(self, indices: list[int]) -> None:
        if len(indices) == len(self.rows):
            return
        self.rows = [self.rows[index] for index in indices]
        for column in self._columns:
            column.keep(indices)

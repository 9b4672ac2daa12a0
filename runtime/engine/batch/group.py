"""Rows that decode together: one forward pass a step over one merged KV cache."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, fields
from typing import TypeAlias

import mlx.core as mx

from runtime.engine.cache import kv_cache
from runtime.engine.cache.kv_cache import MIN_MERGED_TOKENS, GroupCache
from runtime.engine.cache.layers import Layers, RowView
from runtime.engine.cache.padding import Padding
from runtime.engine.language_model import LanguageModel
from runtime.engine.sampling.bias import Bias
from runtime.engine.sampling.column import Column, Values
from runtime.engine.sampling.logprobs import Likelihood, Logprobs
from runtime.engine.sampling.masks import Masks
from runtime.engine.sampling.penalties import Penalties
from runtime.engine.sampling.sampler import Sampler

from .row import Row

# A row, the token that it drew, and how likely that was.
Drawn: TypeAlias = tuple[Row, int, Likelihood | None]


@dataclass(slots=True)
class Columns:
    """All that goes along with the rows of a group. A new kind of state is one more field."""

    cache: GroupCache
    pending: Values  # (B,) token ids
    logprobs: Logprobs  # of the pending tokens
    penalties: Penalties
    bias: Bias
    masks: Masks
    sampler: Sampler

    def join(self, other: "Columns") -> None:
        for field in fields(self):
            column: Column = getattr(self, field.name)
            column.join(getattr(other, field.name))

    def keep(self, rows: Sequence[int]) -> None:
        for field in fields(self):
            column: Column = getattr(self, field.name)
            column.keep(rows)

    def take(self, rows: Sequence[int]) -> "Columns":
        return Columns(*(getattr(self, field.name).take(rows) for field in fields(self)))


class DecodeGroup:
    """At least one row, each with a pending token: the one the next forward pass is fed with.

    A step calls `forward`, `read`, `mask` and `draw`, in this order. `read` tells the tokens that
    `forward` was fed with: while the device computes, the host puts them into words, and `mask`
    finds out what may come next.
    """

    def __init__(self, model: LanguageModel, rows: list[Row], columns: Columns) -> None:
        self.rows = rows
        self._model = model
        self._columns = columns
        self._fed: mx.array | None = None  # (B,) token ids, between `forward` and `read`
        self._logits: mx.array | None = None  # (B, vocab), between `forward` and `draw`

    @classmethod
    def begin(cls, model: LanguageModel, rows: list[Row], cache: GroupCache) -> "DecodeGroup":
        """Rows whose prompts are in the cache, but for the last token of each: it is pending."""
        params = [row.sampling for row in rows]
        columns = Columns(
            cache,
            Values(mx.array([row.tokens[-1] for row in rows], dtype=mx.int32)),
            Logprobs.begin(params),
            Penalties.begin(params, [row.tokens for row in rows], [r.num_replayed for r in rows]),
            Bias.begin(params, [row.follower.end_token_ids for row in rows]),
            Masks([row.follower.guide for row in rows]),
            Sampler(params),
        )
        return cls(model, rows, columns)

    @property
    def lengths(self) -> list[int]:
        return [row.length for row in self.rows]

    @property
    def num_bytes(self) -> int:
        return self._columns.cache.num_bytes

    def view(self, row: Row, layers: Layers) -> RowView:
        """What the cache holds of one of the rows, between two steps or when it leaves."""
        cache = self._columns.cache
        return RowView(cache.layers, layers, row.length, cache.place(self.rows.index(row)))

    @property
    def is_young(self) -> bool:
        """Whether it holds too few tokens to be merged with others."""
        return min(self.lengths) < MIN_MERGED_TOKENS

    def forward(self) -> None:
        """Start the pass over the pending tokens, without waiting for them to be drawn."""
        pending, cache = self._columns.pending.array, self._columns.cache.layers
        self._fed, self._logits = pending, None
        if all(row.num_drawn >= row.max_tokens for row in self.rows):
            return  # every pending token is the last of its row
        self._logits = self._model(pending[:, None], cache=cache)[:, -1, :]
        mx.async_eval(self._logits)

    def read(self) -> list[Drawn]:
        """The tokens that `forward` was fed with, save those that were known before."""
        assert self._fed is not None
        tokens: list[int] = self._fed.tolist()  # type: ignore[assignment]
        self._fed = None
        told = zip(self.rows, tokens, self._columns.logprobs.read(), strict=True)
        return [(row, token, likelihood) for row, token, likelihood in told if row.is_drawing]

    def mask(self) -> list[tuple[Row, Exception]]:
        """Find out what each row may draw next; those that failed at it, and why."""
        if self._logits is None:
            return []
        failed = self._columns.masks.compute(self._logits.shape[-1])
        return [(self.rows[at], error) for at, error in failed.items()]

    def draw(self) -> None:
        """Start drawing each row's next token from the logits of `forward`."""
        if self._logits is None:
            return
        positions = [row.num_drawn for row in self.rows]
        columns, computed = self._columns, self._logits
        logits = columns.bias.apply(columns.masks.apply(computed), positions)
        logits = columns.penalties.apply(logits)
        drawn = columns.sampler.draw(logits, positions)
        columns.penalties.note(drawn)
        columns.logprobs.note(computed, drawn)
        columns.pending.array, self._logits = drawn, None
        mx.async_eval(drawn)
        for row in self.rows:
            row.num_drawn += 1

    def settle(self) -> None:
        """Compute what waits for the next pass, so that what it is made of is given back."""
        kv_cache.evaluate(self._columns.cache.layers)

    def join(self, other: "DecodeGroup") -> None:
        """Take over all rows of another group; it must not be used afterwards."""
        self._columns.join(other._columns)
        self.rows = self.rows + other.rows

    def leave(self, gone: Collection[Row]) -> None:
        """Drop rows and free their KV; the group may be empty afterwards."""
        self._keep([index for index, row in enumerate(self.rows) if row not in gone])

    def split(self, padding: Padding) -> "DecodeGroup":
        """Move the rows shorter than half the longest into a group of their own."""
        limit = max(map(padding.allocated, self.lengths)) / 2
        short = [i for i, n in enumerate(self.lengths) if padding.allocated(n) <= limit]
        part = DecodeGroup(self._model, [self.rows[i] for i in short], self._columns.take(short))
        self._keep([index for index in range(len(self.rows)) if index not in short])
        return part

    def _keep(self, indices: list[int]) -> None:
        if len(indices) == len(self.rows):
            return
        self.rows = [self.rows[index] for index in indices]
        self._columns.keep(indices)

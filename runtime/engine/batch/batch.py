"""Continuous batching: rows join and leave at any step, over mlx-lm's models and cache protocol.

A step has five phases: `forward` starts the pass over every group's pending tokens, `read` fetches
those tokens, `follow` puts them into words and tells which rows are over, `draw` starts drawing
the next ones, and the rows that are over `leave` in one go. Then waiting prompts get their chunk.
"""

import logging
import time
from collections import deque
from collections.abc import Callable, Collection

import mlx.core as mx
import msgspec

from registry.checkpoint.exactness import Exactness
from runtime.engine.cache import kv_cache
from runtime.engine.cache.padding import Padding
from runtime.engine.language_model import LanguageModel
from runtime.engine.sampling.sampler import NUMERICAL_FAULT
from runtime.events import Failed, Prefill, RowEvent, TextDelta

from .group import DecodeGroup
from .prefill import Prefilling
from .row import Row

logger = logging.getLogger(__name__)

_ALL_EXACT = Exactness()
_REGROUP_STEPS = 64  # how often groups that grew alike in length are looked at for joining


class Batch:
    """All rows of one model: waiting, prefilling and decoding. Not thread-safe; does no I/O."""

    def __init__(
        self,
        model: LanguageModel,
        exactness: Exactness = _ALL_EXACT,
        *,
        max_rows: int = 16,
        prefill_chunk_tokens: int = 512,
        stall_limit_s: float = 0.25,
    ) -> None:
        """Nothing is done that `exactness` does not name as exact for the model."""
        empty = kv_cache.make(model)
        self._can_merge = exactness.merged and kv_cache.is_mergeable(empty)
        self._padding = Padding.of(empty)
        self._max_rows = max_rows
        self._waiting: deque[Row] = deque()
        self._prefilling = Prefilling(
            model,
            msgspec.structs.replace(exactness, padded=exactness.padded and self._can_merge),
            self._padding,
            prefill_chunk_tokens,
            stall_limit_s,
        )
        self._groups: list[DecodeGroup] = []
        self._num_steps = 0

    @property
    def num_rows(self) -> int:
        """Rows anywhere in the batch."""
        return len(self._waiting) + self._num_active

    @property
    def cache_bytes(self) -> int:
        """Bytes of KV held for all rows, padding included."""
        return self._prefilling.num_bytes + sum(group.num_bytes for group in self._groups)

    def add(self, row: Row) -> None:
        """Queue a row; it starts as soon as fewer than `max_rows` are active."""
        self._waiting.append(row)

    def remove(self, row_id: int) -> list[RowEvent] | None:
        """Drop a row wherever it is, and free its KV. None if it is not (or no longer) here.

        The events are of other rows that failed because its cache could not be taken apart.
        """
        events = self._remove(row_id)
        self._give_back()
        return events

    def _remove(self, row_id: int) -> list[RowEvent] | None:
        events: list[RowEvent] = []
        for row in self._waiting:
            if row.id == row_id:
                self._waiting.remove(row)
                return events
        for row in self._prefilling.rows:
            if row.id == row_id:
                self._prefilling.remove(row)
                return events
        for group in self._groups:
            for row in group.rows:
                if row.id == row_id:
                    self._leave({row}, events)
                    return events
        return None

    def step(self) -> list[RowEvent]:
        """One token for every decoding row, and one chunk for the prefilling ones.

        A row is gone once its `Finished` or `Failed` is among the events.
        """
        events: list[RowEvent] = []
        self._num_steps += 1
        young = [group for group in self._groups if group.is_young]
        self._forward(events)
        tokens = self._read(events)
        over = self._follow(tokens, events)
        self._draw(over, events)
        self._leave(over, events)
        self._admit()
        self._prefill(events)
        self._place_grown(young, events)
        if self._num_steps % _REGROUP_STEPS == 0:
            self._regroup(events)
        self._give_back()
        return events

    @property
    def _num_active(self) -> int:
        return len(self._prefilling.rows) + sum(len(group.rows) for group in self._groups)

    def _give_back(self) -> None:
        """When nothing runs, nobody needs the buffers that MLX keeps for reuse."""
        if self.num_rows == 0:
            mx.clear_cache()

    def _forward(self, events: list[RowEvent]) -> None:
        for group in list(self._groups):
            self._attempt(group, DecodeGroup.forward, events)

    def _read(self, events: list[RowEvent]) -> list[tuple[Row, int]]:
        tokens: list[tuple[Row, int]] = []
        for group in list(self._groups):
            self._attempt(group, lambda group: tokens.extend(group.read()), events)
        return tokens

    def _follow(self, tokens: list[tuple[Row, int]], events: list[RowEvent]) -> set[Row]:
        """What the tokens mean, in events; returns the rows that are over."""
        over = set()
        for row, token in tokens:
            try:
                is_over = _follow_row(row, token, events)
            except Exception as error:  # of a tokenizer, say: it costs this row alone
                logger.exception("row %d failed", row.id)
                events.append(Failed(row.id, f"The answer could not be put into words: {error}"))
                is_over = True
            if is_over:
                over.add(row)
        return over

    def _draw(self, over: set[Row], events: list[RowEvent]) -> None:
        for group in list(self._groups):
            self._attempt(group, DecodeGroup.draw, events, over)

    def _leave(self, over: set[Row], events: list[RowEvent]) -> None:
        """The only way out of a group: its cache is copied once, however many rows leave."""
        changed = [group for group in self._groups if not over.isdisjoint(group.rows)]
        for group in changed:
            self._attempt(group, lambda group: group.leave(over), events, over)
        if changed:
            self._regroup(events)

    def _admit(self) -> None:
        while self._waiting and self._num_active < self._max_rows:
            row = self._waiting.popleft()
            row.started_at = time.monotonic()
            self._prefilling.add(row)

    def _prefill(self, events: list[RowEvent]) -> None:
        if not self._prefilling.rows:
            return
        before = {row: row.num_prefilled for row in self._prefilling.rows}
        ready, failed = self._prefilling.chunk(is_decoding=bool(self._groups))
        events += [Failed(row.id, message) for row, message in failed]
        for row, count in before.items():
            if row.num_prefilled > count:
                total = len(row.tokens)
                # The prompt's last token is left for the first decode step.
                done = row.num_prefilled if row.num_to_prefill else total
                events.append(Prefill(row.id, done, total))
        for group in ready:
            self._place(group, events)

    def _place(self, newcomer: DecodeGroup, events: list[RowEvent]) -> None:
        """Join the group that wastes least on padding with it, or stand alone."""
        best = min(
            (group for group in self._groups if self._can_join(group, newcomer)),
            key=lambda group: self._padding.wasted([*group.lengths, *newcomer.lengths]),
            default=None,
        )
        if best is None:
            self._groups.append(newcomer)
        else:
            rows = [*best.rows, *newcomer.rows]
            self._attempt(best, lambda best: best.join(newcomer), events, rows=rows)

    def _can_join(self, group: DecodeGroup, other: DecodeGroup) -> bool:
        if not self._can_merge or group.is_young or other.is_young:
            return False
        return self._padding.fits([*group.lengths, *other.lengths])

    def _place_grown(self, young: list[DecodeGroup], events: list[RowEvent]) -> None:
        """Place the rows that held too few tokens to be merged when this step began."""
        for group in young:
            if group in self._groups and not group.is_young:
                self._groups.remove(group)
                self._place(group, events)

    def _regroup(self, events: list[RowEvent]) -> None:
        """Split groups that waste too much since rows left, and join those that no longer would."""
        whole: list[DecodeGroup] = []
        parts = [group for group in self._groups if group.rows]
        while parts:
            group = parts.pop()
            if self._padding.fits(group.lengths):
                whole.append(group)
                continue
            rows = list(group.rows)
            try:
                parts.append(group.split(self._padding))
                parts.append(group)
            except Exception as error:
                _fail(rows, error, events)
        self._groups = []
        for group in sorted(whole, key=lambda group: len(group.rows), reverse=True):
            self._place(group, events)

    def _attempt(
        self,
        group: DecodeGroup,
        action: Callable[[DecodeGroup], None],
        events: list[RowEvent],
        over: Collection[Row] = (),
        rows: Collection[Row] | None = None,
    ) -> None:
        """A failing action costs the rows of its group that are not over, not the engine.

        `rows` are those of the action, where they are not the group's.
        """
        rows = list(group.rows if rows is None else rows)
        try:
            action(group)
        except Exception as error:
            self._groups.remove(group)
            _fail([row for row in rows if row not in over], error, events)


def _fail(rows: Collection[Row], error: Exception, events: list[RowEvent]) -> None:
    logger.exception("%d rows failed", len(rows))
    events += [Failed(row.id, f"The model failed: {error}") for row in rows]


def _follow_row(row: Row, token: int, events: list[RowEvent]) -> bool:
    """The events of one token. Returns whether the row is over."""
    if token == NUMERICAL_FAULT:
        events.append(Failed(row.id, "The model computed logits that are not numbers (NaN)."))
        return True
    if row.first_token_at is None:
        row.first_token_at = time.monotonic()
    text, num_tokens, verdict = row.follower.take(token)
    if text:
        events.append(TextDelta(row.id, text, num_tokens))
    if verdict is not None:
        events.append(row.finished(verdict))
    return verdict is not None

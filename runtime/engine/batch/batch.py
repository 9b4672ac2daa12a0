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

from runtime.engine.language_model import LanguageModel
from runtime.engine.sampling.sampler import NUMERICAL_FAULT
from runtime.events import Failed, Prefill, RowEvent, TextDelta

from .group import DecodeGroup, fits
from .prefill import Prefilling
from .row import Row

logger = logging.getLogger(__name__)

_REGROUP_STEPS = 64  # how often groups that grew alike in length are looked at for joining


class Batch:
    """All rows of one model: waiting, prefilling and decoding. Not thread-safe; does no I/O."""

    def __init__(
        self,
        model: LanguageModel,
        *,
        max_rows: int = 16,
        prefill_chunk_tokens: int = 512,
        stall_limit_s: float = 0.25,
    ) -> None:
        self._max_rows = max_rows
        self._waiting: deque[Row] = deque()
        self._prefilling = Prefilling(model, prefill_chunk_tokens, stall_limit_s)
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

    def remove(self, row_id: int) -> bool:
        """Drop a row wherever it is, and free its KV. False if it is not (or no longer) here."""
        is_here = self._remove(row_id)
        self._give_back()
        return is_here

    def _remove(self, row_id: int) -> bool:
        for row in self._waiting:
            if row.id == row_id:
                self._waiting.remove(row)
                return True
        for row in self._prefilling.rows:
            if row.id == row_id:
                self._prefilling.remove(row)
                return True
        for group in self._groups:
            for row in group.rows:
                if row.id == row_id:
                    self._leave({row})
                    return True
        return False

    def step(self) -> list[RowEvent]:
        """One token for every decoding row, and one chunk for the prefilling ones.

        A row is gone once its `Finished` or `Failed` is among the events.
        """
        events: list[RowEvent] = []
        self._num_steps += 1
        self._forward(events)
        tokens = self._read(events)
        over = self._follow(tokens, events)
        self._draw(over, events)
        self._leave(over)
        self._admit()
        self._prefill(events)
        if self._num_steps % _REGROUP_STEPS == 0:
            self._regroup()
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

    def _leave(self, over: set[Row]) -> None:
        """The only way out of a group: its cache is copied once, however many rows leave."""
        changed = [group for group in self._groups if not over.isdisjoint(group.rows)]
        for group in changed:
            group.leave(over)
        if changed:
            self._regroup()

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
            self._place(group)

    def _place(self, newcomer: DecodeGroup) -> None:
        """Join the group that wastes least on padding with it, or stand alone."""
        best = min(
            (group for group in self._groups if _can_join(group, newcomer)),
            key=lambda group: _padding([*group.lengths, *newcomer.lengths]),
            default=None,
        )
        if best is None:
            self._groups.append(newcomer)
        else:
            best.join(newcomer)

    def _regroup(self) -> None:
        """Split groups that waste too much since rows left, and join those that no longer would."""
        whole: list[DecodeGroup] = []
        parts = [group for group in self._groups if group.rows]
        while parts:
            group = parts.pop()
            if len(group.rows) > 1 and not fits(group.lengths):
                parts.append(group.split())
                parts.append(group)
            else:
                whole.append(group)
        self._groups = []
        for group in sorted(whole, key=lambda group: len(group.rows), reverse=True):
            self._place(group)

    def _attempt(
        self,
        group: DecodeGroup,
        action: Callable[[DecodeGroup], None],
        events: list[RowEvent],
        over: Collection[Row] = (),
    ) -> None:
        """A failing pass or draw costs the rows of its group that are not over, not the engine."""
        try:
            action(group)
        except Exception as error:
            logger.exception("decode failed")
            self._groups.remove(group)
            message = f"The model failed: {error}"
            events += [Failed(row.id, message) for row in group.rows if row not in over]


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


def _can_join(group: DecodeGroup, other: DecodeGroup) -> bool:
    return group.is_mergeable and other.is_mergeable and fits([*group.lengths, *other.lengths])


def _padding(lengths: list[int]) -> int:
    return len(lengths) * max(lengths) - sum(lengths)

"""Continuous batching: rows join and leave at any step, over mlx-lm's models and cache protocol.

Who may run is decided outside: what is added starts with the next step.

A step has six phases: `forward` starts the pass over every group's pending tokens, `read` fetches
those tokens, `follow` puts them into words and tells which rows are over, `mask` finds out what may
come next where a grammar says so, `draw` starts drawing the next ones, and the rows that are over
`leave` in one go. Then new prompts get their chunk.
"""

import logging
from collections.abc import Callable, Collection, Iterator

import mlx.core as mx
import msgspec

from registry.checkpoint.exactness import Exactness
from runtime.engine import device
from runtime.engine.cache import kv_cache
from runtime.engine.cache.disk.tier import DiskTier
from runtime.engine.cache.layers import RowView
from runtime.engine.cache.padding import Padding
from runtime.engine.language_model import LanguageModel
from runtime.events import Failed, Prefill, RowEvent, SetAside

from .account import Account
from .group import DecodeGroup, Drawn
from .groups import DecodeGroups
from .prefill import Prefilling
from .reuse import Reuse
from .row import Row

logger = logging.getLogger(__name__)

_ALL_EXACT = Exactness()
_REGROUP_STEPS = 64  # how often groups that grew alike in length are looked at for joining
_MEMORY_STEPS = 8  # how often memory is looked at while no prompt is read


class Batch:
    """All rows of one model, prefilling and decoding. Not thread-safe; does no I/O."""

    def __init__(
        self,
        model: LanguageModel,
        exactness: Exactness = _ALL_EXACT,
        *,
        prefill_chunk_tokens: int = 512,
        stall_limit_s: float = 0.25,
        prefix_cache_bytes: int = 0,
        disk: DiskTier | None = None,
        is_memory_short: Callable[[], bool] = lambda: False,
        account: Account | None = None,
    ) -> None:
        """Nothing is done that `exactness` does not name as exact for the model."""
        empty = kv_cache.make(model)
        can_merge = exactness.merged and kv_cache.is_mergeable(empty)
        padding = Padding.of(empty)
        self._is_memory_short = is_memory_short
        self._account = account
        budget = prefix_cache_bytes if exactness.chunked else 0  # a prefix is a first piece
        self.reuse = Reuse(model, budget, self._held, disk)
        self._prefilling = Prefilling(
            model,
            msgspec.structs.replace(
                exactness, merged=can_merge, padded=exactness.padded and can_merge
            ),
            padding,
            self.reuse,
            prefill_chunk_tokens,
            stall_limit_s,
        )
        self._groups = DecodeGroups(padding, self._lose, can_merge=can_merge)
        self._num_steps = 0
        self._num_at_start = 0  # rows, when the last step began

    @property
    def num_rows(self) -> int:
        """Rows anywhere in the batch."""
        return len(self._rows)

    @property
    def is_waiting(self) -> bool:
        """Whether a step can do nothing before something has come from disk."""
        return self.num_rows > 0 and not self._groups and self._prefilling.is_waiting

    @property
    def cache_bytes(self) -> int:
        """Bytes of KV held for all rows, padding included."""
        return self._prefilling.num_bytes + self._groups.num_bytes

    def _held(self) -> Iterator[tuple[Row, RowView]]:
        """The rows that draw, and what the cache holds of each."""
        layers = self.reuse.cache.layers
        return ((row, group.view(row, layers)) for group in self._groups for row in group.rows)

    @property
    def reading(self) -> list[Row]:
        """Rows whose prompts are being read."""
        return self._prefilling.rows

    def add(self, row: Row) -> None:
        """Its prompt is read from the next step on."""
        self._prefilling.add(row)

    def remove(self, row_id: int, *, keeps: bool = True) -> list[RowEvent] | None:
        """Drop a row wherever it is. None if it is not (or no longer) here.

        What it read is kept for prompts that begin alike, or freed if `keeps` is false. The events
        are of other rows that failed because its cache could not be taken apart.
        """
        events = self._remove(row_id, keeps=keeps)
        self._give_back()
        return events

    def set_aside(self, row_id: int, *, keeps: bool = True) -> list[RowEvent] | None:
        """Drop a row that will be continued: its own event tells what it drew. Else as `remove`."""
        row = next((row for row in self._rows if row.id == row_id), None)
        if row is None or (events := self.remove(row_id, keeps=keeps)) is None:
            return None
        if not any(event.id == row_id for event in events):  # its group may have failed with it
            events.append(_aside(row))
        return events

    def forget(self, *, on_disk: bool = False) -> None:
        """Drop the prefixes that are kept, and give their memory back."""
        self.reuse.forget(on_disk=on_disk)
        mx.clear_cache()

    def _remove(self, row_id: int, *, keeps: bool) -> list[RowEvent] | None:
        events: list[RowEvent] = []
        for row in self._prefilling.rows:
            if row.id == row_id:
                self._prefilling.remove(row, keeps=keeps)
                return events
        for group in self._groups:
            for row in group.rows:
                if row.id == row_id:
                    self._leave({row}, events, keeps=keeps)
                    return events
        return None

    def close(self, deadline: float) -> None:
        """Rows end, and what has proved of use is written, until a time of the monotonic clock."""
        for row in self._rows:
            self.remove(row.id)
        self.reuse.save(deadline)

    def step(self) -> list[RowEvent]:
        """One token for every decoding row, and one chunk for the prefilling ones.

        A row is gone once its `Finished`, `Failed` or `SetAside` is among the events.
        """
        events: list[RowEvent] = []
        self._num_steps += 1
        self._num_at_start = self.num_rows
        self._make_do(events)
        apart = self._groups.apart
        groups = self._groups.take_turn(self.reading)
        self._forward(groups, events)
        tokens = self._read(groups, events)
        over = self._follow(tokens, events)
        self._mask(groups, over, events)
        self._draw(groups, over, events)
        if over:
            self._note_held(over, events)
        self._leave(over, events)
        self._prefill(events, [row for g in groups if g in self._groups for row in g.rows])
        self._groups.place_grown(apart, events)
        if self._num_steps % _REGROUP_STEPS == 0:
            self._groups.regroup(events)
        self._give_back()
        return events

    @property
    def _rows(self) -> list[Row]:
        return [*self._prefilling.rows, *self._groups.rows]

    def _make_do(self, events: list[RowEvent]) -> None:
        """When memory is short the prefixes that are kept make room, half of them at a time; then
        the youngest row of the lowest priority leaves. One always stays.
        """
        is_due = self._prefilling.rows or self._num_steps % _MEMORY_STEPS == 0
        if not is_due or not self._is_memory_short():
            return
        mx.clear_cache()
        while (held := self.reuse.cache.num_bytes) and self._is_memory_short():
            self.reuse.cache.shrink(held // 2)
            mx.clear_cache()
        if self.num_rows > 1 and self._is_memory_short():
            youngest = max(self._rows, key=lambda row: (not row.is_urgent, row.id))
            events += self.set_aside(youngest.id, keeps=False) or []

    def _note_held(self, over: set[Row], events: list[RowEvent]) -> None:
        """Rows that are over, and are still there, tell what is held and what should be."""
        if self._account is not None:
            for group in list(self._groups):
                self._groups.attempt(group, DecodeGroup.settle, events, over)
            groups = [group.lengths for group in self._groups]
            self._account.note(events, self.reading, groups, self.reuse.cache.num_bytes)

    def _give_back(self) -> None:
        """When nothing runs, nobody needs the buffers that MLX keeps for reuse."""
        if self.num_rows == 0:
            mx.clear_cache()

    def _forward(self, groups: list[DecodeGroup], events: list[RowEvent]) -> None:
        for group in groups:
            self._groups.attempt(group, DecodeGroup.forward, events)

    def _read(self, groups: list[DecodeGroup], events: list[RowEvent]) -> list[Drawn]:
        tokens: list[Drawn] = []
        for group in groups:
            self._groups.attempt(group, lambda group: tokens.extend(group.read()), events)
        return tokens

    def _follow(self, tokens: list[Drawn], events: list[RowEvent]) -> set[Row]:
        """What the tokens mean, in events; returns the rows that are over."""
        over = set()
        for row, token, likelihood in tokens:
            try:
                is_over = row.take(token, likelihood, events)
            except Exception as error:  # of a tokenizer, say: it costs this row alone
                logger.exception("row %d failed", row.id)
                events.append(Failed(row.id, f"The answer could not be put into words: {error}"))
                is_over = True
            if is_over:
                over.add(row)
        return over

    def _mask(self, groups: list[DecodeGroup], over: set[Row], events: list[RowEvent]) -> None:
        """What may be drawn next; rows that cannot go on are over."""
        failed: list[tuple[Row, Exception]] = []
        for group in groups:
            self._groups.attempt(group, lambda group: failed.extend(group.mask()), events, over)
        for row, error in failed:
            if row not in over:
                logger.error("row %d failed", row.id, exc_info=error)
                events.append(Failed(row.id, f"The answer cannot go on: {error}"))
                over.add(row)

    def _draw(self, groups: list[DecodeGroup], over: set[Row], events: list[RowEvent]) -> None:
        for group in groups:
            self._groups.attempt(group, DecodeGroup.draw, events, over)

    def _leave(self, over: set[Row], events: list[RowEvent], *, keeps: bool = True) -> None:
        """The only way out of a group: its cache is copied once, however many rows leave."""
        changed = [group for group in self._groups if not over.isdisjoint(group.rows)]
        for group in changed:
            if keeps and self.reuse.is_on:
                self._groups.attempt(group, lambda group: self._keep(group, over), events, over)
            self._groups.attempt(group, lambda group: group.leave(over), events, over)
        if changed:
            self._groups.regroup(events)

    def _keep(self, group: DecodeGroup, over: set[Row]) -> None:
        """What rows that are over have read may serve others."""
        for row in over.intersection(group.rows):
            self.reuse.keep(row, group.view(row, self.reuse.cache.layers))

    def _prefill(self, events: list[RowEvent], decoding: list[Row]) -> None:
        if not self._prefilling.rows:
            return
        before = {row: row.num_prefilled for row in self._prefilling.rows}
        ready, failed = self._prefilling.chunk(decoding)
        for rows, error in failed:
            self._lose(rows, error, f"The prompt could not be read: {error}", events)
        for row, count in before.items():
            is_read = row.num_cached and row not in self._prefilling.rows
            if row.num_prefilled > count or is_read:
                total = len(row.tokens)
                # The prompt's last token is left for the first decode step.
                done = row.num_prefilled if row.num_to_prefill else total
                held = row.num_bytes if row in self._prefilling.rows else None
                events.append(Prefill(row.id, done, total, row.num_cached, held))
        for row in before:
            is_gone = row not in self._prefilling.rows
            if is_gone and not any(row in rows for rows, _ in failed):
                row.begin(events)
        for group in ready:
            self._groups.place(group, events)

    def _lose(
        self, rows: Collection[Row], error: Exception, message: str, events: list[RowEvent]
    ) -> None:
        """Rows that are in the batch no more: where memory was short for several, none is over."""
        logger.error("%d rows failed", len(rows), exc_info=error)
        is_short = device.is_out_of_memory(error)
        if is_short and self._num_at_start > 1:
            events += map(_aside, rows)
        else:
            events += [Failed(row.id, message, is_broken=not is_short) for row in rows]


def _aside(row: Row) -> SetAside:
    return SetAside(row.id, *row.follower.take_untold())

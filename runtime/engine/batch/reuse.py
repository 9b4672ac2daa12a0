"""Prompts begin where others have been: found when a row comes, kept when it leaves.

A row goes on from what is held of its prompt, in the prefix cache or by rows that are there. Where
another is just reading more of the same, it waits for that instead of reading it too.
"""

import logging
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from runtime.cached import CacheDescription
from runtime.engine.cache import kv_cache
from runtime.engine.cache.disk.reading import Fetch
from runtime.engine.cache.disk.shelf import Shelf
from runtime.engine.cache.disk.tier import DiskTier
from runtime.engine.cache.layers import NotCuttable, RowView
from runtime.engine.cache.lookups import Lookups
from runtime.engine.cache.padding import stepped
from runtime.engine.cache.prefix import Prefix, RowPrefix, TreePrefix
from runtime.engine.cache.prefix_cache import PrefixCache
from runtime.engine.cache.prefix_tree import common_length
from runtime.engine.language_model import LanguageModel

from .row import Row

logger = logging.getLogger(__name__)

_WORTH_WAITING = 64  # tokens that are being read and are known nowhere else
# As many tokens as a template begins every prompt with are read in the time that it takes to copy
# them; and a prompt that is read from its beginning is read in one pass with others.
_WORTH_COPYING, _WORTH_COPYING_SHARE = 64, 0.25  # tokens, or of the prompt
_BLOCK_TOKENS = 256  # where no border is told, this far at most from a prompt's end
_LIKELY_OTHER = 32  # tokens at a prompt's end that the next turn may say otherwise

Held = Iterable[tuple[Row, RowView]]


@dataclass(frozen=True, slots=True)
class _Wait:
    """For a row that is read, until it has read so many tokens."""

    leader: Row
    num_tokens: int


class Reuse:
    """Of one batch. Without a budget every row reads its prompt from the beginning."""

    def __init__(
        self,
        model: LanguageModel,
        budget_bytes: int,
        decoding: Callable[[], Held],
        disk: DiskTier | None = None,
    ) -> None:
        """`decoding` tells the rows that draw, and what is held of them."""
        self._model = model
        self.lookups = Lookups()
        self.cache = PrefixCache(lambda: kv_cache.make(model), budget_bytes)
        self._is_on = budget_bytes > 0
        self._decoding = decoding
        self._shelf: Shelf | None = None
        if disk is not None and budget_bytes > 0:
            self._shelf = Shelf(disk, self.cache, lambda: kv_cache.make(model))
            self.cache.on_leave = self._shelf.save
        self._fetches: dict[Row, Fetch] = {}
        self._waits: dict[Row, _Wait] = {}
        self._stops: dict[Row, set[int]] = {}  # where a row's reading has to pause

    # --- rows that come ---------------------------------------------------------------------------

    def begin(self, row: Row, reading: Sequence[Row]) -> None:
        """Give a row its cache, with as much of its prompt in it as is held; or have it wait for
        one of those that are being read, who came before it.
        """
        row.cache = kv_cache.make(self._model)
        if not self._is_on or row.is_scored:  # scores are of the logits of the whole prompt
            return
        limit = len(row.tokens) - 1
        tree = TreePrefix(self.cache, row.tokens)
        found: list[Prefix] = [tree, *self._of_rows(row, reading)]
        best = max(found, key=lambda prefix: prefix.reach(limit))
        reach = best.reach(limit)
        wait = self._worth_waiting(row, reading)
        if self._is_on_disk(row, tree.shared, max(reach, wait.num_tokens if wait else 0)):
            return
        if wait and wait.num_tokens >= reach + _WORTH_WAITING:
            self._waits[row] = wait
            if not self.cache.layers.are_full:
                self._stops.setdefault(wait.leader, set()).add(wait.num_tokens)
            return
        worth_copying = min(_WORTH_COPYING, _WORTH_COPYING_SHARE * limit)
        is_short = self.cache.layers.are_full and 0 < reach < worth_copying
        if reach > 0 and not is_short:
            self._restore(row, best, reach)
        if not self.cache.layers.are_full:
            shared = max(prefix.shared for prefix in found)
            self._stops.setdefault(row, set()).update(self._places(row, shared))
        num_held = max(prefix.shared for prefix in found)
        self.lookups.note(row.id, row.tokens, row.num_cached, num_held, is_short=is_short)

    def _of_rows(self, row: Row, reading: Sequence[Row]) -> list[Prefix]:
        held = [*self._decoding(), *((other, self._view(other)) for other in reading)]
        shared = (common_length(_known(other), row.tokens) for other, _ in held)
        return [
            RowPrefix(self.cache, view, other.trail, count)
            for (other, view), count in zip(held, shared, strict=True)
            if count
        ]

    def _worth_waiting(self, row: Row, reading: Sequence[Row]) -> _Wait | None:
        """The row that will have read most of what this one begins with."""
        best: _Wait | None = None
        later = self.waiting_for(row)
        for other in sorted(reading, key=self.is_waiting):
            shared = common_length(other.tokens, row.tokens)
            shared = min(shared, len(other.tokens) - 1, len(row.tokens) - 1)
            is_ahead = shared > other.num_prefilled or self.cache.layers.are_full
            if is_ahead and other not in later and (best is None or shared > best.num_tokens):
                best = _Wait(other, shared)
        return best

    def _restore(self, row: Row, prefix: Prefix, num_tokens: int) -> None:
        try:
            restored = prefix.restore(num_tokens, stepped(len(row.tokens)) - num_tokens)
        except Exception as error:  # for want of memory, say: then the prompt is read
            self._drop(error)
            return
        row.cache, row.trail, row.goes_on = restored.cache, restored.trail, restored.goes_on
        row.num_prefilled = row.num_cached = num_tokens
        if not self.cache.layers.are_full and self.waiting_for(row):
            self._note(row)

    def _note(self, row: Row) -> None:
        """A row that is read stands where others may go on from."""
        try:
            row.trail.note(self._view(row), self.cache.layers)
        except Exception as error:
            self._drop(error)

    def _places(self, row: Row, shared: int) -> set[int]:
        """Where the prompt may be branched off from: told by its text, shown by who was here
        before, and the last whole block.
        """
        last = max(0, len(row.tokens) - 1 - _LIKELY_OTHER) // _BLOCK_TOKENS * _BLOCK_TOKENS
        return {*row.borders, shared, last}

    # --- rows that are read -----------------------------------------------------------------------

    def is_waiting(self, row: Row) -> bool:
        return row in self._waits or row in self._fetches

    def waiting_for(self, leader: Row) -> list[Row]:
        """All whose reading waits for this row's, through others too."""
        waiting = [row for row, wait in self._waits.items() if wait.leader is leader]
        return [*waiting, *(later for row in waiting for later in self.waiting_for(row))]

    def next_stop(self, row: Row) -> int:
        """Where the reading has to pause at the latest."""
        stops = self._stops.get(row, ())
        end = len(row.tokens) - 1
        return min((stop for stop in stops if row.num_prefilled < stop < end), default=end)

    def pause(self, leader: Row, reading: Sequence[Row]) -> None:
        """More of a prompt was read: it may be a place to go on from, and others wait for that."""
        if not self._is_on:
            return
        position = leader.num_prefilled
        is_place = position in self._stops.get(leader, ()) or leader.num_to_prefill == 0
        if is_place and not self.cache.layers.are_full:
            self._note(leader)
        for row, wait in list(self._waits.items()):
            if wait.leader is leader and position >= wait.num_tokens:
                self._begin_anew(row, reading)

    def _begin_anew(self, row: Row, reading: Sequence[Row]) -> None:
        """What it waited for is here, or will not come."""
        self._waits.pop(row, None)
        self._fetches.pop(row, None)
        self.begin(row, [other for other in reading if other is not row])
        if not self.is_waiting(row):
            self.pause(row, reading)

    def finish(self, row: Row) -> None:
        """A row is read: nobody waits for it any more."""
        self._stops.pop(row, None)

    def inherit(self, gone: Row, heir: Row) -> None:
        """A row is read for another's sake from now on."""
        if (stops := self._stops.pop(gone, None)) is not None:
            self._stops[heir] = stops
        if (wait := self._waits.pop(gone, None)) is not None:
            self._waits[heir] = wait
        if (fetch := self._fetches.pop(gone, None)) is not None:
            self._fetches[heir], heir.was_on_disk = fetch, True
        for row, wait in self._waits.items():
            if wait.leader is gone:
                self._waits[row] = _Wait(heir, wait.num_tokens)

    def leave(self, gone: Row, reading: Sequence[Row], *, keeps: bool) -> None:
        """A row leaves before it is read whole; who waited for it looks again."""
        self._waits.pop(gone, None)
        self._stops.pop(gone, None)
        if (fetch := self._fetches.pop(gone, None)) is not None:
            fetch.cancel()
        if keeps:
            self.keep(gone, self._view(gone))
        for row, wait in list(self._waits.items()):
            if wait.leader is gone:
                self._begin_anew(row, reading)

    # --- what is on disk --------------------------------------------------------------------------

    def _is_on_disk(self, row: Row, num_held: int, reach: int) -> bool:
        """Whether more of a prompt is there, for which the row waits; asked once for each."""
        if self._shelf is None or row.was_on_disk:
            return False
        limit = len(row.tokens) - 1
        on_disk, pieces = self._shelf.look(row.tokens, limit, num_held)
        if on_disk < reach + _WORTH_WAITING:
            return False
        row.was_on_disk = True
        self._fetches[row] = self._shelf.tier.fetch(pieces)
        return True

    def arrive(self, reading: Sequence[Row]) -> None:
        """Rows whose prompts have been read from disk go on with them."""
        for row, fetch in list(self._fetches.items()):
            assert self._shelf is not None
            self._shelf.take(fetch, row.tokens)
            if fetch.is_over:
                self._begin_anew(row, reading)

    def note_speed(self, tokens_per_s: float) -> None:
        """At which prompts are read: what is fast to read again is not worth a place on disk."""
        if self._shelf is not None:
            self._shelf.tokens_per_s = tokens_per_s

    def save(self, deadline: float) -> None:
        """Before the end: write what has proved of use, until a time of the monotonic clock."""
        if self._shelf is not None and self._is_on:
            self._shelf.save_all(deadline)

    def forget(self, *, on_disk: bool = False) -> None:
        """Drop all that is kept for others; on disk too, or what is worth it goes there."""
        if self._shelf is not None and on_disk:
            self._shelf.tier.forget()
        elif self._shelf is not None:
            for path in self.cache.paths():
                self._shelf.save(path)
        self.cache.clear()
        self.lookups.forget()

    # --- rows that leave --------------------------------------------------------------------------

    @property
    def is_on(self) -> bool:
        return self._is_on

    def keep(self, row: Row, view: RowView) -> None:
        """A row leaves that will not be computed any more: what it read stays, if there is room."""
        if not self._is_on or row.is_faulty or not view.length:
            return
        tokens = _known(row)
        try:
            proven = view.length if row.goes_on else row.num_cached
            self.cache.keep(tokens, view, row.trail, proven)
        except Exception as error:
            self._drop(error)
        self.lookups.remember(tokens[: view.length])

    def keep_read(self, row: Row) -> None:
        """The same of one that was read, and is not to draw."""
        self.keep(row, self._view(row))

    def described(self, text_of: Callable[[int], bytes]) -> CacheDescription:
        """`text_of` a single token."""
        cache = self.cache
        tier = None if self._shelf is None else self._shelf.tier
        return CacheDescription(
            num_bytes=cache.num_bytes,
            budget_bytes=cache.budget_bytes if self._is_on else 0,
            num_tokens=cache.num_tokens,
            num_prefixes=cache.num_prefixes,
            prompt_tokens=self.lookups.num_tokens,
            cached_tokens=self.lookups.num_cached,
            num_evicted=cache.num_evicted,
            lookups=self.lookups.told(text_of),
            disk_bytes=0 if tier is None else tier.num_bytes,
            disk_limit_bytes=0 if tier is None else tier.limit_bytes,
            bytes_written_today=0 if tier is None else tier.written_today,
        )

    def _view(self, row: Row) -> RowView:
        return RowView(row.cache, self.cache.layers, row.num_prefilled)

    def _drop(self, error: Exception) -> None:
        """What failed may have left something half done, and is not worth a request."""
        self.cache.clear()
        if isinstance(error, NotCuttable):
            logger.warning("nothing is reused with this model: %s", error)
            self._is_on = False
        else:
            logger.error("the prefix cache failed and is emptied", exc_info=error)


def _known(row: Row) -> list[int]:
    return [*row.tokens, *row.drawn] if row.drawn else row.tokens

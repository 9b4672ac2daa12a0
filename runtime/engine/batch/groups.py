"""Which rows decode together, and which of these groups take a step. Owned by `Batch`.

Rows of about a length share a cache, so that little of it is padding; and an interactive row's
first token does not wait for background rows.
"""

from collections.abc import Callable, Collection, Iterable, Iterator
from typing import TypeAlias

from runtime.engine.cache.padding import Padding
from runtime.events import RowEvent

from .group import DecodeGroup
from .row import Row

_PASSED_OVER_STEPS = 3  # so many in a row are not taken by background rows, for others' sake

# Has events tell what becomes of rows that an error, in these words, has cost their place.
Lose: TypeAlias = Callable[[Collection[Row], Exception, str, list[RowEvent]], None]


class DecodeGroups:
    """The groups of one batch. One is in it until its rows have left, or it has failed."""

    def __init__(self, padding: Padding, lose: Lose, *, can_merge: bool) -> None:
        self._padding = padding
        self._lose = lose
        self._can_merge = can_merge
        self._groups: list[DecodeGroup] = []
        self._num_passed_over = 0  # steps in a row that background rows did not take

    def __iter__(self) -> Iterator[DecodeGroup]:
        return iter(self._groups)

    def __len__(self) -> int:
        return len(self._groups)

    @property
    def rows(self) -> list[Row]:
        return [row for group in self._groups for row in group.rows]

    @property
    def num_bytes(self) -> int:
        """Bytes of KV held by the rows, padding included."""
        return sum(group.num_bytes for group in self._groups)

    def take_turn(self, reading: Iterable[Row]) -> list[DecodeGroup]:
        """The groups of this step: for background rows most steps are not taken while somebody
        waits for an interactive row's first token. `reading` are rows with prompts to be read."""
        is_waited_for = _any_urgent(reading) or any(map(_is_first, self._groups))
        if is_waited_for and self._num_passed_over < _PASSED_OVER_STEPS:
            self._num_passed_over += 1
            return [group for group in self._groups if _any_urgent(group.rows)]
        self._num_passed_over = 0
        return list(self._groups)

    def attempt(
        self,
        group: DecodeGroup,
        action: Callable[[DecodeGroup], None],
        events: list[RowEvent],
        over: Collection[Row] = (),
        rows: Collection[Row] | None = None,
    ) -> None:
        """A failing action costs the rows of its group that are not over, not the engine.

        `rows` are those of the action, where they are not the group's. A group that has failed
        already is let be.
        """
        if group not in self._groups:
            return
        rows = list(group.rows if rows is None else rows)
        try:
            action(group)
        except Exception as error:
            self._groups.remove(group)
            lost = [row for row in rows if row not in over]
            self._lose(lost, error, f"The model failed: {error}", events)

    def place(self, newcomer: DecodeGroup, events: list[RowEvent]) -> None:
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
            self.attempt(best, lambda best: best.join(newcomer), events, rows=rows)

    def _can_join(self, group: DecodeGroup, other: DecodeGroup) -> bool:
        if not self._can_merge or self._is_apart(group) or self._is_apart(other):
            return False
        return self._padding.fits([*group.lengths, *other.lengths])

    def _is_apart(self, group: DecodeGroup) -> bool:
        """Whether it is not to be merged with others yet."""
        return group.is_young or self._goes_ahead(group)

    def _goes_ahead(self, group: DecodeGroup) -> bool:
        """Whether its first token is not to wait for a pass that it shares with background rows."""
        return _is_first(group) and not all(_any_urgent(other.rows) for other in self._groups)

    @property
    def apart(self) -> list[DecodeGroup]:
        """Those that are not to be merged with others yet."""
        return [group for group in self._groups if self._is_apart(group)]

    def place_grown(self, apart: list[DecodeGroup], events: list[RowEvent]) -> None:
        """Place those that were apart when a step began, and are no longer."""
        for group in apart:
            if group in self._groups and not self._is_apart(group):
                self._groups.remove(group)
                self.place(group, events)

    def regroup(self, events: list[RowEvent]) -> None:
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
                self._lose(rows, error, f"The model failed: {error}", events)
        self._groups = []
        for group in sorted(whole, key=lambda group: len(group.rows), reverse=True):
            self.place(group, events)


def _is_first(group: DecodeGroup) -> bool:
    """Whether an interactive row of it has no token yet."""
    return any(row.is_urgent and row.first_token_at is None for row in group.rows)


def _any_urgent(rows: Iterable[Row]) -> bool:
    return any(row.is_urgent for row in rows)

"""How a prompt begins, as far as that is held somewhere: in the tree, or by a row that is there."""

from collections.abc import Sequence
from typing import Protocol

from .layers import Layers, RowView, joined
from .prefix_cache import PrefixCache, Restored
from .trail import Trail


class Prefix(Protocol):
    """Something that holds how some prompt begins."""

    shared: int  # so many tokens of it, all held here or not

    def reach(self, limit: int) -> int:
        """How many of these can be gone on from, `limit` at most."""
        ...

    def restore(self, num_tokens: int, room: int) -> Restored:
        """A cache that holds so many, which `reach` told, and has room for more.

        Raises NotCuttable.
        """
        ...


class Section(Protocol):
    """Tokens of a prompt that are held together."""

    @property
    def start(self) -> int: ...

    @property
    def stop(self) -> int: ...

    @property
    def held_from(self) -> int: ...  # windows are held from here on

    @property
    def has_state(self) -> bool: ...  # as of its end


def reach_of(path: Sequence[Section], layers: Layers, limit: int) -> int:
    """How many tokens can be gone on from where these sections hold a prompt's beginning."""
    if layers.are_full:
        return min(path[-1].stop, limit) if path else 0
    best = run = 0
    for section in path:
        if layers.windows and section.held_from > section.start:
            run = section.held_from  # windows have a gap before it
        first = run + layers.window if run else 0
        last = min(section.stop, limit)
        if layers.states:
            last = section.stop if section.has_state and section.stop <= limit else 0
        if section.start < last and first <= last:
            best = last
    return best


class TreePrefix:
    """A way through the tree, as far as a prompt shares it. Soon used, or not at all."""

    def __init__(self, cache: PrefixCache, tokens: Sequence[int]) -> None:
        self._path, self.shared = cache.find(tokens)
        self._cache = cache

    def reach(self, limit: int) -> int:
        """See `Prefix`."""
        return reach_of(self._path, self._cache.layers, min(self.shared, limit))

    def restore(self, num_tokens: int, room: int) -> Restored:
        """See `Prefix`."""
        path = [node for node in self._path if node.start < num_tokens]
        return self._cache.give(path, num_tokens, room)


class RowPrefix:
    """What a row that is still there has read, as far as a prompt shares it."""

    def __init__(self, cache: PrefixCache, view: RowView, trail: Trail, shared: int) -> None:
        self.shared = min(shared, view.length)
        self._cache = cache
        self._view = view
        self._trail = trail

    def reach(self, limit: int) -> int:
        """See `Prefix`."""
        layers, end = self._cache.layers, min(self.shared, limit)
        if layers.are_full:
            return end
        ends = [position for position in self._trail.states if position <= end]
        if not layers.states:
            ends = [min(span.stop, end) for span in self._trail.spans if span.start < end]
        for position in sorted(ends, reverse=True):
            first = self._trail.held_from(position) if layers.windows else 0
            if first == 0 or first <= position - layers.window:
                return position
        return 0

    def restore(self, num_tokens: int, room: int) -> Restored:
        """See `Prefix`."""
        cut = self._view.full(0, num_tokens)
        restored = self._cache.restored(num_tokens, lambda n: joined([cut[n]], room), self._trail)
        restored.trail = self._trail.until(num_tokens)  # whichever of the two leaves first
        return restored

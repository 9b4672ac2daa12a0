"""What was read once need not be read again: prefixes of prompts and answers, under a byte budget.

A cache for a new row is made of what lies on its way in the tree, layer by layer. Where nobody else
begins like this, the tree gives its arrays away, each layer's as soon as the row has it; so a
conversation that goes on is in memory once. What others share is copied.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from .kv_cache import Cache
from .layers import Arrays, Layers, RowView, fill, flat, joined, num_bytes, set_state, sliced
from .nodes import cut, halve, split, trail_of
from .prefix_tree import Node, PrefixTree, way_to
from .trail import Trail

_SMALL_TAIL = 0.1  # of a node: it goes with the rest when that is given away
_MIN_PART_TOKENS = 256
_HALVED_TOKENS = 1024  # a leaf that is longer loses its second half first


@dataclass(eq=False, slots=True)
class Restored:
    """A row's cache with the beginning of its prompt in it."""

    num_tokens: int
    cache: Cache
    trail: Trail = field(default_factory=Trail)
    goes_on: bool = False  # a conversation does, so even its end has proved of use


class PrefixCache:
    """Of one model. Every path into it stays within `budget_bytes`."""

    def __init__(self, make: Callable[[], Cache], budget_bytes: int) -> None:
        """`make` makes the empty cache of a row."""
        self.layers = Layers(make())
        self.budget_bytes = budget_bytes
        self.num_evicted = 0
        self.on_leave: Callable[[Sequence[Node]], None] = lambda _: None  # told the way to a node
        self._make = make
        self._tree = PrefixTree(self.layers.window)

    @property
    def num_bytes(self) -> int:
        return sum(node.num_bytes for node in self._tree.nodes())

    @property
    def num_tokens(self) -> int:
        return sum(len(node.tokens) for node in self._tree.nodes())

    @property
    def num_prefixes(self) -> int:
        return sum(not node.children for node in self._tree.nodes())

    def paths(self) -> list[list[Node]]:
        """The ways to all that can be gone on from, those used last first."""
        ends = [node for node in self._tree.nodes() if not node.children]
        return [way_to(node) for node in sorted(ends, key=lambda node: -node.touched)]

    def clear(self) -> None:
        self._tree = PrefixTree(self.layers.window)

    def find(self, tokens: Sequence[int]) -> tuple[list[Node], int]:
        """The nodes that a prompt begins with, and how many tokens it shares with them."""
        path, shared = self._tree.path(tokens)
        self._tree.touch(path)
        return path, shared

    def restored(
        self,
        num_tokens: int,
        full: Callable[[int], Arrays],
        trail: Trail,
    ) -> Restored:
        """A cache of what `full` gives for each full layer, and of a trail that reaches there."""
        cache, layers = self._make(), self.layers
        places = list(flat(cache))
        for number, place in enumerate(layers.full):
            fill(places[place], full(number), num_tokens)
        if layers.windows:
            start = max(0, num_tokens - layers.window)
            for place, arrays in zip(layers.windows, trail.windows(start, num_tokens), strict=True):
                fill(places[place], joined([arrays]), num_tokens)
        if layers.states:
            for place, state in zip(layers.states, trail.states[num_tokens], strict=True):
                set_state(places[place], state)
        return Restored(num_tokens, cache)

    # --- what rows leave behind -----------------------------------------------------------------

    def keep(self, tokens: Sequence[int], view: RowView, trail: Trail, num_proven: int = 0) -> None:
        """Keep what a row has read, of which `view` holds the first `view.length` tokens.

        Of these, so many have proved of use. The row must not be computed any more: its arrays may
        be taken over. Raises NotCuttable.
        """
        tokens = list(tokens[: view.length])
        trail.note(view, self.layers)
        path, shared = self._tree.path(tokens)
        stops = self._stops(shared, len(tokens), trail)
        for node in path:
            node.prove(min(num_proven, shared))
        if not stops:
            return
        parent = self._parted(path, shared)
        path = [node for node in path if node.stop <= shared]
        if parent is not self._tree.root and parent not in path:
            path.append(parent)
        self._complete(path, trail)
        for stop in stops:
            node = Node(tokens[parent.stop : stop], parent.stop, held_from=stop)
            is_own = node.start == 0 and stop == view.length and view.is_plain
            node.full = view.give_up() if is_own else view.full(node.start, stop)
            self._hold(node, trail)
            node.prove(num_proven)
            if not self._make_room(node.num_bytes, path):
                self._keep_part(node, parent, path)
                break
            self._settle(node, parent, is_own=is_own)
            path.append(node)
            parent = node

    def _settle(self, node: Node, parent: Node, *, is_own: bool = False) -> None:
        """Put a node into the tree. It holds its own arrays from now on; `is_own`: it has them."""
        if not is_own:
            for number, arrays in enumerate(node.full):
                node.full[number] = joined([sliced(arrays, 0, len(node.tokens))])
        node.weigh()
        self._tree.add(parent, node)

    def _keep_part(self, node: Node, parent: Node, path: Sequence[Node]) -> None:
        """As much of the beginning of a node as there is room for, where it can be cut."""
        if not self.layers.are_full:
            return
        room = self.budget_bytes - self.num_bytes
        count = int(len(node.tokens) * room / node.num_bytes) if node.num_bytes else 0
        if count >= _MIN_PART_TOKENS:
            node.tokens = node.tokens[:count]
            node.full = [sliced(arrays, 0, count) for arrays in node.full]
            node.held_from = node.stop
            node.num_proven = min(node.num_proven, count)
            self._settle(node, parent)

    def adopt(self, tokens: Sequence[int], start: int, full: list[Arrays], trail: Trail) -> bool:
        """Keep what was held elsewhere of the last of these tokens, from `start` on: arrays that
        are nobody else's.

        Returns whether it is here now: there has to be room, and all that is before it.
        """
        tokens = list(tokens)
        path, shared = self._tree.path(tokens)
        if shared < start:
            return False
        parent = self._parted(path, shared)
        path = [node for node in path if node.stop <= shared and node is not parent]
        if parent is not self._tree.root:
            path.append(parent)
        if shared == len(tokens):
            self._complete(path, trail)
            return True
        node = Node(tokens[shared:], shared, held_from=len(tokens))
        is_own = shared == start
        if not is_own:
            full = [sliced(arrays, shared - start, len(tokens) - start) for arrays in full]
        node.full = full
        node.prove(len(tokens))
        self._hold(node, trail)
        if not self._make_room(node.num_bytes, path):
            return False
        self._settle(node, parent, is_own=is_own)
        return True

    def _stops(self, shared: int, end: int, trail: Trail) -> list[int]:
        """Where nodes behind the `shared` tokens have to end."""
        if self.layers.are_full:
            return [end] if end > shared else []
        marks = {*trail.states, *(span.stop for span in trail.spans), end}
        return sorted(mark for mark in marks if shared < mark <= end)

    def _parted(self, path: list[Node], shared: int) -> Node:
        """The node that ends behind `shared` tokens: made of a longer one, if there is none."""
        if not path:
            return self._tree.root
        last = path[-1]
        return last if last.stop == shared else split(last, shared - last.start)

    def _complete(self, path: Sequence[Node], trail: Trail) -> None:
        """Give nodes that are there what a row's trail has beyond them."""
        for node in path:
            self._hold(node, trail)
        self._make_room(0, path)

    def _hold(self, node: Node, trail: Trail) -> None:
        """What there is of windows and states for a node."""
        if node.state is None:
            node.state = trail.states.get(node.stop)
        first = max(node.start, trail.held_from(node.stop)) if self.layers.windows else node.stop
        if first < node.held_from:
            node.held_from = first
            node.windows = [joined([each]) for each in trail.windows(first, node.stop)]
        node.weigh()

    # --- the budget -----------------------------------------------------------------------------

    def shrink(self, num_bytes: int) -> None:
        """Hold no more than this."""
        self._evict(num_bytes, ())

    def _make_room(self, needed: int, kept: Sequence[Node]) -> bool:
        """Whether so many bytes fit beside what is held. None of the `kept` leaves for them."""
        return self._evict(self.budget_bytes - needed, kept)

    def _evict(self, limit: int, kept: Sequence[Node]) -> bool:
        held = self.num_bytes
        while held > limit:
            if (found := self._tree.cheapest(kept)) is None:
                return False
            node, is_inner = found
            if node.num_proven:
                self.on_leave(way_to(node))
            held -= node.num_bytes
            self.num_evicted += 1
            if is_inner:
                node.windows, node.held_from, node.state = [], node.stop, None
            elif self.layers.are_full and len(node.tokens) > _HALVED_TOKENS:
                halve(node)
            else:
                self._tree.remove(node)
                continue
            node.weigh()
            held += node.num_bytes
        return True

    # --- for a prefix in the tree ---------------------------------------------------------------

    def give(self, path: list[Node], num_tokens: int, room: int) -> Restored:
        """The cache that the nodes of a path make; what only they have is given away."""
        taken = self._given_away(path, num_tokens)
        trail, held = trail_of(path), [node for node in path if node not in taken]
        if held:
            copied = sum(num_bytes(node.full) for node in held)
            if copied + sum(node.num_bytes for node in path) <= self.budget_bytes:
                self._make_room(copied, path)  # else all others would go, and in vain

        def full(number: int) -> Arrays:
            if len(path) == 1 and taken:
                arrays = path[0].full[number]
            else:
                arrays = joined([cut(node, number, num_tokens) for node in path], room)
            for node in taken:
                node.full[number] = ()
            return arrays

        for node in held:
            node.prove(num_tokens)
        restored = self.restored(num_tokens, full, trail)
        restored.goes_on = bool(taken) and taken[-1].stop == num_tokens
        for node in reversed(taken):
            self._tree.remove(node)
        restored.trail = trail_of(taken).until(num_tokens)
        restored.trail.thin(self.layers.window)
        return restored

    def _given_away(self, path: list[Node], num_tokens: int) -> list[Node]:
        """The nodes, at the path's end, that nobody else would miss."""
        last = path[-1]
        if last.children or last.stop - num_tokens > _SMALL_TAIL * len(last.tokens):
            return []
        taken = [last]
        while (parent := taken[0].parent) is not None and len(parent.children) == 1:
            if parent is self._tree.root:
                break
            taken.insert(0, parent)
        return taken

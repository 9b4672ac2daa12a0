"""A radix tree over token ids: what conversations have in common is in it once.

A node stands for the tokens on the way to it from its parent, and holds what a model read of them.
Who is read again, who branches off and who has to go is found here; what is held, and how a cache
is made of it, is `prefix_cache`'s.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from .layers import Arrays, State, num_bytes, state_bytes

# Behind so many tokens, reading one more costs about twice as much as at the beginning.
_DOUBLE_COST_TOKENS = 16384


@dataclass(eq=False, slots=True)
class Node:
    """Keys and values of `tokens`, which stand behind `start` others."""

    tokens: list[int]
    start: int
    parent: "Node | None" = None
    children: dict[int, "Node"] = field(default_factory=dict)  # by their first token
    full: list[Arrays] = field(default_factory=list)  # of each full layer; with room for more
    windows: list[Arrays] = field(default_factory=list)  # of each window, from `held_from` on
    held_from: int = 0  # the end, where nothing is held
    state: State | None = None  # of the layers that cannot be cut, at the node's end
    num_proven: int = 0  # of its first tokens, which were read once and used again
    touched: float = 0.0  # the tree's clock, when it was used last
    num_bytes: int = 0  # of all this, as of the last `weigh`
    checkpoint_bytes: int = 0  # of what only serves to go on from near the node's end

    def weigh(self) -> None:
        """To be called when what is held has changed."""
        self.checkpoint_bytes = num_bytes(self.windows) + state_bytes(self.state)
        self.num_bytes = num_bytes(self.full) + self.checkpoint_bytes

    @property
    def stop(self) -> int:
        return self.start + len(self.tokens)

    @property
    def cost(self) -> float:
        """Of reading its tokens again, in tokens at the beginning of a prompt."""
        return cost_of(self.start, self.stop)

    @property
    def has_state(self) -> bool:
        return self.state is not None

    def prove(self, num_tokens: int) -> None:
        """So many tokens from the tree's root on were used again."""
        self.num_proven = max(self.num_proven, min(num_tokens, self.stop) - self.start)


class PrefixTree:
    """Eviction is GreedyDual-Size (Cao and Irani, 1997): what is cheapest to read again for the
    room that it takes goes first, and a clock that rises with each eviction makes old uses count
    less.
    """

    def __init__(self, window: int) -> None:
        """`window` is how many tokens the model's longest one holds; 0: there is none."""
        self.root = Node([], 0)
        self._window = window
        self._clock = 0.0

    def nodes(self) -> Iterator[Node]:
        """All of them but the root, parents first."""
        waiting = list(self.root.children.values())
        while waiting:
            node = waiting.pop()
            yield node
            waiting += node.children.values()

    def path(self, tokens: Sequence[int]) -> tuple[list[Node], int]:
        """The nodes that a prompt begins with, and how many tokens it shares with them; of the last
        node that may be a part.
        """
        node, shared, path = self.root, 0, []
        while shared < len(tokens) and (child := node.children.get(tokens[shared])) is not None:
            count = common_length(child.tokens, tokens, shared)
            path.append(child)
            shared += count
            if count < len(child.tokens):
                break
            node = child
        return path, shared

    def add(self, parent: Node, node: Node) -> None:
        node.parent = parent
        parent.children[node.tokens[0]] = node
        self.touch([node])

    def remove(self, node: Node) -> None:
        assert node.parent is not None
        assert not node.children, "others stand on it"
        del node.parent.children[node.tokens[0]]
        node.parent = None

    def touch(self, path: Sequence[Node]) -> None:
        for node in path:
            node.touched = self._clock

    def cheapest(self, kept: Sequence[Node]) -> tuple[Node, bool] | None:
        """What is to go next, none of `kept`: a leaf, or (True) an inner node's checkpoint only."""
        best: tuple[float, Node, bool] | None = None
        spared = set(kept)
        for node in self.nodes():
            is_inner = bool(node.children)
            size = node.checkpoint_bytes if is_inner else node.num_bytes
            if node in spared or (is_inner and size == 0):
                continue
            value = node.touched + node.cost / max(1, size)
            # What takes long to find out comes last: there may be thousands of nodes.
            if (best is None or value < best[0]) and not (is_inner and self._is_needed(node)):
                best = (value, node, is_inner)
        if best is None:
            return None
        self._clock = max(self._clock, best[0])
        return best[1], best[2]

    def _is_needed(self, node: Node) -> bool:
        """Whether its windows serve to go on from a leaf's end."""
        if not any(node.windows):
            return False
        waiting = list(node.children.values())
        while waiting:
            child = waiting.pop()
            if child.stop - node.stop < self._window:
                if not child.children:
                    return True
                waiting += child.children.values()
        return False


def way_to(node: Node) -> list[Node]:
    """The nodes that a text begins with which ends with this one."""
    way: list[Node] = []
    while node.parent is not None:
        way.insert(0, node)
        node = node.parent
    return way


def cost_of(start: int, stop: int) -> float:
    """Of reading these tokens of a prompt, in tokens at its beginning."""
    return (stop - start) * (1 + (start + stop) / 2 / _DOUBLE_COST_TOKENS)


def common_length(known: Sequence[int], tokens: Sequence[int], start: int = 0) -> int:
    """With how many tokens `known` begins as `tokens` goes on behind `start`."""
    low, high = 0, min(len(known), len(tokens) - start)
    if known[:high] == tokens[start : start + high]:
        return high
    while high - low > 1:
        middle = (low + high) // 2
        if known[low:middle] == tokens[start + low : start + middle]:
            low = middle
        else:
            high = middle
    return low

"""Nodes of the prefix tree, parted and cut; what they hold for a row."""

from collections.abc import Sequence

from .layers import Arrays, joined, sliced
from .prefix_tree import Node
from .trail import Span, Trail


def split(node: Node, count: int) -> Node:
    """Part a node behind `count` tokens. Returns the first part."""
    parent = node.parent
    assert parent is not None
    head = Node(node.tokens[:count], node.start, held_from=node.start + count)
    head.touched = node.touched
    for number, arrays in enumerate(node.full):
        first, rest = (joined([sliced(arrays, *part)]) for part in _parts(node, count))
        head.full.append(first)
        node.full[number] = rest
    if any(node.windows) and node.held_from < head.stop:
        at = head.stop - node.held_from
        head.held_from = node.held_from
        head.windows = [joined([sliced(arrays, 0, at)]) for arrays in node.windows]
        node.windows = [joined([_from(arrays, at)]) for arrays in node.windows]
        node.held_from = head.stop
    head.num_proven = min(node.num_proven, count)
    node.num_proven -= head.num_proven
    node.tokens, node.start = node.tokens[count:], head.stop
    head.parent, node.parent = parent, head
    parent.children[head.tokens[0]] = head
    head.children[node.tokens[0]] = node
    head.weigh()
    node.weigh()
    return head


def halve(node: Node) -> None:
    """Cut a leaf, all of whose layers are full, to its first half."""
    node.tokens = node.tokens[: len(node.tokens) // 2]
    node.num_proven = min(node.num_proven, len(node.tokens))
    node.held_from = node.stop
    for number, arrays in enumerate(node.full):
        node.full[number] = joined([sliced(arrays, 0, len(node.tokens))])


def _parts(node: Node, count: int) -> tuple[tuple[int, int], tuple[int, int]]:
    return (0, count), (count, len(node.tokens))


def _from(arrays: Arrays, start: int) -> Arrays:
    return tuple(array[..., start:, :] for array in arrays)


def cut(node: Node, number: int, num_tokens: int) -> Arrays:
    return sliced(node.full[number], 0, min(len(node.tokens), num_tokens - node.start))


def trail_of(path: Sequence[Node]) -> Trail:
    """What nodes hold beside keys and values of full layers."""
    trail = Trail()
    for node in path:
        if any(node.windows) and node.held_from < node.stop:
            trail.spans.append(Span(node.held_from, node.stop, node.windows))
        if node.state is not None:
            trail.states[node.stop] = node.state
    return trail

"""Between the prefix cache in memory and the files: nodes of the tree become pieces, and back.

A conversation is read from disk once and goes on in memory, so pieces are only ever appended: what
is written of one text is never written again, however the tree was parted meanwhile.
"""

import logging
from collections.abc import Callable, Sequence

from runtime.disk.entry import Entry
from runtime.engine.cache.kv_cache import Cache
from runtime.engine.cache.layers import State, joined, sliced
from runtime.engine.cache.prefix import reach_of
from runtime.engine.cache.prefix_cache import PrefixCache
from runtime.engine.cache.prefix_tree import Node, cost_of
from runtime.engine.cache.trail import Span, Trail

from .content import Content, NotStorable, decoded, encoded
from .index import Piece
from .reading import Fetch
from .tier import DiskTier

logger = logging.getLogger(__name__)

# A prompt that parts from a known one within a piece cannot use it; a file for every few tokens
# would cost more than it brings. Most part near the end, where an answer is tokenised anew, so each
# piece has at most half of what is left.
_PIECE_TOKENS, _PIECE_BYTES, _LEAST_TOKENS = 256, 32 << 20, 16


class Shelf:
    """Of one engine."""

    def __init__(self, tier: DiskTier, cache: PrefixCache, make: Callable[[], Cache]) -> None:
        """`make` makes the empty cache of a row."""
        self.tier = tier
        self.tokens_per_s = 1.0  # at which prompts are read, as measured last
        self._cache = cache
        self._make = make
        self._is_storable = True

    def look(self, tokens: Sequence[int], limit: int, held: int) -> tuple[int, list[Piece]]:
        """How many of a prompt's tokens can be gone on from, and the files that it takes, where the
        first `held` are in memory.
        """
        layers = self._cache.layers
        chains = self.tier.chains(tokens)
        reach, chain = max(
            ((reach_of(chain, layers, limit), chain) for chain in chains),
            key=lambda found: found[0],
        )
        first = held if layers.are_full else 0  # checkpoints may lie anywhere
        return reach, [piece for piece in chain if piece.start < reach and piece.stop > first]

    def take(self, fetch: Fetch, tokens: Sequence[int]) -> None:
        """Put into the tree what has been read of a prompt."""
        while (taken := fetch.take()) is not None:
            piece, data = taken
            try:
                content = decoded(data, self._make, self._cache.layers)
                span = Span(piece.held_from, piece.stop, content.windows)
                states: dict[int, State] = {}
                if content.state is not None:
                    states[piece.stop] = content.state
                trail = Trail([span] if piece.entry.num_windowed else [], states)
                text = tokens[: piece.stop]
                if not self._cache.adopt(text, piece.start, content.full, trail):
                    fetch.cancel()
            except Exception:  # sealed by us, and no piece; or there is no memory for it
                logger.exception("a file of the disk cache was not understood")
                self.tier.drop(piece)
                fetch.cancel()

    def save_all(self, deadline: float) -> None:
        """Write what was proven of use, what was used last first, until a time of the monotonic
        clock.
        """
        for path in self._cache.paths():
            self.tier.settle(deadline, is_enough_room=True)
            if self.tier.is_full:
                break
            self.save(path, deadline)
        self.tier.settle(deadline)

    def save(self, path: Sequence[Node], deadline: float | None = None) -> None:
        """Write what was proven of use on a way through the tree, and is not on disk.

        With a deadline it waits for its turn; else what finds no room in the queue is lost.
        """
        try:
            self._save(path, deadline)
        except Exception:  # for want of memory, say: what memory holds is not worse for it
            logger.exception("a prefix could not be written to disk")

    def _save(self, path: Sequence[Node], deadline: float | None) -> None:
        tokens = [token for node in path for token in node.tokens]
        start, parent, behind = 0, self.tier.root, list[str]()
        for stop in self._stops(path):
            chains = self.tier.chains(tokens[:stop], start, parent)
            chain = max(chains, key=lambda chain: chain[-1].stop if chain else 0)
            if chain and chain[-1].stop == stop and self._is_poor(chain[-1], path):
                chain = chain[:-1]
            behind += (piece.entry.key for piece in chain)
            start = chain[-1].stop if chain else start
            while start < stop:
                if deadline is not None:
                    self.tier.settle(deadline, is_enough_room=True)
                if self.tier.is_full or not self._is_storable:
                    return
                end = min(stop, start + _piece_tokens(path[0], stop - start))
                parent = behind[-1] if behind else self.tier.root
                key = self.tier.key(parent, tokens[start:end])
                self._write(path, start, end, parent, key, behind)
                behind.append(key)
                start = end
            parent = behind[-1]

    def _write(
        self, path: Sequence[Node], start: int, end: int, parent: str, key: str, behind: list[str]
    ) -> None:
        content, num_windowed = self._content(path, start, end)
        entry = Entry(parent, key, end - start, num_windowed, content.state is not None)
        try:
            data = encoded(content)
        except NotStorable as error:
            self._is_storable = False
            logger.warning("prefixes of this model are not written to disk: %s", error)
            return
        computed_s = cost_of(start, end) / self.tokens_per_s
        self.tier.write(entry, list(behind), data, computed_s)

    def _content(self, path: Sequence[Node], start: int, end: int) -> tuple[Content, int]:
        """Of these tokens, and of how many of the last ones windows are in it."""
        parts = [node for node in path if node.start < end and start < node.stop]
        full = [
            joined(
                [
                    sliced(
                        node.full[n], max(0, start - node.start), min(node.stop, end) - node.start
                    )
                    for node in parts
                ]
            )
            for n in range(len(parts[0].full))
        ]
        last = parts[-1]
        first = max(last.held_from, last.start, start)
        windows = []
        if first < end:
            cut = first - last.held_from, end - last.held_from
            windows = [joined([sliced(arrays, *cut)]) for arrays in last.windows]
        state = last.state if last.stop == end else None
        return Content(full, windows, state), max(0, end - first)

    def _stops(self, path: Sequence[Node]) -> list[int]:
        """Where pieces have to end. A checkpoint is at the end of its node."""
        proven = [node for node in path if node.num_proven]
        if not proven:
            return []
        if self._cache.layers.are_full:
            return [proven[-1].start + proven[-1].num_proven]
        whole = [node for node in proven if node.num_proven == len(node.tokens)]
        last = whole[-1].stop if whole else 0
        return [node.stop for node in path if node.stop <= last]

    def _is_poor(self, piece: Piece, path: Sequence[Node]) -> bool:
        """Whether a node of the path that ends with the piece holds more of a checkpoint."""
        node = next((node for node in path if node.stop == piece.stop), None)
        if node is None or self._cache.layers.are_full:
            return False
        has_more = max(node.held_from, piece.start) < piece.held_from
        return has_more or (node.state is not None and not piece.has_state)


def _piece_tokens(node: Node, left: int) -> int:
    """How many of the tokens that are left to be written the next piece has."""
    per_token = sum(a.nbytes // max(1, a.shape[2]) for layer in node.full for a in layer)
    most = min(_PIECE_TOKENS, max(_LEAST_TOKENS, _PIECE_BYTES // max(1, per_token)))
    return min(most, max(_LEAST_TOKENS, left // 2))

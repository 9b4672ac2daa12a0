"""What is on disk of a prompt, found by keyed hashes of its tokens.

A piece's key is a hash of the key it goes on from and of its own tokens, and its file's name has
both keys and its length. So all that is known without the secret is how long texts are.
"""

import hmac
from array import array
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from runtime.disk.entry import Entry

_KEY_DIGITS = 32


@dataclass(frozen=True, slots=True)
class Piece:
    """A file, as a part of a prompt: tokens from `start` on."""

    entry: Entry
    start: int

    @property
    def stop(self) -> int:
        return self.start + self.entry.num_tokens

    @property
    def held_from(self) -> int:
        """From here on windows are held."""
        return self.stop - self.entry.num_windowed

    @property
    def has_state(self) -> bool:
        return self.entry.has_state


@dataclass(frozen=True, slots=True)
class _Way:
    """A piece, and those before it."""

    last: Piece
    before: "_Way | None"

    def pieces(self) -> list[Piece]:
        way: _Way | None = self
        found: list[Piece] = []
        while way is not None:
            found.append(way.last)
            way = way.before
        return found[::-1]


class Index:
    """Of one model in its present form."""

    def __init__(self, secret: bytes, model: bytes) -> None:
        """`model` tells it from all others, and from what it was with other versions."""
        self._secret = secret
        self.root = self._digest(model)
        self._entries: dict[str, Entry] = {}
        self._lengths: dict[str, set[int]] = {}  # of what goes on from a key

    def fill(self, entries: Iterable[Entry]) -> None:
        """These and no others."""
        self._entries.clear()
        self._lengths.clear()
        for entry in entries:
            self.add(entry)

    def add(self, entry: Entry) -> None:
        self._entries[entry.key] = entry
        self._lengths.setdefault(entry.parent, set()).add(entry.num_tokens)

    def key(self, parent: str, tokens: Sequence[int]) -> str:
        """Of these tokens behind what the parent stands for."""
        return self._digest(parent.encode() + array("q", tokens).tobytes())

    def chains(
        self, tokens: Sequence[int], start: int = 0, parent: str | None = None
    ) -> Iterator[list[Piece]]:
        """Every way on from a key along the tokens, to where it ends; at least an empty one."""
        # A way is its last piece and the way before that: long texts have thousands of pieces.
        waiting: list[tuple[int, str, _Way | None]] = [(start, parent or self.root, None)]
        while waiting:
            place, key, way = waiting.pop()
            found = list(self._next(tokens, place, key))
            for piece in found:
                waiting.append((piece.stop, piece.entry.key, _Way(piece, way)))
            if not found:
                yield way.pieces() if way else []

    def _next(self, tokens: Sequence[int], start: int, parent: str) -> Iterator[Piece]:
        """All that go on from a key along the tokens, the shortest first."""
        for length in sorted(self._lengths.get(parent, ())):
            if length <= len(tokens) - start:
                key = self.key(parent, tokens[start : start + length])
                if (entry := self._entries.get(key)) is not None:
                    yield Piece(entry, start)

    def all(self) -> list[Entry]:
        """All of this model's, those that others go on from first."""
        children: dict[str, list[Entry]] = {}
        for entry in self._entries.values():
            children.setdefault(entry.parent, []).append(entry)
        found: list[Entry] = []
        waiting = [self.root]
        while waiting:
            of_key = children.pop(waiting.pop(), [])
            found += of_key
            waiting += (entry.key for entry in of_key)
        return found

    def _digest(self, text: bytes) -> str:
        return hmac.digest(self._secret, text, "sha256").hex()[:_KEY_DIGITS]

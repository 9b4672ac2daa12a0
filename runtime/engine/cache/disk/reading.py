"""Pieces on their way from disk, read and decrypted by a thread while others' rows go on."""

import threading
from collections import deque
from collections.abc import Callable, Sequence

from .index import Piece

_MOST_WAITING = 2  # pieces that are read and not taken yet: they are in memory twice then


class Fetch:
    """Of one row. A thread puts, the main thread takes."""

    def __init__(self, pieces: Sequence[Piece], wake: Callable[[], None]) -> None:
        """`wake` is called whenever there is something to take, or nothing more to come."""
        self.pieces = pieces
        self._wake = wake
        self._room = threading.Semaphore(_MOST_WAITING)
        self._read: deque[tuple[Piece, bytes]] = deque()
        self._is_cancelled = False
        self._is_read = False

    @property
    def is_over(self) -> bool:
        """Nothing is to be taken any more."""
        return (self._is_read or self._is_cancelled) and not self._read

    def take(self) -> tuple[Piece, bytes] | None:
        """A piece and its content; None where none has come yet, or none comes."""
        if not self._read:
            return None
        self._room.release()
        return self._read.popleft()

    def cancel(self) -> None:
        self._is_cancelled = True
        self._read.clear()
        self._room.release()

    def run(self, read: Callable[[Piece], bytes | None]) -> None:
        """In a thread: up to the first piece that cannot be read."""
        try:
            for piece in self.pieces:
                self._room.acquire()
                if self._is_cancelled or (content := read(piece)) is None:
                    return
                self._read.append((piece, content))
                self._wake()
        finally:
            self._is_read = True
            self._wake()

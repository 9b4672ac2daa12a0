"""The second tier of the prefix cache: what memory has no room for, and what outlives the engine.

MLX stays on the main thread: it makes bytes of arrays and arrays of bytes. Threads encrypt and
write, read and decrypt. Whatever goes wrong with the disk costs time only, and is told once.
"""

import logging
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ALL_COMPLETED, FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from functools import partial

from runtime.disk.entry import Entry
from runtime.disk.folder import Folder, Forgotten
from runtime.disk.home_key import derived
from runtime.disk.sealed import NUM_ADDED, Damaged, seal, unseal

from .index import Index, Piece
from .reading import Fetch

logger = logging.getLogger(__name__)

_MOST_UNWRITTEN = 128 << 20  # bytes that wait to be written; what comes then is not kept
_READ_BYTES_PER_S = 2e9  # what is faster to compute than to read is not worth its room


class DiskTier:
    """Of one engine; its methods are the main thread's."""

    def __init__(self, folder: Folder, model: bytes, wake: Callable[[], None]) -> None:
        """`model` is its identity; `wake` is called, by a thread, when a fetch has come further.

        Raises OSError and KeyUnavailable.
        """
        key = folder.open()
        self._folder = folder
        self._secret = derived(key, "content")
        self._wake = wake
        self._index = Index(derived(key, "names"), model)
        self._version = -1
        self._counted = -1, 0  # the folder's version, and its bytes
        self._lock = threading.Lock()
        self._unwritten: dict[Entry, int] = {}  # and their bytes
        self._writes: set[Future[None]] = set()
        self._reader = ThreadPoolExecutor(1, "disk-reader")
        self._writer = ThreadPoolExecutor(1, "disk-writer")
        self._is_off = False
        self._told: set[str] = set()

    @property
    def num_bytes(self) -> int:
        """Of all models of the home."""
        try:
            if (version := self._folder.version) != self._counted[0]:
                self._counted = version, self._folder.num_bytes
        except OSError:
            return 0
        return self._counted[1]

    @property
    def limit_bytes(self) -> int:
        return self._folder.limit_bytes

    @property
    def written_today(self) -> int:
        """Bytes, for all models of the home."""
        return self._folder.written_today

    # --- what is there --------------------------------------------------------------------------

    def chains(
        self, tokens: Sequence[int], start: int = 0, parent: str | None = None
    ) -> list[list[Piece]]:
        """Every way on along the tokens; see `Index`."""
        if self._is_off:
            return [[]]
        self._refresh()
        return list(self._index.chains(tokens, start, parent))

    def key(self, parent: str, tokens: Sequence[int]) -> str:
        return self._index.key(parent, tokens)

    @property
    def root(self) -> str:
        """The key that stands for no tokens."""
        return self._index.root

    def fetch(self, pieces: Sequence[Piece]) -> Fetch:
        """Have these read, one after the other."""
        fetch = Fetch(pieces, self._wake)
        self._reader.submit(fetch.run, self._read)
        return fetch

    def _refresh(self) -> None:
        """Look again, if files have come or gone, whoever did it."""
        with self._lock:  # before the folder is listed: what is written meanwhile is in both
            unwritten = list(self._unwritten)
        try:
            if (version := self._folder.version) == self._version:
                return
            entries = self._folder.entries()
        except OSError as error:
            self._tell("cannot be read", error)
            entries, version = [], -1
        self._index.fill([*entries, *unwritten])
        self._version = version

    def _read(self, piece: Piece) -> bytes | None:
        """In a thread. What is damaged is removed."""
        entry = piece.entry
        try:
            content = unseal(self._secret, entry.name, self._folder.read(entry))
            self._folder.touch(entry)
            return content
        except FileNotFoundError:  # not written yet, or another engine removed it
            return None
        except Damaged:
            self.drop(piece)
        except OSError as error:
            self._tell("cannot be read", error)
        return None

    def drop(self, piece: Piece) -> None:
        """It is of no use: remove it."""
        logger.warning("a damaged file of the disk cache was removed")
        try:
            self._folder.remove([piece.entry])
        except OSError as error:
            self._tell("cannot be cleaned", error)

    # --- what comes -----------------------------------------------------------------------------

    @property
    def is_full(self) -> bool:
        """Whether too much waits to be written."""
        with self._lock:
            return sum(self._unwritten.values()) > _MOST_UNWRITTEN

    def write(self, entry: Entry, behind: Sequence[str], content: bytes, computed_s: float) -> None:
        """Have a piece written, which took so long to compute; `behind` are those before it."""
        num_bytes = len(content) + NUM_ADDED
        saved_s = computed_s - num_bytes / _READ_BYTES_PER_S
        with self._lock:
            if entry in self._unwritten:
                return
            self._unwritten[entry] = num_bytes
        self._index.add(entry)
        write = partial(self._write, entry, behind, content, saved_s)
        future = self._writer.submit(write)
        self._writes.add(future)
        future.add_done_callback(self._writes.discard)

    def _write(self, entry: Entry, behind: Sequence[str], content: bytes, saved_s: float) -> None:
        """In a thread."""
        try:
            if not self._is_off:
                seal_it = partial(seal, self._secret, entry.name, content)
                num_bytes = len(content) + NUM_ADDED
                self._folder.put(entry, behind, num_bytes, saved_s, seal_it)
        except Forgotten:
            self._is_off = True
            logger.warning("the disk cache was forgotten: this engine writes no more")
        except OSError as error:
            self._tell("cannot be written", error)
        finally:
            with self._lock:
                self._unwritten.pop(entry, None)
            self._version = -1  # what was not taken is not there

    def forget(self) -> None:
        """Remove all of this model's, and what was to be written."""
        for future in list(self._writes):
            future.cancel()
        wait(list(self._writes))  # the one that is being written
        with self._lock:
            self._unwritten.clear()
        self._version = -1
        self._refresh()
        try:
            self._folder.remove(self._index.all())
        except OSError as error:
            self._tell("cannot be cleaned", error)

    def settle(self, deadline: float, *, is_enough_room: bool = False) -> None:
        """Wait until all is written, or there is room for more, or until a time of the monotonic
        clock.
        """
        how = FIRST_COMPLETED if is_enough_room else ALL_COMPLETED
        while self._writes and not (is_enough_room and not self.is_full):
            left_s = deadline - time.monotonic()
            if left_s <= 0:
                return
            wait(list(self._writes), left_s, how)

    def close(self) -> None:
        """Its threads end when they have done what they have begun."""
        self._reader.shutdown(wait=False, cancel_futures=True)
        self._writer.shutdown(wait=False, cancel_futures=True)

    def _tell(self, what: str, error: OSError) -> None:
        """Once, and without names of files."""
        if what not in self._told:
            self._told.add(what)
            logger.warning("the disk cache %s: %s", what, error.strerror)

"""The end of a log file, and what comes after it."""

import itertools
import time
from collections import deque
from collections.abc import Iterator
from pathlib import Path

from scripts.log_file import kept_before

_LOOK_S = 0.2


def last_lines(path: Path, count: int) -> list[bytes]:
    """Of the log, and of what was set aside before it. Raises OSError if there is no log."""
    with path.open("rb") as log:
        last = deque(log, count)
    before: list[bytes] = []
    if len(last) < count:
        try:
            with kept_before(path, 1).open("rb") as older:
                before = list(deque(older, count - len(last)))
        except FileNotFoundError:
            pass
    return list(itertools.chain(before, last))


def following(path: Path, position: int) -> Iterator[bytes]:
    """What is written from this position on, for ever; b"" where there is nothing new.

    When the log was emptied meanwhile, the rest of it is where it was set aside; when it was
    removed by hand, there is no rest.
    """
    while True:
        if not path.exists():
            position = 0
        elif path.stat().st_size < position:
            yield _from(kept_before(path, 1), position)
            position = 0
        data = _from(path, position)
        position += len(data)
        yield data


def follow(path: Path, position: int) -> Iterator[bytes]:
    """The same, with a pause where there is nothing new."""
    for data in following(path, position):
        if data:
            yield data
        else:
            time.sleep(_LOOK_S)


def _from(path: Path, position: int) -> bytes:
    try:
        with path.open("rb") as file:
            file.seek(position)
            return file.read()
    except FileNotFoundError:
        return b""

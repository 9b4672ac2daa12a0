"""The end of a log file, and what comes after it."""

import time
from collections import deque
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from scripts.log_file import NUM_KEPT, kept_before

_LOOK_S = 0.2
_STARTS = b" starts, pid "  # the first line of `serve --log-file`


class End(NamedTuple):
    """The last lines, and the position behind them."""

    lines: list[bytes]
    position: int


def end(path: Path, count: int) -> End:
    """Of the log, and of what was set aside before it. Raises OSError if there is no log."""
    with path.open("rb") as log:
        lines = list(deque(log, count))
        position = log.tell()
    for number in range(1, NUM_KEPT + 1):
        if len(lines) >= count:
            break
        with suppress(FileNotFoundError), kept_before(path, number).open("rb") as older:
            lines = [*deque(older, count - len(lines)), *lines]
    return End(lines, position)


def last_words(path: Path) -> str:
    """The last line of a server that ended; the one that was started after it has said no more
    than that it starts.
    """
    try:
        lines = end(path, 20).lines
    except OSError:
        return "nothing"
    said = [line.decode(errors="replace").strip() for line in lines if _STARTS not in line]
    return said[-1] if said else "nothing"


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

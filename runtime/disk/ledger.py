"""How much was written today, and whether something is worth being written at all.

A disk wears out by what is written, so a day has a budget of bytes for all models of a home. The
more of it is used, the dearer the rest: what a byte has to save then is that share of what bytes
saved on average, of all that was offered this day.
"""

import contextlib
import os
import time
from collections.abc import Callable
from pathlib import Path

import msgspec


class Ledger(msgspec.Struct):
    """Of one day. Read and written under the folder's lock."""

    day: str = ""
    written_bytes: int = 0
    offered_bytes: int = 0
    offered_s: float = 0.0  # that all this would save

    def takes(self, num_bytes: int, saved_s: float, budget_bytes: int) -> bool:
        """Whether so many bytes are to be written, which are expected to save so much time."""
        self.offered_bytes += num_bytes
        self.offered_s += saved_s
        if saved_s <= 0 or self.written_bytes + num_bytes > budget_bytes:
            return False
        average = self.offered_s / self.offered_bytes
        return saved_s / num_bytes >= average * self.written_bytes / budget_bytes


def read(path: Path, clock: Callable[[], float] = time.time) -> Ledger:
    """Today's; a new one where there is none that can be read."""
    today = time.strftime("%Y-%m-%d", time.localtime(clock()))
    with contextlib.suppress(OSError, ValueError):
        ledger = msgspec.json.decode(path.read_bytes(), type=Ledger)
        if ledger.day == today:
            return ledger
    return Ledger(today)


def write(path: Path, ledger: Ledger) -> None:
    """Raises OSError."""
    beside = path.with_suffix(".new")
    descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with open(descriptor, "wb") as file:
        file.write(msgspec.json.encode(ledger))
    beside.rename(path)

"""A file elsewhere, how patiently it is fetched, and how an attempt at it can end.

`fetch` and `transfer` share it. It is light: settings are made where nothing is ever downloaded.
"""

from collections.abc import Callable
from dataclasses import dataclass, field

RETRIED = {408, 425, 429, 500, 502, 503, 504}  # statuses that may be another one in a moment

OnProgress = Callable[[int, int | None], None]  # bytes done, bytes in all if known


@dataclass(frozen=True, slots=True)
class Remote:
    """A file to fetch, and what is known of it beforehand."""

    url: str
    size: int | None = None
    sha256: str | None = None
    token: str | None = field(default=None, repr=False)  # for this URL's own host only


@dataclass(frozen=True, slots=True)
class DownloadSettings:
    """How patient a download is, and where it may go."""

    allowed_private_hosts: tuple[str, ...] = ()  # "host" or "host:port"
    stall_s: float = 30  # without a byte, or without min_bytes_per_s on average
    min_bytes_per_s: int = 100
    max_attempts: int = 5  # in a row that brought nothing worth mentioning
    backoff_s: float = 1  # before the second attempt, then doubled
    max_wait_s: float = 60  # longer than that no server keeps us waiting
    max_bytes: int = 1 << 40
    reserve_bytes: int = 256 << 20  # of the disk, left free
    write_bytes: int = 1 << 20  # written at once
    sync_bytes: int = 4 << 20  # what a crash may cost, with write_bytes
    progress_bytes: int = 8 << 20  # an attempt that brought as much was not in vain


class Interrupted(Exception):
    """An attempt broke; the next may go on from there."""

    def __init__(self, reason: str, retry_after_s: float | None = None) -> None:
        super().__init__(reason)
        self.retry_after_s = retry_after_s


class Restarted(Exception):
    """What has arrived was thrown away: the source has become another, or had no more of it."""

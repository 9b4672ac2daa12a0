"""A file to download, the settings for it, and how an attempt can end.

Shared by `fetch` and `transfer`. Imports no httpx: settings are made also where nothing is fetched.
"""

from collections.abc import Callable
from dataclasses import dataclass, field

from .proxies import Proxies

RETRIED = {408, 425, 429, 500, 502, 503, 504}  # statuses that may pass

OnProgress = Callable[[int, int | None], None]  # bytes done, bytes in all if known


@dataclass(frozen=True, slots=True)
class Remote:
    """A file to fetch, and what is known of it beforehand."""

    url: str
    size: int | None = None
    sha256: str | None = None
    token: str | None = field(default=None, repr=False)  # for this URL's own host only
    is_of_hub: bool = False  # its server, and where that redirects to, is the operator's choice


@dataclass(frozen=True, slots=True)
class DownloadSettings:
    """How patient a download is, and where it may connect to."""

    allowed_private_hosts: tuple[str, ...] = ()  # "host" or "host:port"
    proxies: Proxies = Proxies()
    stall_s: float = 30  # an attempt ends after so long with too few bytes
    min_bytes_per_s: int = 100
    max_attempts: int = 5  # in a row that brought less than progress_bytes
    backoff_s: float = 1  # before the second attempt, then doubled
    max_wait_s: float = 60  # between attempts; the download fails if a server asks for more
    max_bytes: int = 1 << 40
    reserve_bytes: int = 256 << 20  # of the disk, left free
    write_bytes: int = 1 << 20  # collected, then written at once
    sync_bytes: int = 4 << 20  # written between two syncs; a crash costs little more
    progress_bytes: int = 8 << 20  # an attempt that brings as much sets the count back


class Interrupted(Exception):
    """An attempt broke; the next may go on from there."""

    def __init__(self, reason: str, retry_after_s: float | None = None) -> None:
        super().__init__(reason)
        self.retry_after_s = retry_after_s


class Restarted(Exception):
    """What had arrived was thrown away, for it does not fit what the server has now."""

"""What the routes work with, in one value."""

import time
from dataclasses import dataclass, field

from registry.jobs.jobs import Jobs
from registry.store.store import Store
from runtime.pool import ModelPool

from .archive.responses import Archive
from .settings import WebSettings
from .transport.resumable import ResumableStreams
from .transport.socket import Sockets


@dataclass(frozen=True, slots=True)
class Services:
    """Made once, by `server`."""

    settings: WebSettings
    pool: ModelPool
    store: Store
    jobs: Jobs
    sockets: Sockets
    streams: ResumableStreams
    archive: Archive
    started_at: float = field(default_factory=time.time)  # unix time, for people
    started: float = field(default_factory=time.monotonic)  # for the uptime: clocks are set

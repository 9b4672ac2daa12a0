"""`serve`: the port, Hypercorn against its defaults, and an orderly end."""

import asyncio
import errno
import logging
import resource
import socket
from collections.abc import Callable, Coroutine
from typing import Any

from hypercorn.asyncio.run import worker_serve
from hypercorn.config import Config
from hypercorn.config import Sockets as Listeners
from hypercorn.utils import wrap_app

from registry.jobs.jobs import Jobs
from registry.store.store import Store
from runtime.pool import ModelPool
from runtime.power.wake import wakes
from runtime.processes.sealed import NotSealed
from runtime.processes.trial import why_not_sealed
from web.door.guard import Guard
from web.transport.socket import Sockets

from .app import create_app
from .archive.responses import Archive
from .ending import Ending
from .services import Services
from .serving import loadable
from .settings import WebSettings, check_bind, longest_end_s
from .transport import hypercorn_patches, websocket_stream
from .transport.connections import Limits
from .transport.resumable import ResumableStreams

logger = logging.getLogger(__name__)

_MAX_QUEUED = 1024  # clients that are not accepted yet; systems allow less, macOS 128
_SPARE_DESCRIPTORS = 256  # for children, files, downloads, and clients that are being refused


async def serve(
    settings: WebSettings,
    pool: ModelPool,
    store: Store,
    jobs: Jobs,
    *,
    on_ready: Callable[[str], None],
) -> None:
    """Serve until SIGTERM or SIGINT, then drain; a second signal ends everything now.

    Raises OSError when the port cannot be had, ValueError for a key too weak for the address,
    NotSealed where engines could reach a network.
    """
    check_bind(settings)
    ending = Ending(settings.drain_timeout_s)
    ending.watch_signals()
    # Before the port is had: who waits for it to be takes the server for started.
    if (reason := await why_not_sealed()) is not None:
        raise NotSealed(reason)
    listener = _listen(settings)
    host, port = listener.getsockname()[:2]
    url = f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
    connections = hypercorn_patches.apply(_limits(settings))
    closed = asyncio.Event()
    sockets = Sockets(settings)
    streams = ResumableStreams(settings.resume_grace_s)
    archive = Archive(store.home, settings.archive)
    services = Services(settings, pool, store, jobs, sockets, streams, archive)
    await pool.start()
    await jobs.resume()
    app: Any = create_app(services)
    guard: Any = Guard(app, settings)
    config = _config(settings)
    server = asyncio.create_task(
        worker_serve(
            wrap_app(guard, config.wsgi_max_body_size, "asgi"),
            config,
            sockets=Listeners([], [listener], []),
            shutdown_trigger=closed.wait,
        )
    )
    preload = asyncio.create_task(_preload(settings, pool, store))
    waking = asyncio.create_task(_look_after_wakes(pool))
    try:
        on_ready(url)
        await _until(ending.has_begun.wait(), server)
        preload.cancel()
        await _until(ending.drain(services), server)
    finally:
        preload.cancel()
        waking.cancel()
        await ending.close(services)
        closed.set()
        await ending.end_connections(connections, server)
        await ending.close_archive(services)


def _limits(settings: WebSettings) -> Limits:
    """As many connections as are wanted, but never all file descriptors: others need some too."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = settings.max_connections + _SPARE_DESCRIPTORS
    if soft < wanted and (hard == resource.RLIM_INFINITY or hard > soft):
        soft = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    return Limits(
        max_connections=min(settings.max_connections, max(soft - _SPARE_DESCRIPTORS, soft // 2)),
        header_timeout_s=settings.header_timeout_s,
        keep_alive_s=settings.idle_timeout_s,
        stall_limit_s=settings.stall_limit_s,
    )


class Listener(socket.socket):
    """The port, with what asyncio's loop of accepts leaves out.

    A client for whom the queue has no room tries again after a whole second; asyncio has one
    number for the queue's length and for how many it accepts at a time, before anybody counts
    them. And without a free file descriptor it would try, and log, that many times in a row
    before it waits: here once.
    """

    _is_exhausted = False

    def listen(self, backlog: int = 0, /) -> None:
        super().listen(_MAX_QUEUED)

    def accept(self) -> tuple[socket.socket, Any]:
        """Raises OSError without a free file descriptor, and then once as if nobody waited."""
        if self._is_exhausted:
            self._is_exhausted = False
            raise BlockingIOError
        try:
            return super().accept()
        except OSError as error:
            self._is_exhausted = error.errno in (errno.EMFILE, errno.ENFILE)
            raise


def _listen(settings: WebSettings) -> Listener:
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    opened = socket.create_server((settings.host, settings.port), family=family)
    listener = Listener(fileno=opened.detach())
    listener.setblocking(False)
    listener.listen()
    return listener


def _config(settings: WebSettings) -> Config:
    config = Config()
    config.backlog = 32  # so many are accepted at a time
    config.include_server_header = False
    config.errorlog = None
    config.accesslog = None
    config.graceful_timeout = longest_end_s(settings.drain_timeout_s)  # `ending` ends them before
    config.h11_max_incomplete_size = 32 << 10
    config.websocket_max_message_size = settings.max_message_bytes
    config.websocket_ping_interval = settings.ping_interval_s
    return config


async def _until(wait: Coroutine[Any, Any, Any], server: "asyncio.Task[None]") -> None:
    """Wait, unless the server ends before; then raise what ended it."""
    task = asyncio.ensure_future(wait)
    await asyncio.wait({task, server}, return_when=asyncio.FIRST_COMPLETED)
    task.cancel()
    if server.done():
        server.result()


async def _look_after_wakes(pool: ModelPool) -> None:
    """After a sleep: whoever is gone meanwhile, a client or an engine, is not waited for."""
    async for away_s in wakes():
        logger.info(
            "awake again after %.0f s: engines and sockets are asked if they are, too", away_s
        )
        websocket_stream.doubt_all()
        try:
            await pool.probe()
        except Exception:  # the next sleep comes, too
            logger.exception("engines could not be asked")


async def _preload(settings: WebSettings, pool: ModelPool, store: Store) -> None:
    for model_id in settings.preload:
        try:
            async for _ in pool.residency.load(loadable(store, model_id)):
                pass
        except Exception as error:  # a server with one model less is better than none
            logger.error("preload of %s failed: %s", model_id, error)

"""Hypercorn with our parts in it, as `web.server` runs it, around an application of the test's."""

import asyncio
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

from hypercorn.asyncio import serve
from hypercorn.config import Config

from web.transport import hypercorn_patches
from web.transport.connections import Limits

App = Callable[[Any, Any, Any], Awaitable[None]]
PING_INTERVAL_S = 0.2


@asynccontextmanager
async def served(
    app: App, limits: Limits, ended: asyncio.Event | None = None
) -> AsyncIterator[int]:
    """On a free port, until the end of the block, or of what is set."""
    hypercorn_patches.apply(limits)
    listener = socket.create_server(("127.0.0.1", 0))
    config = Config()
    config.errorlog = None
    config.websocket_ping_interval = PING_INTERVAL_S
    config.websocket_max_message_size = 1000
    config.graceful_timeout = 1
    port: int = listener.getsockname()[1]
    config.bind = [f"fd://{listener.detach()}"]
    ended = ended or asyncio.Event()
    running: Any = app
    task = asyncio.create_task(serve(running, config, shutdown_trigger=ended.wait, mode="asgi"))
    try:
        yield port
    finally:
        ended.set()
        await task

"""Our parts in the place of Hypercorn 0.18's. A test pins the version they fit.

Each says at its head what Hypercorn's own gets wrong: `connection` (a TCP connection), `http1` (its
requests), `websocket_stream` (a WebSocket).
"""

from functools import partial

import hypercorn.asyncio.run as hypercorn_run
import hypercorn.protocol.h11 as hypercorn_h11

from .connection import Connection
from .connections import Connections, Limits
from .http1 import HttpStream
from .websocket_stream import WebSocketStream

FITS = "0.18"


def apply(limits: Limits) -> Connections:
    """Patch Hypercorn in this process, and return the connections of the server that is run next.

    May be called again with other limits.
    """
    connections = Connections(limits)
    hypercorn_h11.HTTPStream = HttpStream  # type: ignore[attr-defined, assignment]
    hypercorn_h11.WSStream = WebSocketStream  # type: ignore[attr-defined, assignment]
    connection = partial(Connection, connections)
    hypercorn_run.TCPServer = connection  # type: ignore[attr-defined, assignment]
    return connections

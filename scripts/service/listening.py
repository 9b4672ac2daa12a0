"""Where a process listens, as the system knows it."""

import psutil

_EVERYWHERE = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # an address to listen on, and none to ask


def url(pid: int) -> str | None:
    """Where to ask the server that this process is; None while it does not listen.

    A process of the same user tells its own connections, on macOS too.
    """
    try:
        connections = psutil.Process(pid).net_connections("tcp")
    except psutil.Error:
        return None
    for connection in connections:
        if connection.status == psutil.CONN_LISTEN:
            host = _EVERYWHERE.get(connection.laddr.ip, connection.laddr.ip)
            return f"http://{f'[{host}]' if ':' in host else host}:{connection.laddr.port}"
    return None

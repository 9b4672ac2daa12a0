"""Where a process listens, as the system knows it."""

import psutil

# An address to listen on, and none to ask. On :: there is no IPv4 (socket.create_server).
_EVERYWHERE = {"//0.0.0.0:": "//127.0.0.1:", "//[::]:": "//[::1]:"}


def askable(url: str) -> str:
    """Where a client of this machine asks a server that listens there."""
    for everywhere, here in _EVERYWHERE.items():
        url = url.replace(everywhere, here)
    return url


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
            host = connection.laddr.ip
            return askable(f"http://{f'[{host}]' if ':' in host else host}:{connection.laddr.port}")
    return None

"""The ends of a server's connections that are open now, as the system tells them."""

import contextlib
import socket
from collections.abc import Iterable

import msgspec
import psutil

from runtime.processes.destinations import is_loopback

_DNS = 53


class Open(msgspec.Struct, frozen=True):
    """A connection to another machine."""

    pid: int
    ip: str
    port: int


class Unseen(Exception):
    """The system does not tell who is connected to whom."""


def open_now(pids: Iterable[int], server_port: int) -> list[Open]:
    """Beyond loopback; without clients, who came to `server_port` themselves. Raises Unseen."""
    found = []
    for pid in pids:
        with contextlib.suppress(psutil.NoSuchProcess):
            try:
                connections = psutil.Process(pid).net_connections("inet")
            except psutil.AccessDenied as error:
                raise Unseen(f"process {pid} is another user's") from error
            for one in connections:
                is_client = one.laddr and one.laddr.port == server_port
                if one.raddr and not is_client and not is_loopback(one.raddr.ip):
                    if not _is_resolver(one.type, one.raddr.port):
                        found.append(Open(pid, one.raddr.ip, one.raddr.port))
    return found


def _is_resolver(kind: int, port: int) -> bool:
    """The C library asks for a name there; which names were asked for is told by the server."""
    return kind == socket.SOCK_DGRAM and port == _DNS

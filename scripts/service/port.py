"""Who holds a port of this machine."""

import errno
import socket
import subprocess
from typing import NamedTuple

import psutil

from runtime.memory import darwin

# macOS tells connections of all processes to root alone, and lsof is allowed to look.
# Contract, by lsof(8): `-F pc` prints a line `pPID` and a line `cNAME` for each
# process, `+c0` the whole name.
lsof = "/usr/sbin/lsof"
_LIMIT_S = 10.0


class Holder(NamedTuple):
    pid: int
    name: str  # of its program; never its arguments, which may have a key among them


def is_free(host: str, port: int) -> bool:
    """Whether a server could listen there now. Raises OSError for an address that is not ours."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        socket.create_server((host, port), family=family).close()
    except OSError as error:
        if error.errno != errno.EADDRINUSE:
            raise
        return False
    return True


def holder(port: int) -> Holder | None:
    """A process that listens there; None if none does, or it is another user's."""
    try:
        return _by_lsof(port) if darwin.is_here() else _by_connections(port)
    except (OSError, psutil.Error, subprocess.SubprocessError):
        return None


def held(port: int) -> str:
    """In words, who holds it."""
    found = holder(port)
    if found is None:
        return "the port is held by a process of another user"
    return f"the port is held by {found.name} (pid {found.pid})"


def _by_connections(port: int) -> Holder | None:
    for connection in psutil.net_connections("tcp"):
        if connection.status != psutil.CONN_LISTEN or connection.pid is None:
            continue
        if connection.laddr and connection.laddr.port == port:
            return Holder(connection.pid, psutil.Process(connection.pid).name())
    return None


def _by_lsof(port: int) -> Holder | None:
    command = [lsof, "-nP", f"-iTCP:{port}", "-sTCP:LISTEN", "+c0", "-F", "pc"]
    told = subprocess.run(command, capture_output=True, text=True, timeout=_LIMIT_S).stdout
    fields = {line[0]: line[1:] for line in reversed(told.splitlines()) if line}
    if "p" not in fields:
        return None
    return Holder(int(fields["p"]), fields.get("c", "a process"))

"""The child processes of a process, for tests that count or kill them; and one that listens."""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

import psutil

_LISTENS = """
import socket, sys
host, port = sys.argv[1], 0
if host:
    listener = socket.create_server((host, 0), family=socket.getaddrinfo(host, 0)[0][0])
    port = listener.getsockname()[1]
print(port, flush=True)
sys.stdin.read()
"""

servers: set[int] = set()  # never counted, nor what they started: many tests may share one


def descendants(pid: int | None = None) -> list[psutil.Process]:
    """All, zombies too, parents first."""
    try:
        children = psutil.Process(pid).children()
    except psutil.NoSuchProcess:
        return []
    ours = [child for child in children if child.pid not in servers]
    return [process for child in ours for process in (child, *descendants(child.pid))]


def children(word: str = "", pid: int | None = None) -> list[psutil.Process]:
    """Those alive, of this process or of `pid`, that have `word` as a part of their command.

    Without the children of these: MLX compiles in one, which is a copy of its parent for a moment.
    """
    found: dict[int, psutil.Process] = {}
    for child in descendants(pid):
        try:
            if word in " ".join(child.cmdline()) and (not word or child.ppid() not in found):
                found[child.pid] = child
        except psutil.NoSuchProcess:  # ended meanwhile, or a zombie
            continue
    return list(found.values())


class Listening(NamedTuple):
    """A process, and its port."""

    pid: int
    port: int


@contextmanager
def listening(host: str = "") -> Iterator[Listening]:
    """A process that listens at this address and at no other; without one nowhere.

    The process of the tests will not do for this: other tests have threads that listen in it.
    """
    command = [sys.executable, "-c", _LISTENS, host]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        yield Listening(process.pid, int(process.stdout.readline()))

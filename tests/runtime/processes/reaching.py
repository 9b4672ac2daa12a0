"""A child process of the tests that tries every way to somebody: `PORT` on loopback, the socket at
`PATH`, a name, a socket that its parent has.

It prints as JSON what became of each: "reached", or the error's name.
"""

import ctypes
import json
import os
import socket
import subprocess
import sys
from collections.abc import Callable

_IO_URING_SETUP, _PIDFD_GETFD = 425, 438


def _tcp(port: int, _: str) -> None:
    socket.create_connection(("127.0.0.1", port)).close()


def _udp(port: int, _: str) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as opened:
        opened.sendto(b"hello", ("127.0.0.1", port))


def _udp6(port: int, _: str) -> None:
    with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as opened:
        opened.connect(("::1", port))


def _unix(_: int, path: str) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as opened:
        opened.sendto(b"hello", path)


def _pair(_: int, path: str) -> None:
    """One end of a pair that can be sent to others than the other end."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    with ours, theirs:
        ours.sendto(b"hello", path)


def _netlink(_: int, __: str) -> None:
    socket.socket(socket.AF_NETLINK, socket.SOCK_RAW).close()


def _name(_: int, __: str) -> None:
    socket.getaddrinfo("example.com", 443)


def _ring(_: int, __: str) -> None:
    """A ring could open sockets in the kernel, past a filter of system calls."""
    os.close(_called(_IO_URING_SETUP, 1, ctypes.create_string_buffer(256)))


def _parent(_: int, __: str) -> None:
    """Its parent's sockets are no secret to who may ask for them."""
    os.close(_called(_PIDFD_GETFD, os.pidfd_open(os.getppid()), 0, 0))


def _called(*arguments: object) -> int:
    library = ctypes.CDLL(None, use_errno=True)
    if (told := int(library.syscall(*arguments))) < 0:
        raise OSError(ctypes.get_errno(), "syscall")
    return told


def _child(port: int, _: str) -> None:
    """A program that it starts has no more than it has."""
    reach = f"import socket; socket.create_connection(('127.0.0.1', {port})).close()"
    subprocess.run([sys.executable, "-c", reach], check=True, stderr=subprocess.DEVNULL)


def _outcome(way: Callable[[int, str], None], port: int, path: str) -> str:
    try:
        way(port, path)
    except (OSError, subprocess.CalledProcessError) as error:
        return type(error).__name__
    return "reached"


if __name__ == "__main__":
    ways = {"tcp": _tcp, "udp": _udp, "udp6": _udp6, "unix": _unix, "pair": _pair, "name": _name}
    if sys.platform == "linux":
        ways |= {"netlink": _netlink, "ring": _ring, "parent": _parent}
    ways |= {"child": _child}
    port, path = int(sys.argv[1]), sys.argv[2]
    print(json.dumps({name: _outcome(way, port, path) for name, way in ways.items()}))

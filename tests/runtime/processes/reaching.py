"""A child process of the tests that tries every way to somebody: `PORT` on loopback, or a name.

It prints as JSON what became of each: "reached", or the error's name.
"""

import ctypes
import json
import os
import platform
import socket
import subprocess
import sys
from collections.abc import Callable

_IO_URING_SETUP = 425


def _tcp(port: int) -> None:
    socket.create_connection(("127.0.0.1", port)).close()


def _tcp6(port: int) -> None:
    socket.create_connection(("::1", port)).close()


def _udp(port: int) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as opened:
        opened.sendto(b"hello", ("127.0.0.1", port))


def _unix(_: int) -> None:
    socket.socket(socket.AF_UNIX).close()


def _raw(_: int) -> None:
    socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP).close()


def _netlink(_: int) -> None:
    socket.socket(socket.AF_NETLINK, socket.SOCK_RAW).close()


def _name(_: int) -> None:
    socket.getaddrinfo("example.com", 443)


def _ring(_: int) -> None:
    """A ring could open sockets in the kernel, past a filter of system calls."""
    library = ctypes.CDLL(None, use_errno=True)
    ring = library.syscall(_IO_URING_SETUP, 1, ctypes.create_string_buffer(256))
    if ring < 0:
        raise OSError(ctypes.get_errno(), "io_uring_setup")
    os.close(ring)


def _child(port: int) -> None:
    """A program that it starts has no more than it has."""
    reach = f"import socket; socket.create_connection(('127.0.0.1', {port})).close()"
    subprocess.run([sys.executable, "-c", reach], check=True, stderr=subprocess.DEVNULL)


def _outcome(way: Callable[[int], None], port: int) -> str:
    try:
        way(port)
    except (OSError, subprocess.CalledProcessError) as error:
        return type(error).__name__
    return "reached"


if __name__ == "__main__":
    ways = {"tcp": _tcp, "tcp6": _tcp6, "udp": _udp, "unix": _unix, "raw": _raw, "name": _name}
    if platform.system() == "Linux":
        ways |= {"netlink": _netlink, "ring": _ring}
    ways |= {"child": _child}
    print(json.dumps({name: _outcome(way, int(sys.argv[1])) for name, way in ways.items()}))

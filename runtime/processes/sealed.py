"""A child without a network: `python -m runtime.processes.sealed MODULE ARGUMENTS…`.

The child is sealed before anything of MODULE is imported, so that no library of it can tell
anybody anything; `spawn` starts all children this way but the one that downloads. What a child
needs to talk to its parent is open already. It does not begin where it could reach anybody: that
is tried.
"""

import contextlib
import errno
import os
import runpy
import socket
import sys

from . import sandbox, seccomp

UNSEALED = "MLX_EDGE_UNSEALED"  # in the environment: who cannot have it sealed may have it open
WAY_OUT = (
    "To serve all the same, with engines that could reach somebody, start the server with "
    f"{UNSEALED}=1."
)
NOT_SEALED = 77  # the exit status of a child that could reach a network; EX_NOPERM of sysexits.h


class NotSealed(Exception):
    """Children cannot be kept from the network here; the text says why."""


def command(module: str) -> tuple[str, ...]:
    """How a module is started sealed, without its arguments."""
    python = (sys.executable, "-P", "-m")
    if os.environ.get(UNSEALED) == "1":
        return (*python, module)
    before = sandbox.command() if sys.platform == "darwin" else ()
    return (*before, *python, "runtime.processes.sealed", module)


def is_sealed(pid: int, parent: int) -> bool | None:
    """Whether a child has less of a network than its parent; None where nobody can tell."""
    if sys.platform == "darwin":
        return sandbox.is_sandboxed(pid)
    theirs, parents = seccomp.num_filters(pid), seccomp.num_filters(parent)
    return None if theirs is None or parents is None else theirs > parents


def reaches_a_network() -> bool:
    """Whether this process could send to anybody. Nothing is sent: UDP has no handshake."""
    try:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
            probe.connect(("127.0.0.1", 9))
    except OSError as error:
        return error.errno not in (errno.EACCES, errno.EPERM)
    return True


def main() -> None:
    """Seal this process, make sure, and become the module."""
    if sys.platform == "linux":
        with contextlib.suppress(OSError):
            seccomp.open_no_sockets()
    if reaches_a_network():
        print("this process should have no network, and has one", file=sys.stderr)
        sys.exit(NOT_SEALED)
    if len(sys.argv) == 1:  # to be sealed was all
        return
    del sys.argv[0]  # the module finds what it would find without us
    runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()

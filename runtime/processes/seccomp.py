"""A process that opens no socket any more, on Linux: a seccomp filter, which the kernel enforces.

Sources: seccomp(2), prctl(2), linux/seccomp.h, linux/bpf_common.h, linux/audit.h, asm/unistd.h. A
filter cannot be taken off again, needs no rights, and holds for all that the process starts.
"""

import ctypes
import errno
import os
import platform
import struct
from pathlib import Path

_PR_SET_NO_NEW_PRIVS, _PR_SET_SECCOMP, _MODE_FILTER = 38, 22, 2
_LOAD, _IF_EQUAL, _IF_AT_LEAST, _RETURN = 0x20, 0x15, 0x35, 0x06  # of a word, with a constant
_ALLOW, _FAIL, _KILL = 0x7FFF0000, 0x00050000, 0x80000000
_CALL, _ARCHITECTURE = 0, 4  # where struct seccomp_data has them

# By machine: AUDIT_ARCH_…, and the numbers of socket(2). The same program can call a 64-bit kernel
# in 32 bits too, where numbers differ: nobody here does, so that is the end of the process.
_MACHINES = {"x86_64": (0xC000003E, 41), "aarch64": (0xC00000B7, 198)}
_IO_URING_SETUP = 425  # everywhere; a ring opens sockets past the filter
_X32 = 0x40000000  # x86_64 with short pointers: the same architecture, other numbers


class _Program(ctypes.Structure):
    """struct sock_fprog."""

    _fields_ = (("length", ctypes.c_ushort), ("instructions", ctypes.c_char_p))


def open_no_sockets() -> None:
    """From now on socket(2) fails with EACCES in this process and in all that it starts.

    What is open stays open, and pairs of sockets can be made: they lead nowhere else. To be called
    while there is one thread. Raises OSError where the kernel has no filters, or the machine is
    none that is known here.
    """
    machine = _MACHINES.get(platform.machine())
    if machine is None:
        raise OSError(errno.ENOSYS, f"no filter is known for {platform.machine()}")
    instructions = _instructions(*machine)
    program = _Program(len(instructions) // 8, instructions)
    _prctl(_PR_SET_NO_NEW_PRIVS, 1)
    _prctl(_PR_SET_SECCOMP, _MODE_FILTER, ctypes.byref(program))


def num_filters(pid: int) -> int | None:
    """How many filters hold a process, by proc(5); None where the kernel does not tell."""
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return None
    fields = dict(line.split(":\t", 1) for line in status.splitlines() if ":\t" in line)
    return int(fields["Seccomp_filters"]) if "Seccomp_filters" in fields else None


def _instructions(architecture: int, socket_call: int) -> bytes:
    """Struct sock_filter each: what is done, how many to skip if true and if not, its constant."""
    return b"".join(
        struct.pack("=HBBI", *instruction)
        for instruction in (
            (_LOAD, 0, 0, _ARCHITECTURE),
            (_IF_EQUAL, 1, 0, architecture),
            (_RETURN, 0, 0, _KILL),
            (_LOAD, 0, 0, _CALL),
            (_IF_AT_LEAST, 4, 0, _X32),
            (_IF_EQUAL, 2, 0, socket_call),
            (_IF_EQUAL, 2, 0, _IO_URING_SETUP),
            (_RETURN, 0, 0, _ALLOW),
            (_RETURN, 0, 0, _FAIL | errno.EACCES),
            (_RETURN, 0, 0, _FAIL | errno.ENOSYS),
        )
    )


def _prctl(option: int, value: int, program: object = ctypes.c_ulong(0)) -> None:
    library, zero = ctypes.CDLL(None, use_errno=True), ctypes.c_ulong(0)
    if library.prctl(ctypes.c_int(option), ctypes.c_ulong(value), program, zero, zero):
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))

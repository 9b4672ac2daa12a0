"""A process that opens no socket any more, on Linux: a seccomp filter, which the kernel enforces.

Sources: seccomp(2), prctl(2), linux/seccomp.h, linux/bpf_common.h, linux/audit.h, asm/unistd.h. A
filter cannot be taken off again, needs no rights, and holds for all that the process starts. It is
against code that would tell somebody something, not against an attacker who has the user's rights:
he could write into another process of the user's by /proc.
"""

import ctypes
import errno
import os
import platform
import struct
from dataclasses import dataclass
from pathlib import Path

_PR_SET_NO_NEW_PRIVS, _PR_SET_SECCOMP, _MODE_FILTER = 38, 22, 2
_LOAD, _AND, _IF_EQUAL, _IF_AT_LEAST, _RETURN = 0x20, 0x54, 0x15, 0x35, 0x06  # a word, a constant
_ALLOW, _FAIL, _KILL = 0x7FFF0000, 0x00050000, 0x80000000
_CALL, _ARCHITECTURE, _SECOND_ARGUMENT = 0, 4, 24  # where struct seccomp_data has them
_TYPE_OF_SOCKET = 0xF  # of that argument; the rest are flags
_SOCK_STREAM = 1
_X32 = 0x40000000  # x86_64 with short pointers: the same architecture, other numbers

# The same numbers everywhere. A ring opens sockets past the filter; the other takes over one of
# another process.
_IO_URING_SETUP, _PIDFD_GETFD = 425, 438


@dataclass(frozen=True, slots=True)
class _Machine:
    """AUDIT_ARCH_…, and numbers of system calls. The same program can call a 64-bit kernel in 32
    bits too, where numbers differ: nobody here does, so that is the end of the process.
    """

    architecture: int
    socket: int
    socketpair: int
    others_memory: tuple[int, int, int]  # ptrace, process_vm_readv, process_vm_writev


_MACHINES = {
    "x86_64": _Machine(0xC000003E, 41, 53, (101, 310, 311)),
    "aarch64": _Machine(0xC00000B7, 198, 199, (117, 270, 271)),
}


class _Program(ctypes.Structure):
    """struct sock_fprog."""

    _fields_ = (("length", ctypes.c_ushort), ("instructions", ctypes.c_char_p))


def open_no_sockets() -> None:
    """From now on socket(2) fails with EACCES in this process and in all that it starts.

    What is open stays open, and pairs of connected streams can be made: they lead nowhere else. To
    be called while there is one thread. Raises OSError where the kernel has no filters, or the
    machine is none that is known here.
    """
    machine = _MACHINES.get(platform.machine())
    if machine is None:
        raise OSError(errno.ENOSYS, f"no filter is known for {platform.machine()}")
    instructions = _instructions(machine)
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


def _instructions(machine: _Machine) -> bytes:
    """Struct sock_filter each: what is done, how many to skip if true and if not, its constant."""
    denied = (machine.socket, _PIDFD_GETFD, *machine.others_memory)
    return b"".join(
        struct.pack("=HBBI", *instruction)
        for instruction in (
            (_LOAD, 0, 0, _ARCHITECTURE),
            (_IF_EQUAL, 1, 0, machine.architecture),
            (_RETURN, 0, 0, _KILL),
            (_LOAD, 0, 0, _CALL),
            *((_IF_AT_LEAST, 0, 1, _X32), (_RETURN, 0, 0, _FAIL | errno.ENOSYS)),
            *((_IF_EQUAL, 0, 1, _IO_URING_SETUP), (_RETURN, 0, 0, _FAIL | errno.ENOSYS)),
            *(
                line
                for call in denied
                for line in ((_IF_EQUAL, 0, 1, call), (_RETURN, 0, 0, _FAIL | errno.EACCES))
            ),
            (_IF_EQUAL, 0, 4, machine.socketpair),  # to the last line
            (_LOAD, 0, 0, _SECOND_ARGUMENT),
            (_AND, 0, 0, _TYPE_OF_SOCKET),
            (_IF_EQUAL, 1, 0, _SOCK_STREAM),
            (_RETURN, 0, 0, _FAIL | errno.EACCES),  # an unconnected one could be sent anywhere
            (_RETURN, 0, 0, _ALLOW),
        )
    )


def _prctl(option: int, value: int, program: object = ctypes.c_ulong(0)) -> None:
    library, zero = ctypes.CDLL(None, use_errno=True), ctypes.c_ulong(0)
    if library.prctl(ctypes.c_int(option), ctypes.c_ulong(value), program, zero, zero):
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))

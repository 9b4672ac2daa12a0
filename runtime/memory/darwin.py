"""What macOS tells of memory that psutil does not. Each function asks the system once."""

import ctypes
import sys
from collections.abc import Callable
from functools import cache
from typing import Any, TypeAlias

_RUSAGE_INFO_V4 = 4  # sys/resource.h


class RusageInfoV4(ctypes.Structure):
    """`struct rusage_info_v4` of sys/resource.h: a UUID, and 35 numbers of 64 bits."""

    _fields_ = [
        ("ri_uuid", ctypes.c_uint8 * 16),
        ("before", ctypes.c_uint64 * 7),  # times, wakeups, page-ins, wired and resident bytes
        ("ri_phys_footprint", ctypes.c_uint64),
        ("after", ctypes.c_uint64 * 27),
    ]


# int proc_pid_rusage(int pid, int flavor, rusage_info_t *buffer), of libproc.h
ProcPidRusage: TypeAlias = Callable[[int, int, Any], int]
# int sysctlbyname(const char *, void *old, size_t *old_length, void *new, size_t), of sys/sysctl.h
SysctlByName: TypeAlias = Callable[[bytes, Any, Any, None, int], int]


@cache
def _library() -> ctypes.CDLL:
    return ctypes.CDLL("/usr/lib/libSystem.dylib", use_errno=True)


def phys_footprint(pid: int, rusage: ProcPidRusage | None = None) -> int | None:
    """`ri_phys_footprint` of a process, as Activity Monitor shows it; None when it is gone.

    Buffers of Metal count to it, which are no part of the resident memory. Of processes of the same
    user it is told without further rights.
    """
    rusage = rusage or _library().proc_pid_rusage
    info = RusageInfoV4()
    if rusage(pid, _RUSAGE_INFO_V4, ctypes.byref(info)) != 0:
        return None
    return int(info.ri_phys_footprint)


def sysctl(name: str, sysctlbyname: SysctlByName | None = None) -> int | None:
    """A number of the kernel's, of 32 or 64 bits; None where it has none of this name."""
    sysctlbyname = sysctlbyname or _library().sysctlbyname
    value, size = ctypes.c_uint64(0), ctypes.c_size_t(8)
    if sysctlbyname(name.encode(), ctypes.byref(value), ctypes.byref(size), None, 0) != 0:
        return None
    return int(value.value) & ((1 << 8 * size.value) - 1) if size.value in (4, 8) else None


def sysctl_text(name: str, sysctlbyname: SysctlByName | None = None) -> str | None:
    """A text of the kernel's; None where it has none of this name, or a longer one than 255 bytes.

    The system writes it with a zero at its end, which counts to the length.
    """
    sysctlbyname = sysctlbyname or _library().sysctlbyname
    text, size = ctypes.create_string_buffer(256), ctypes.c_size_t(256)
    if sysctlbyname(name.encode(), text, ctypes.byref(size), None, 0) != 0:
        return None
    return text.value.decode(errors="replace")


def is_here() -> bool:
    """Whether this is macOS."""
    return sys.platform == "darwin"

"""The machine under the runtime: its memory, what is left of it, what a process holds."""

import os
import platform
import sys

import psutil

from . import darwin

# What Metal recommends unless somebody set it, as Macs report it: two thirds of the memory, of
# larger ones three quarters (an M3 Max of 36 GB: 27).
_LARGE_BYTES = 36 << 30


def physical_bytes() -> int:
    """All memory there is."""
    return int(psutil.virtual_memory().total)


def available_bytes() -> int:
    """What new processes can take without swapping."""
    return int(psutil.virtual_memory().available)


def wired_bytes() -> int | None:
    """What the kernel may not move: its own, and on a Mac what the GPU uses. None if not told.

    psutil has it of `host_statistics64` (mach/host_info.h).
    """
    wired = getattr(psutil.virtual_memory(), "wired", None)
    return None if wired is None else int(wired)


def working_set_bytes() -> int | None:
    """What Metal will recommend as the most that a GPU uses, as far as it can be told without it.

    None where there is no Metal. An engine knows better: `max_recommended_working_set_size`.
    """
    if not keeps_half_precision():
        return None
    return wired_limit_bytes() or recommended_bytes(physical_bytes())


def wired_limit_bytes() -> int | None:
    """What somebody set for a Mac's GPU instead of Metal's own limit; None where nobody did."""
    limit_mb = darwin.sysctl("iogpu.wired_limit_mb")
    return limit_mb << 20 if limit_mb else None  # 0: nobody set it


def recommended_bytes(physical: int) -> int:
    """What Metal recommends on a Mac of so much memory, unless somebody set it."""
    return physical * 3 // 4 if physical >= _LARGE_BYTES else physical * 2 // 3


def footprint_bytes(pid: int) -> int:
    """What would come back if the process ended: its private memory, or 0 when it is gone."""
    if darwin.is_here():
        return darwin.phys_footprint(pid) or 0
    try:
        return int(psutil.Process(pid).memory_full_info().uss)
    except (psutil.NoSuchProcess, psutil.AccessDenied):
        return 0


def tree_bytes() -> int:
    """What this process and all its children hold."""
    processes = [os.getpid(), *(child.pid for child in psutil.Process().children(recursive=True))]
    return sum(map(footprint_bytes, processes))


def keeps_half_precision() -> bool:
    """Apple Silicon computes in half precision; a CPU engine casts it to float32."""
    return sys.platform == "darwin" and platform.machine() == "arm64"

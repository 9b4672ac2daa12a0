"""The machine under the runtime: memory that is left, memory that a process holds, its numbers."""

import platform
import sys

import psutil


def available_bytes() -> int:
    """What new processes can take without swapping."""
    return int(psutil.virtual_memory().available)


def footprint_bytes(pid: int) -> int:
    """What would come back if the process ended: its private memory, or 0 when it is gone."""
    try:
        process = psutil.Process(pid)
        try:
            return int(process.memory_full_info().uss)
        except psutil.AccessDenied:  # macOS tells the private share only to root
            return int(process.memory_info().rss)
    except psutil.NoSuchProcess:
        return 0


def keeps_half_precision() -> bool:
    """Apple Silicon computes in half precision; a CPU engine casts it to float32."""
    return sys.platform == "darwin" and platform.machine() == "arm64"

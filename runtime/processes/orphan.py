"""No child outlives its parent: an end of file tells it, and on Linux the kernel too."""

import contextlib
import ctypes
import signal
import sys

_PR_SET_PDEATHSIG = 1  # linux/prctl.h


def end_with_parent() -> None:
    """Ask the kernel to kill this process when its parent ends, even while it is stopped.

    Call it early in a child. Elsewhere than on Linux a stopped child ends when it is continued.
    """
    if sys.platform == "linux":
        with contextlib.suppress(OSError, AttributeError):
            ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)

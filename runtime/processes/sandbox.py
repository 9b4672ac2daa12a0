"""A process without a network, on macOS: a sandbox profile, which the kernel enforces.

Contract, by sandbox-exec(1): `sandbox-exec -p PROFILE COMMAND…` becomes COMMAND, with the same pid
and open files, and what the profile denies fails with EPERM, also in all that it starts. The
language of profiles is sandbox(7)'s; "network*" are connecting, listening and receiving, "(deny
mach-lookup …)" keeps it from asking a system service to do these in its place. Apple calls the tool
deprecated, and its own programs and those of browsers rest on the same profiles.
"""

import ctypes
from pathlib import Path

TOOL = Path("/usr/bin/sandbox-exec")
_SERVICES = (  # com.apple.* that look names up, or fetch URLs, for whoever asks
    "com.apple.dnssd.service",
    "com.apple.nsurlsessiond",
    "com.apple.nsurlstorage-cache",
)
PROFILE = "(version 1)(allow default)(deny network*)" + "".join(
    f'(deny mach-lookup (global-name "{name}"))' for name in _SERVICES
)


def command() -> tuple[str, ...]:
    """What stands before a command that shall have no network."""
    return (str(TOOL), "-p", PROFILE)


def is_sandboxed(pid: int) -> bool | None:
    """Whether any profile holds a process; None where that cannot be asked.

    By sandbox_check() of libsandbox, as Chromium's seatbelt.cc declares it: 1 where the process has
    a sandbox, 0 where it has none; no header of Apple's has it.
    """
    try:
        check = ctypes.CDLL("/usr/lib/libsandbox.1.dylib").sandbox_check
    except (OSError, AttributeError):
        return None
    answer = check(ctypes.c_int(pid), None, ctypes.c_int(0))
    return None if answer < 0 else bool(answer)

"""Power assertions of macOS: what keeps a Mac from falling asleep while nobody touches it.

Contract, by IOKit/pwr_mgt/IOPMLib.h: IOPMAssertionCreateWithName takes a type and a name as
CFString, kIOPMAssertionLevelOn, and where to put an id; IOPMAssertionRelease takes the id. Both
return 0 (kIOReturnSuccess) or an error. The type PreventUserIdleSystemSleep holds off idle sleep
and lets the display go dark. An assertion ends with its process; `pmset -g assertions` lists it.
"""

import ctypes
from functools import cache

_TYPE = "PreventUserIdleSystemSleep"  # kIOPMAssertPreventUserIdleSystemSleep
_LEVEL_ON = 255  # kIOPMAssertionLevelOn
_UTF8 = 0x08000100  # kCFStringEncodingUTF8, of CFString.h
_FRAMEWORKS = "/System/Library/Frameworks"


def hold(reason: str) -> int:
    """Begin an assertion, and return its id. Raises OSError."""
    id_ = ctypes.c_uint32()
    told = _library("IOKit").IOPMAssertionCreateWithName(
        _string(_TYPE), ctypes.c_uint32(_LEVEL_ON), _string(reason), ctypes.byref(id_)
    )
    if told:
        raise OSError(f"IOPMAssertionCreateWithName returned {told & 0xFFFFFFFF:#x}")
    return id_.value


def release(held: int) -> None:
    """End an assertion. Raises OSError."""
    if told := _library("IOKit").IOPMAssertionRelease(ctypes.c_uint32(held)):
        raise OSError(f"IOPMAssertionRelease returned {told & 0xFFFFFFFF:#x}")


@cache
def _string(text: str) -> ctypes.c_void_p:
    """A CFString; there are two, and they are kept."""
    create = _library("CoreFoundation").CFStringCreateWithCString
    create.restype = ctypes.c_void_p
    return ctypes.c_void_p(create(None, text.encode(), ctypes.c_uint32(_UTF8)))


@cache
def _library(name: str) -> ctypes.CDLL:
    return ctypes.CDLL(f"{_FRAMEWORKS}/{name}.framework/{name}")

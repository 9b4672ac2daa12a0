"""Tests of runtime.memory.darwin: what macOS is asked, answered by others in its place."""

import ctypes
from typing import Any

from runtime.memory import darwin


def test_the_structure_is_as_long_as_the_header_says() -> None:
    """sys/resource.h of macOS 14: 296 bytes, the footprint behind the UUID and seven numbers."""
    assert ctypes.sizeof(darwin.RusageInfoV4) == 296
    assert darwin.RusageInfoV4.ri_phys_footprint.offset == 72


def test_a_footprint_is_read_where_the_system_writes_it() -> None:
    def proc_pid_rusage(pid: int, flavor: int, buffer: Any) -> int:
        assert (pid, flavor) == (42, 4)
        ctypes.memmove(ctypes.addressof(buffer._obj) + 72, (5 << 30).to_bytes(8, "little"), 8)
        return 0

    assert darwin.phys_footprint(42, proc_pid_rusage) == 5 << 30
    assert darwin.phys_footprint(42, lambda *_: -1) is None  # ESRCH


def test_numbers_of_the_kernel_have_two_widths() -> None:
    def sysctlbyname(name: bytes, old: Any, size: Any, new: None, new_size: int) -> int:
        if name != b"iogpu.wired_limit_mb":
            return -1
        assert size._obj.value == 8 and new is None and new_size == 0
        old._obj.value, size._obj.value = (7 << 32) + 12_288, 4  # what lies behind is not its own
        return 0

    assert darwin.sysctl("iogpu.wired_limit_mb", sysctlbyname) == 12_288
    assert darwin.sysctl("no.such", sysctlbyname) is None


def test_texts_of_the_kernel_end_with_a_zero() -> None:
    def sysctlbyname(name: bytes, old: Any, size: Any, new: None, new_size: int) -> int:
        if name != b"machdep.cpu.brand_string":
            return -1
        assert size._obj.value == 256 and new is None and new_size == 0
        old.value, size._obj.value = b"Apple M3 Max", 13
        return 0

    assert darwin.sysctl_text("machdep.cpu.brand_string", sysctlbyname) == "Apple M3 Max"
    assert darwin.sysctl_text("no.such", sysctlbyname) is None

import sys

import psutil
import pytest

from runtime.engine import device


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere malloc does so by itself")
def test_free_memory_goes_back_to_the_system_though_some_behind_it_is_in_use() -> None:
    process = psutil.Process()
    pieces = [bytearray(b"x" * 65_536) for _ in range(4000)]
    in_use = process.memory_info().rss
    last = pieces.pop()
    pieces.clear()
    device.give_back()
    assert process.memory_info().rss < in_use - 200_000_000
    assert last

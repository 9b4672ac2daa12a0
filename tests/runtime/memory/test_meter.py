"""Tests of runtime.memory.meter: the smallest count is the answer, at every look anew."""

import pytest

from runtime.memory import machine
from runtime.memory.meter import SPARE_BYTES, LiveMeter

GB = 1 << 30


@pytest.fixture(autouse=True)
def mac(monkeypatch: pytest.MonkeyPatch) -> dict[str, int]:
    """A Mac of 16 GB with nothing on it, whose counts a test changes."""
    counts = {"available": 14 * GB, "wired": 1 * GB, "footprint": 0, "active": 0}
    monkeypatch.setattr(machine, "physical_bytes", lambda: 16 * GB)
    monkeypatch.setattr(machine, "available_bytes", lambda: counts["available"])
    monkeypatch.setattr(machine, "wired_bytes", lambda: counts["wired"])
    monkeypatch.setattr(machine, "footprint_bytes", lambda pid: counts["footprint"] * pid)
    return counts


@pytest.mark.parametrize(
    ("count", "name", "short_from"),
    [
        ("available", "system", SPARE_BYTES - 1),
        ("active", "mlx", int(10 * GB * 0.95) + 1),
        ("footprint", "footprint", int(10 * GB * 0.95) // 3 + 1),
        ("wired", "wired", int(16 * GB * 0.9) + 1),
    ],
)
def test_each_count_alone_can_say_that_memory_is_short(
    mac: dict[str, int], count: str, name: str, short_from: int
) -> None:
    """And says at the next look that it is back."""
    before = dict(mac)
    meter = LiveMeter(lambda: 10 * GB, lambda: [1, 2], lambda: mac["active"])
    assert not meter.read().is_short
    mac[count] = short_from
    assert meter.read().is_short and meter.read().count == name
    mac.update(before)
    assert not meter.read().is_short


def test_without_a_gpu_only_the_system_counts(mac: dict[str, int]) -> None:
    mac |= {"wired": 16 * GB, "footprint": 16 * GB}
    reading = LiveMeter(lambda: None, lambda: [1]).read()
    assert (reading.room, reading.count) == (14 * GB - SPARE_BYTES, "system")

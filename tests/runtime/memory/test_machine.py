"""Tests of runtime.memory.machine: the numbers of this machine, and of others."""

import os
import subprocess
import sys

import pytest

from runtime.memory import darwin, machine

GB = 1 << 30


def test_this_machine_has_some_memory() -> None:
    assert 0 < machine.available_bytes() < machine.physical_bytes()
    assert machine.footprint_bytes(os.getpid()) > 1 << 20


def test_a_process_that_is_gone_holds_nothing() -> None:
    child = subprocess.Popen([sys.executable, "-c", ""])
    child.wait()
    assert machine.footprint_bytes(child.pid) == 0


@pytest.mark.parametrize(
    ("physical", "recommended"),
    [(8, 16 / 3), (16, 32 / 3), (32, 64 / 3), (36, 27), (64, 48), (128, 96)],
)
def test_what_metal_recommends_of_a_mac(physical: int, recommended: float) -> None:
    """As Macs of these sizes report it."""
    assert machine.recommended_bytes(physical * GB) == int(recommended * GB)


def test_a_limit_that_somebody_set_is_believed(monkeypatch: pytest.MonkeyPatch) -> None:
    """0 is what the kernel says where nobody did."""
    limit = 0
    monkeypatch.setattr(machine, "keeps_half_precision", lambda: True)
    monkeypatch.setattr(machine, "physical_bytes", lambda: 16 * GB)
    monkeypatch.setattr(darwin, "sysctl", lambda name: limit)
    assert machine.working_set_bytes() == machine.recommended_bytes(16 * GB)
    limit = 14_000
    assert machine.working_set_bytes() == 14_000 << 20
    monkeypatch.setattr(machine, "keeps_half_precision", lambda: False)
    assert machine.working_set_bytes() is None

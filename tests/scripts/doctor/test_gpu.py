"""Tests of what doctor says of the device that computes; of Macs by what MLX would tell."""

import errno

import pytest

from runtime.memory import darwin, machine
from runtime.processes import trial
from runtime.processes.sealed import NOT_SEALED
from scripts.doctor import gpu
from scripts.doctor.gpu import Device, NothingComputed

GB = 1 << 30


@pytest.fixture
def mac(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(darwin, "is_here", lambda: True)
    monkeypatch.setattr(darwin, "sysctl", lambda name: 0)


async def test_mlx_computes_here() -> None:
    """In a process that is sealed as an engine is."""
    device = await gpu.attempt()
    assert device.has_metal is (device.working_set is not None)
    assert gpu.metal(device).level != "problem"


async def test_a_child_that_computes_nothing() -> None:
    """It dies, or is silent for too long: its last words, or that there were none."""
    with pytest.raises(NothingComputed, match="No module named scripts.doctor.none"):
        await gpu.attempt("scripts.doctor.none")
    with pytest.raises(NothingComputed, match="ended with status 0"):
        await gpu.attempt("this")  # which says other things
    with pytest.raises(NothingComputed, match="said nothing in 0 s"):
        await gpu.attempt(limit_s=0)


def test_no_model_can_be_computed(monkeypatch: pytest.MonkeyPatch) -> None:
    """That is told, and is not the end of doctor."""

    async def attempt() -> Device:
        raise NothingComputed("it was ended by SIGABRT")

    monkeypatch.setattr(gpu, "attempt", attempt)
    told = next(gpu.findings())
    assert told.level == "problem" and "SIGABRT" in told.sentence and told.remedy is not None


def test_what_cannot_be_sealed(monkeypatch: pytest.MonkeyPatch) -> None:
    """MLX is not to blame, and to install it again would not help."""

    async def run(module: str, *, limit_s: float) -> trial.Ended:
        return trial.Ended(NOT_SEALED, b"", "this process should have no network, and has one")

    monkeypatch.setattr(trial, "run", run)
    told = next(gpu.findings())
    assert (told.checked, told.level) == ("sealed", "problem") and "has one" in told.sentence
    assert "MLX_EDGE_UNSEALED=1" in str(told.remedy)


def test_a_child_that_cannot_be_started(monkeypatch: pytest.MonkeyPatch) -> None:
    async def run(module: str, *, limit_s: float) -> trial.Ended:
        raise BlockingIOError(errno.EAGAIN, "Resource temporarily unavailable")

    monkeypatch.setattr(trial, "run", run)
    told = next(gpu.findings())
    assert told.level == "problem" and "temporarily unavailable" in told.sentence


def test_metal_of_a_mac(mac: None) -> None:
    """As MLX tells it, and not as it should be: a virtual machine may have none."""
    told = gpu.metal(Device(on_gpu=True, has_metal=True, working_set=12 * GB))
    assert told.level == "ok" and "12.0 GB" in told.sentence
    none = gpu.metal(Device(on_gpu=False, has_metal=False, working_set=None))
    assert none.level == "problem" and none.remedy is not None


def test_elsewhere(monkeypatch: pytest.MonkeyPatch) -> None:
    """On Linux: CUDA, or the CPU."""
    monkeypatch.setattr(darwin, "is_here", lambda: False)
    assert gpu.metal(Device(on_gpu=True, has_metal=False, working_set=None)).level == "ok"
    assert gpu.metal(Device(on_gpu=False, has_metal=False, working_set=None)).level == "note"


def test_a_limit_that_was_raised(mac: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """A note; beyond nine tenths of the memory a warning. Back to usual by a command."""

    async def attempt() -> Device:
        return Device(on_gpu=True, has_metal=True, working_set=12 * GB)

    monkeypatch.setattr(gpu, "attempt", attempt)
    monkeypatch.setattr(machine, "physical_bytes", lambda: 16 * GB)
    for limit_mb, levels in ((0, ["ok"]), (13_000, ["ok", "note"]), (16_000, ["ok", "warning"])):
        monkeypatch.setattr(darwin, "sysctl", lambda name, told=limit_mb: told)
        told = [*gpu.findings()]
        assert [finding.level for finding in told] == levels
    assert "iogpu.wired_limit_mb is set to 16000" in told[-1].sentence
    assert "iogpu.wired_limit_mb=0" in str(told[-1].remedy)

"""Tests of what doctor says of chip, system and software; of Macs by what they would tell."""

import importlib.metadata
import platform

import pytest

from runtime.memory import darwin
from scripts.doctor import system


@pytest.fixture
def mac(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(darwin, "is_here", lambda: True)


def test_this_machine() -> None:
    """Everything is told, and nothing of it is a problem where the tests run."""
    told = {finding.checked: finding for finding in system.findings()}
    assert {"chip", "system", "Python", "mlx-edge", "mlx", "mlx-lm"} <= set(told)
    assert told["mlx"].sentence == importlib.metadata.version("mlx")
    assert "problem" not in {finding.level for finding in told.values()}


@pytest.mark.parametrize(
    ("architecture", "is_translated", "level"),
    [("arm64", False, "ok"), ("x86_64", False, "problem"), ("x86_64", True, "problem")],
)
def test_the_chip_of_a_mac(mac: None, architecture: str, is_translated: bool, level: str) -> None:
    """Apple's own, with a Python that was built for it."""
    told = system.chip("Apple M3 Max", architecture, is_translated=is_translated)
    assert told.level == level and told.sentence.startswith("Apple M3 Max")
    assert (told.remedy is None) is (level == "ok")


@pytest.mark.parametrize(("version", "level"), [("15.1", "ok"), ("13.6.1", "problem")])
def test_the_version_of_macos(
    mac: None, monkeypatch: pytest.MonkeyPatch, version: str, level: str
) -> None:
    monkeypatch.setattr(platform, "mac_ver", lambda: (version, ("", "", ""), "arm64"))
    assert system.system().level == level


def test_a_package_that_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    def version(name: str) -> str:
        if name == "mlx":
            raise importlib.metadata.PackageNotFoundError(name)
        return "1.0"

    monkeypatch.setattr(importlib.metadata, "version", version)
    levels = {finding.checked: finding.level for finding in system.packages()}
    assert levels == {"mlx-edge": "ok", "mlx": "problem", "mlx-lm": "ok"}

"""Tests of what doctor says of the service."""

from pathlib import Path

import pytest

from runtime.memory import darwin
from scripts.doctor import service


@pytest.mark.parametrize("is_mac", [True, False])
def test_its_file_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, is_mac: bool) -> None:
    """Where the system looks for it, in the user's home."""
    monkeypatch.setattr(darwin, "is_here", lambda: is_mac)
    monkeypatch.setattr(Path, "home", lambda: tmp_path)
    assert service.installed() is None
    folder = tmp_path / ("Library/LaunchAgents" if is_mac else ".config/systemd/user")
    folder.mkdir(parents=True)
    file = folder / (service._MACOS if is_mac else service._LINUX).name
    file.write_text("")
    assert service.installed() == file


def test_a_service_that_does_not_do_its_work() -> None:
    """Installed and silent is a problem; not installed is not."""
    file = Path("/somewhere/it.plist")
    assert service.finding(file, answers=True).level == "ok"
    assert service.finding(None, answers=False).level == "note"
    silent = service.finding(file, answers=False)
    assert silent.level == "problem" and "mlx-edge service logs" in str(silent.remedy)

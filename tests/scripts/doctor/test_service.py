"""Tests of what doctor says of the service."""

from pathlib import Path

import pytest

from scripts.doctor import service
from scripts.service import platforms
from scripts.service.definition import SERVER


@pytest.mark.parametrize("is_mac", [True, False])
def test_its_file_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, is_mac: bool) -> None:
    """Where the system looks for it, in the user's home."""
    monkeypatch.setattr(platforms, "here", "macos" if is_mac else "linux")
    monkeypatch.setattr(Path, "home", lambda: tmp_path)
    monkeypatch.delenv("XDG_CONFIG_HOME", raising=False)
    assert service.installed() is None
    file = platforms.supervisor(platforms.here).file(SERVER)
    assert file.is_relative_to(tmp_path)
    file.parent.mkdir(parents=True)
    file.write_text("")
    assert service.installed() == file


def test_a_service_that_does_not_do_its_work() -> None:
    """Installed and silent is a problem; not installed is not."""
    file = Path("/somewhere/it.plist")
    assert service.finding(file, answers=True).level == "ok"
    assert service.finding(None, answers=False).level == "note"
    silent = service.finding(file, answers=False)
    assert silent.level == "problem" and "mlx-edge service logs" in str(silent.remedy)

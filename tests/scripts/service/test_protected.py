"""Tests of folders that macOS may keep a service from reading."""

from pathlib import Path

import pytest

from scripts.service import protected


def test_which_are_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each once, by its whole path; one with such a name elsewhere is none."""
    monkeypatch.setenv("HOME", str(tmp_path))
    checkout = tmp_path / "Documents" / "mlx-edge"
    home = tmp_path / "Downloads"
    told = list(protected.cautions([home, checkout, checkout, tmp_path, tmp_path / "a/Desktop"]))
    assert [words.split(" lies in ")[0] for words in told] == [str(home), str(checkout)]
    assert all("Full Disk Access" in words for words in told)

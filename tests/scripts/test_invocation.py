"""Tests of how this command is called again."""

import sys
from pathlib import Path

import pytest

from scripts.invocation import invocation
from tests.serving import ROOT


def test_by_the_name_that_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A link is not followed: the version behind it changes."""
    (tmp_path / "1.0").touch(0o755)
    link = tmp_path / "mlx-edge"
    link.symlink_to("1.0")
    monkeypatch.setattr(sys, "argv", [str(link), "serve"])
    assert invocation() == ((str(link),), Path.home())
    monkeypatch.setattr(sys, "argv", ["mlx-edge"])
    monkeypatch.setenv("PATH", str(tmp_path))
    assert invocation().program == (str(link),)


@pytest.mark.parametrize("called", ["scripts/cli.py", "/nowhere/mlx-edge", "-c"])
def test_by_the_module(called: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where `scripts` is to be found."""
    monkeypatch.setattr(sys, "argv", [called])
    assert invocation() == ((sys.executable, "-m", "scripts.cli"), ROOT)

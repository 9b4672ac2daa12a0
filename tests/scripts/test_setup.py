"""Tests of scripts/setup, with programs in its PATH that stand for those of a Mac."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.serving import ROOT

_TOOLS = ("bash", "env", "dirname", "cat", "cksum", "tr", "touch", "mkdir", "id")
_INTEL = f"""exec {sys.executable} -c 'import platform, sys
sys.platform, platform.machine = "darwin", lambda: "x86_64"
exec(sys.argv[1])' "$2" """
_REAL = f'exec {sys.executable} "$@"'


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A checkout with nothing but what is set up, and a PATH with nothing but basic tools."""
    for name in ("scripts/setup", "pyproject.toml", "requirements.lock"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        shutil.copy(ROOT / name, tmp_path / name)
    (tmp_path / "bin").mkdir()
    for name in _TOOLS:
        tool = shutil.which(name)
        assert tool is not None
        (tmp_path / "bin" / name).symlink_to(tool)
    stand_in(tmp_path, "uname", "echo Darwin")
    return tmp_path


def stand_in(checkout: Path, name: str, script: str) -> None:
    path = checkout / "bin" / name
    path.write_text(f"#!/usr/bin/env bash\n{script}\n")
    path.chmod(0o755)


def set_up(checkout: Path, *kind: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [checkout / "scripts/setup", *kind],
        env={"PATH": str(checkout / "bin")},
        capture_output=True,
        text=True,
        timeout=60,
    )


def with_uv(checkout: Path) -> None:
    """It writes down what it is asked, and makes the folder that it is asked for."""
    stand_in(checkout, "uv", 'echo "uv $*"\n[ "$1" != venv ] || mkdir .venv')


def test_mac(checkout: Path) -> None:
    """For who runs it, a Python and uv are enough; the second time nothing is done."""
    stand_in(checkout, "python3", _REAL)
    with_uv(checkout)
    done = set_up(checkout)
    assert done.returncode == 0 and "Hint" not in done.stderr, done.stderr
    assert done.stdout.splitlines() == [
        f"uv venv -q --python {checkout}/bin/python3 .venv",
        "uv pip install --python .venv/bin/python -c requirements.lock -e .",
    ]
    again = set_up(checkout)
    assert (again.returncode, again.stdout, again.stderr) == (0, "", "")


def test_tools_of_a_mac(checkout: Path) -> None:
    """Developers are told of what is missing, and of the one command that brings it."""
    stand_in(checkout, "python3", _REAL)
    with_uv(checkout)
    done = set_up(checkout, "dev")
    assert done.returncode == 127  # where it wants npm
    assert "Hint: brew bundle   (npm is missing)" in done.stderr
    stand_in(checkout, "npm", 'echo "npm $*" >&2')
    done = set_up(checkout, "dev")
    assert done.returncode == 0, done.stderr
    assert "npm is missing" not in done.stderr and "npm install --prefix" in done.stderr


@pytest.mark.parametrize("script", ["exit 1", _INTEL], ids=["older", "Intel's, under Rosetta"])
def test_no_python_that_fits(script: str, checkout: Path) -> None:
    """It ends with one sentence before anything is made."""
    stand_in(checkout, "python3", script)
    with_uv(checkout)
    done = set_up(checkout)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == (
        "mlx-edge needs Python 3.11 or newer, and found none (on a Mac: brew bundle).\n"
    )
    assert not (checkout / ".venv").exists()
    stand_in(checkout, "python3.12", _REAL)  # another one does
    assert set_up(checkout).returncode == 0

"""Ruby, and a formula as it reads it, without Homebrew: `formula.rb` has Homebrew's words."""

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

_WORDS = Path(__file__).with_name("formula.rb")


def ruby(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Skips where there is no Ruby; every Mac has one."""
    if shutil.which("ruby") is None:
        pytest.skip("needs ruby: apt-get install ruby")
    return subprocess.run(["ruby", *arguments], capture_output=True, text=True, timeout=120)


def read(formula: Path) -> Any:
    """What it says, its service, and what it would install."""
    done = ruby("-w", str(_WORDS), str(formula))
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def try_out(formula: Path, venv: Path) -> subprocess.CompletedProcess[str]:
    """Its `test do`, on what is installed in `venv`."""
    return ruby(str(_WORDS), str(formula), str(venv))

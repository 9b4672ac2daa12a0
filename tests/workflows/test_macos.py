"""Tests of .github/workflows/macos.yml: what it runs is here, and it may do no more than needed."""

import os
import re
import tomllib
from typing import Any

import msgspec
import pytest

from tests.serving import ROOT

WORKFLOW = ROOT / ".github/workflows/macos.yml"


@pytest.fixture(scope="module")
def workflow() -> Any:
    return msgspec.yaml.decode(WORKFLOW.read_bytes())


def steps(workflow: Any) -> list[dict[str, Any]]:
    return [step for job in workflow["jobs"].values() for step in job["steps"]]


def test_commands_are_here(workflow: Any) -> None:
    """Scripts that can be started, programs that setup installs, and what macOS has."""
    installed = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["scripts"]
    commands = [line for step in steps(workflow) for line in step.get("run", "").splitlines()]
    assert len(commands) >= 5
    for command in commands:
        program = command.split()[0]
        if program.startswith(".venv/bin/"):
            assert program.removeprefix(".venv/bin/") in {"python", *installed}
        elif program == "brew":
            assert command == "brew bundle" and (ROOT / "Brewfile").is_file()
        else:
            assert os.access(ROOT / program, os.X_OK), command


def test_least_rights(workflow: Any) -> None:
    """It reads the code; actions are those of a commit, which nobody can replace."""
    assert workflow["permissions"] == {"contents": "read"}
    assert all("permissions" not in job for job in workflow["jobs"].values())
    for line in WORKFLOW.read_text().splitlines():
        if "uses:" in line:
            assert re.search(r"uses: [\w-]+/[\w-]+@[0-9a-f]{40} # v[\d.]+$", line), line
    checkouts = [step for step in steps(workflow) if "checkout" in step.get("uses", "")]
    assert all(step["with"]["persist-credentials"] is False for step in checkouts)


def test_it_ends(workflow: Any) -> None:
    """A run that is overtaken or hangs does not go on; GitHub's own limit is six hours."""
    assert workflow["concurrency"]["cancel-in-progress"] is True
    for job in workflow["jobs"].values():
        assert 0 < job["timeout-minutes"] <= 120
        assert int(job["runs-on"].removeprefix("macos-")) >= 14  # arm64, and Metal for MLX

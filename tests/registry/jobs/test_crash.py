"""kill -9 before every single change on disk, while models are made, changed and removed."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.fake_work import write_folder
from tests.hub.hub_server import HubServer
from tests.serving import ROOT


@pytest.mark.slow
@pytest.mark.parametrize(
    "scenario",
    ["import_copy", "pull", "import_link", "convert", "upload", "replace", "remove", "note"],
)
def test_a_kill_at_any_point_costs_nothing(tmp_path: Path, scenario: str) -> None:
    """Nothing half is listed, the next server finishes or begins anew, and nothing is left over."""
    with HubServer() as hub:
        hub.add_folder("org/tiny", write_folder(tmp_path / "repo"))
        done = subprocess.run(
            [sys.executable, "-m", "tests.crash", scenario, str(tmp_path)],
            cwd=ROOT,
            env=os.environ | {"PYTHONPATH": ".", "HF_ENDPOINT": hub.url, "HF_TOKEN": ""},
            capture_output=True,
            text=True,
            timeout=300,
        )
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) > 5

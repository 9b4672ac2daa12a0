"""Tests of the benches of deaths, of priorities and of ways to draw: a real, small run of each."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.models.tiny_models import make_llama
from tests.serving import ROOT


@pytest.mark.slow
def test_a_small_bench_of_deaths_and_priorities(tmp_path: Path) -> None:
    """`mlx-edge bench --kill --priority --ways`: all streams go on, every ratio is a number."""
    folder = make_llama(tmp_path / "model")
    command = [sys.executable, "-m", "scripts.cli", "bench", "--folder", str(folder)]
    output = subprocess.run(
        [*command, "--kill", "--priority", "--ways", "--rounds", "1"],
        cwd=ROOT, check=True, capture_output=True, text=True, timeout=240,
        env={"PATH": "/usr/bin:/bin", "HOME": str(tmp_path), "COLUMNS": "200"},
    ).stdout  # fmt: skip
    assert "Pause of 1: streams go on" in output and "Pause of 16: streams" in output
    assert "beside 16 background rows" in output
    assert output.count("of plain greedy at 16 streams") == 7

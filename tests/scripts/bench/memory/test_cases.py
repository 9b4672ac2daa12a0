"""Tests of the cases: their arithmetic, and a real, small run of some."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from scripts.bench.memory.conversation import Turn, beyond_new
from scripts.bench.memory.shared import times_read
from tests.serving import ROOT


def test_what_was_read_or_drawn_before_is_not_new() -> None:
    """Of an answer the last token was drawn and never read."""
    turns = [Turn(100, 0, 40, 1.0), Turn(230, 139, 40, 1.0), Turn(350, 200, 40, 1.0)]
    assert beyond_new(turns) == [0, 69]


def test_a_prompt_is_read_as_often_as_it_was_not_cached() -> None:
    assert times_read(2000, [0, 2000, 2010, 1000]) == 1.5


@pytest.mark.slow
def test_a_small_bench_from_end_to_end(tmp_path: Path) -> None:
    """`mlx-edge bench --memory`: a figure for each thing wanted, as a table and as JSON."""
    command = [sys.executable, "-m", "scripts.cli", "bench", "--memory", "hit,soak"]
    output = subprocess.run(
        [*command, "--share", "0.01", "--rounds", "1", "--json", str(tmp_path / "r.json")],
        cwd=ROOT, check=True, capture_output=True, text=True, timeout=480,
        env={"PATH": "/usr/bin:/bin", "HOME": str(tmp_path), "COLUMNS": "160"},
    ).stdout  # fmt: skip
    assert "load average" in output and "rise of the peak" in output
    report = json.loads((tmp_path / "r.json").read_text())
    figures = {(each["case"], each["name"]): each["value"] for each in report["figures"]}
    assert {case for case, _ in figures} == {"hit", "soak"}
    assert figures["soak", "processes left after its end"] == 0 == figures["soak", "failed"]
    assert 0 < figures["soak", "cancelled"] < figures["soak", "answered"]


def test_cases_are_known_by_name() -> None:
    output = subprocess.run(
        [sys.executable, "-m", "scripts.cli", "bench", "--memory", "hit,missing"],
        cwd=ROOT, capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert output.returncode == 2 and "conversation" in output.stderr

"""Tests of the bench of embeddings: a real, small run from end to end."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.models.tiny_encoders import make_bert
from tests.serving import ROOT


@pytest.mark.slow
def test_a_small_bench_from_end_to_end(tmp_path: Path) -> None:
    """`mlx-edge bench --embed` on a random encoder, with a chat beside it."""
    folder = make_bert(tmp_path / "model")
    command = [sys.executable, "-m", "scripts.cli", "bench", "--embed", str(folder)]
    output = subprocess.run(
        [*command, "--rounds", "1", "--json", str(tmp_path / "r.json")],
        cwd=ROOT, check=True, capture_output=True, text=True, timeout=240,
        env={"PATH": "/usr/bin:/bin", "HOME": str(tmp_path), "COLUMNS": "160"},
    ).stdout  # fmt: skip
    assert "of bare" in output and "A chat beside it" in output
    report = json.loads((tmp_path / "r.json").read_text())
    assert len(report["rows"]) == 8  # short and long; batches of 1, 8, 64, and 16 at once
    for row in report["rows"]:
        assert row["ours"] > 0 and row["bare"] > 0 and row["one_at_a_time"] > 0
    assert report["chat_beside_tokens_per_s"] > 0

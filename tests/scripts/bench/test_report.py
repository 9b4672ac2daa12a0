"""Tests of the bench's report: from a real, small run to table, JSON and picture."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.models.tiny_models import make_llama
from tests.serving import ROOT


@pytest.mark.slow
def test_a_small_bench_from_end_to_end(tmp_path: Path) -> None:
    """`mlx-edge bench` on a model of one's own, beside mlx_lm.server."""
    folder = make_llama(tmp_path / "model")
    command = [sys.executable, "-m", "scripts.cli", "bench", "--folder", str(folder)]
    flags = ["--streams", "1,2", "--rounds", "1", "--against", "mlx_lm"]
    output = subprocess.run(
        [*command, *flags, "--json", str(tmp_path / "r.json"), "--plot", str(tmp_path / "r.png")],
        cwd=ROOT, check=True, capture_output=True, text=True, timeout=240,
        env={"PATH": "/usr/bin:/bin", "HOME": str(tmp_path), "COLUMNS": "160"},
    ).stdout  # fmt: skip
    assert "of bare" in output and "of peer" in output and "Stall:" in output
    report = json.loads((tmp_path / "r.json").read_text())
    assert len(report["rows"]) == 6  # two numbers of streams; greedy, sampled, long
    for row in report["rows"]:
        assert row["ratio"] > 0 and row["peer_ratio"] > 0
        assert row["ours"]["tokens_per_s"] > 0 and row["ours"]["gap_s"][1] > 0
    assert report["cancel"]["p50_s"] > 0 and report["stall"]["longest_s"] > 0
    assert set(report["start"]["memory_bytes"]) == {"web", "engine", "text worker"}
    assert report["channel"]["ratio"] > 0 and report["channel"]["frames_per_token"] > 0
    assert report["channel"]["web_cpu_per_token_s"][0] > 0 and "Socket beside SSE:" in output
    assert report["machine"] and report["versions"]["mlx"]
    assert (tmp_path / "r.png").read_bytes().startswith(b"\x89PNG")


def test_a_peer_by_url_needs_a_model() -> None:
    """The peer's name for it cannot be guessed."""
    output = subprocess.run(
        [sys.executable, "-m", "scripts.cli", "bench", "--against", "http://127.0.0.1:1/v1"],
        cwd=ROOT, capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert output.returncode == 2 and "--model" in output.stderr

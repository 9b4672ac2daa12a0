"""Tests of `mlx-edge menubar`, `pause` and `resume`, as a person runs them."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from scripts.cli import cli
from scripts.log_file import LIMIT_BYTES, kept_before
from tests.serving import KEY, ROOT, ServerProcess


def test_it_runs_until_it_is_quit(
    rumps: Any, appkit: Any, server: ServerProcess, tmp_path: Path
) -> None:
    """Out of the Dock, with what the server has to say; the server goes on."""
    read: list[str] = []

    def person(_: object) -> None:
        menu = rumps.running[0].menu
        if "is ready" in rumps.seen(menu):
            read.append(rumps.running[0].title)
            rumps.click(menu, "Quit Menu Bar")

    rumps.Timer(person, 0.05).start()
    done = CliRunner().invoke(
        cli, ["--home", str(tmp_path), "menubar", "--server", server.url, "--api-key", KEY]
    )
    assert done.exit_code == 0, done.output
    assert read[0].startswith("◆") and appkit.policies == [1]
    assert server.get("/v1/status")["state"] == "ready"


@pytest.mark.parametrize(
    ("platform", "told"),
    [("linux", "is for macOS; here, `mlx-edge ps`"), ("darwin", "pip install 'mlx-edge[menubar]'")],
)
def test_without_rumps_it_says_what_to_do(
    monkeypatch: pytest.MonkeyPatch, platform: str, told: str
) -> None:
    monkeypatch.setitem(sys.modules, "rumps", None)  # whose import fails
    monkeypatch.setattr(sys, "platform", platform)
    done = CliRunner().invoke(cli, ["menubar", "--api-key", KEY])
    assert done.exit_code == 1 and told in done.output and len(done.output.splitlines()) == 1


def test_its_words_go_into_a_log_of_bounded_size(tmp_path: Path) -> None:
    """Where it is told to, as the agent that starts it at login does; why it ends, too."""
    log = tmp_path / "menubar.log"
    log.write_bytes(b"x" * (LIMIT_BYTES + 1))
    command = [sys.executable, "-m", "scripts.cli", "menubar", "--api-key", KEY]
    done = subprocess.run([*command, "--log-file", str(log)], cwd=ROOT, capture_output=True)
    assert (done.returncode, done.stdout, done.stderr) == (1, b"", b"")
    assert log.read_text().startswith("Error: The menu bar ")
    assert kept_before(log, 1).stat().st_size == LIMIT_BYTES + 1


def test_pause_and_resume(server: ServerProcess) -> None:
    """Each says what is the case now."""
    for command, told, state in (
        ("pause", "is paused until `mlx-edge resume`", "paused"),
        ("resume", "takes requests", "ready"),
    ):
        done = CliRunner().invoke(cli, [command, "--server", server.url])
        assert done.exit_code == 0 and told in done.output
        assert server.get("/v1/status")["state"] == state

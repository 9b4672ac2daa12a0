"""Tests of `mlx-edge menubar`, `pause` and `resume`, as a person runs them."""

import sys
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from scripts.cli import cli
from tests.serving import KEY, ServerProcess


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


def test_pause_and_resume(server: ServerProcess) -> None:
    """Each says what is the case now."""
    for command, told, state in (
        ("pause", "is paused until `mlx-edge resume`", "paused"),
        ("resume", "takes requests", "ready"),
    ):
        done = CliRunner().invoke(cli, [command, "--server", server.url])
        assert done.exit_code == 0 and told in done.output
        assert server.get("/v1/status")["state"] == state

"""Tests of `mlx-edge launch --print`: what is shown runs in a shell, to the same effect."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from tests.fake_agent import FakeAgent
from tests.serving import ServerProcess

SHELLS = [shell for shell in ("sh", "bash", "dash", "zsh") if shutil.which(shell)]
# What a shell sets itself, and what launch alone is given.
_OF_THE_SHELL = {"PWD", "OLDPWD", "SHLVL", "_", "PYTHONPATH", "LC_CTYPE"}


def effect(agent: FakeAgent) -> Any:
    """What the agent saw, with the folder of the session by one name."""
    seen = agent.seen
    environment = {
        name: value for name, value in seen.environment.items() if name not in _OF_THE_SHELL
    }
    files = {path: content for path, content in seen.files.items() if path != "lock"}
    told = json.dumps([seen.name, seen.arguments, environment, files])
    return json.loads(told.replace(seen.folder.name, "session"))


@pytest.mark.parametrize("name", ["codex", "claude", "opencode", "aider"])
def test_it_runs_in_a_shell(tmp_path: Path, server: ServerProcess, name: str) -> None:
    """Pasted into any, it starts the agent as the command does, and tidies up."""
    agent = FakeAgent(tmp_path)
    agent.install(name)
    arguments = (name, "--server", server.url, "--model", "tiny")
    theirs = ("-p", 'it\'s "{key}" & $HOME', "")
    user = {"ANTHROPIC_API_KEY": "theirs", "OPENAI_ORGANIZATION": "theirs", "FAKE_DOES": "7"}
    assert agent.launch(*arguments, *theirs, **user).returncode == 7
    expected = effect(agent)
    shown = agent.launch(*arguments, "--print", *theirs, **user)
    assert shown.returncode == 0 and "8,192" in shown.stderr
    for shell in SHELLS:
        (tmp_path / "record").unlink()
        run = agent.run([shell, "-c", shown.stdout], **user)
        assert run.returncode == 7, run.stderr
        assert effect(agent) == expected
        assert not agent.left


def test_it_starts_nothing(tmp_path: Path, server: ServerProcess) -> None:
    """Nor does it make a folder; an agent that is not there is told beside."""
    agent = FakeAgent(tmp_path)
    shown = agent.launch("codex", "--server", server.url, "--print")
    assert shown.returncode == 0 and "codex" in shown.stdout
    assert "npm install" in shown.stderr
    assert not agent.edge_home.exists()


def test_a_key_is_not_shown(tmp_path: Path) -> None:
    """Only the one that everybody knows is: any other is read from the variable."""
    agent = FakeAgent(tmp_path)
    agent.install("claude")
    with ServerProcess(tmp_path / "home", "--api-key", "secret") as server:
        shown = agent.launch("claude", "--server", server.url, "--api-key", "secret", "--print")
        assert "secret" not in shown.stdout + shown.stderr
        unset = agent.run(["sh", "-c", shown.stdout])
        assert unset.returncode != 0 and "MLX_EDGE_API_KEY" in unset.stderr
        assert agent.run(["sh", "-c", shown.stdout], MLX_EDGE_API_KEY="secret").returncode == 0
        assert agent.seen.environment["ANTHROPIC_AUTH_TOKEN"] == "secret"

"""Tests of docs/mac-checklist.md: what it tells a person to type is there to be typed."""

import os
import plistlib
import re
import shlex
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from scripts.cli import cli
from scripts.homebrew.resources import main as resources
from tests.serving import ROOT

CHECKLIST = (ROOT / "docs/mac-checklist.md").read_text()
# Without the last column of the tables, which is what is expected.
TYPED = re.sub(r"^(\| ☐ \|[^|]*\|).*$", r"\1", CHECKLIST, flags=re.MULTILINE)
CODE = re.findall(r"```sh\n(.*?)```|`([^`\n]+)`", TYPED, re.DOTALL)
# At the start of a command: of a line, after `;`, `&&` or a pipe, inside `$(...)`.
OURS = re.compile(r"(?:^|[;&|(]\s*)mlx-edge\b([^;&|()\n]*)", re.MULTILINE)
COMMANDS = sorted({found.strip() for block, span in CODE for found in OURS.findall(block or span)})


def test_there_are_commands() -> None:
    assert {"doctor", "key", "service install --menubar"} <= set(COMMANDS)


@pytest.mark.parametrize("command", COMMANDS)
def test_commands_parse(command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every `mlx-edge ...` is a command with these options; nothing is run."""
    for inner in _leaves(cli):
        monkeypatch.setattr(inner, "callback", lambda **_: None)
    parsed = CliRunner().invoke(cli, ["--home", str(tmp_path / "home"), *shlex.split(command)])
    assert parsed.exit_code == 0, parsed.output


def _leaves(group: click.Group) -> list[click.Command]:
    """All that a command line may end with."""
    found: list[click.Command] = []
    for inner in group.commands.values():
        if isinstance(inner, click.Group):
            found += _leaves(inner)
        if not isinstance(inner, click.Group) or inner.invoke_without_command:
            found.append(inner)
    return found


def test_scripts_are_here() -> None:
    """And the options of the one that completes the formula."""
    text = "\n".join(block or span for block, span in CODE).replace("\\\n", "")
    for script in set(re.findall(r"\./(scripts/\w+)", text)):
        assert os.access(ROOT / script, os.X_OK), script
    (arguments,) = re.findall(r"^python -m scripts\.homebrew\.resources (.*)$", text, re.MULTILINE)
    known = {name for option in resources.params for name in option.opts}
    assert set(re.findall(r"--[a-z]\S*", arguments.partition('"')[0])) <= known


def test_service(own_user: Path) -> None:
    """What it says of the service's file is what `install` would write."""
    shown = CliRunner().invoke(cli, ["service", "show", "--platform", "macos"])
    assert shown.exit_code == 0, shown.output
    keys = plistlib.loads(shown.stdout_bytes)
    assert f"gui/$UID/{keys['Label']}\n" in CHECKLIST
    assert f"~/Library/LaunchAgents/{keys['Label']}.plist\n" in CHECKLIST
    assert f"`ExitTimeOut` {keys['ExitTimeOut']}, `ProcessType` {keys['ProcessType']}" in CHECKLIST
    assert f"`exit timeout = {keys['ExitTimeOut']}`" in CHECKLIST
    assert keys["KeepAlive"] == {"SuccessfulExit": False}

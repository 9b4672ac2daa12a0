"""Tests of what doctor says of files that other users may read."""

import os
import shlex
from pathlib import Path

import pytest

from scripts.doctor import permissions


def test_a_home_for_its_user_alone(tmp_path: Path) -> None:
    """Also one that is not there, and a configuration without a key."""
    (tmp_path / "config.toml").write_text("[serve]\nport = 8084\n# api-key = no\n")
    (tmp_path / "config.toml").chmod(0o644)
    for home in (tmp_path, tmp_path / "none"):
        assert [finding.level for finding in permissions.findings(home)] == ["ok"]


@pytest.mark.parametrize(("mode", "level"), [(0o755, "warning"), (0o770, "problem")])
def test_a_home_that_others_may_enter(tmp_path: Path, mode: int, level: str) -> None:
    tmp_path.chmod(mode)
    (told,) = permissions.findings(tmp_path)
    assert told.level == level and f"{mode:o}" in told.sentence
    assert told.remedy == f"`chmod 700 {tmp_path}`"


def test_commands_are_to_be_copied(tmp_path: Path) -> None:
    """The usual home on a Mac has a blank in it, and a name may have quotes."""
    home = tmp_path / "Ann's Application Support"
    home.mkdir(mode=0o750)
    (home / "api-key").write_text("sesame")
    (home / "api-key").chmod(0o644)
    commands = [str(told.remedy).strip("`") for told in permissions.findings(home)]
    assert [shlex.split(command) for command in commands] == [
        ["chmod", "700", str(home)],
        ["chmod", "600", str(home / "api-key")],
    ]


def test_a_file_that_is_gone_since_it_was_listed(tmp_path: Path) -> None:
    """As SQLite's journal is when its last connection closes."""
    (tmp_path / "responses.sqlite3-wal").symlink_to(tmp_path / "nothing")
    assert [finding.level for finding in permissions.findings(tmp_path)] == ["ok"]


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("api-key", "sesame"),
        ("prefixes.key", "0" * 32),
        ("responses.sqlite3", ""),
        ("responses.sqlite3-wal", ""),
        ("config.toml", '[serve]\napi-key = "sesame"\n'),
    ],
)
def test_a_secret_that_others_may_read(tmp_path: Path, name: str, content: str) -> None:
    """Keys and conversations; the secret itself is not told."""
    path = tmp_path / name
    path.write_text(content)
    path.chmod(0o640)
    (told,) = permissions.findings(tmp_path)
    assert told.level == "problem" and str(path) in told.sentence and "sesame" not in str(told)
    path.chmod(0o600)
    assert [finding.level for finding in permissions.findings(tmp_path)] == ["ok"]


def test_a_home_of_somebody_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: tmp_path.stat().st_uid + 1)
    (told,) = permissions.findings(tmp_path)
    assert told.level == "warning" and "another user" in told.sentence

"""Tests of whether a user's services end at logout, with a stand-in of loginctl."""

import os
from pathlib import Path

import pytest

from scripts.service import linger


@pytest.mark.parametrize(
    ("script", "is_told"),
    [("echo no", True), ("echo yes", False), ("echo no; exit 1", False), ("echo what", False)],
)
def test_what_loginctl_says(
    script: str, is_told: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Only a plain no is told of, with what to do; it is asked of this user."""
    program = tmp_path / "loginctl"
    program.write_text(f'#!/bin/sh\necho "$*" >{tmp_path}/asked\n{script}\n')
    program.chmod(0o700)
    monkeypatch.setenv("PATH", str(tmp_path))
    note = linger.note()
    assert (note is not None and "loginctl enable-linger" in note) == is_told
    assert (tmp_path / "asked").read_text() == f"show-user {os.getuid()} -p Linger --value\n"


def test_no_loginctl(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert linger.note() is None

"""Tests of the folder that a session has for itself."""

import os
import stat
from pathlib import Path

import pytest

from scripts.agents.private_folder import private_folder


def test_it_is_private_and_goes(tmp_path: Path) -> None:
    """Nobody else can read it; what was added to it goes with it."""
    with private_folder(tmp_path / "new" / "launch", "codex", {"a/b": "text\n"}) as folder:
        assert (folder.path / "a" / "b").read_text() == "text\n"
        assert stat.S_IMODE(folder.path.stat().st_mode) == 0o700
        (folder.path / "a" / "more").mkdir()
        (folder.path / "a" / "more" / "file").write_text("of the session")
    assert not folder.path.exists()


def test_an_error_takes_it_along(tmp_path: Path) -> None:
    """Whatever ends the session."""
    with pytest.raises(KeyboardInterrupt), private_folder(tmp_path, "codex", {}) as folder:
        raise KeyboardInterrupt
    assert not folder.path.exists()


def test_files_that_cannot_be_written(tmp_path: Path) -> None:
    """A session that does not begin leaves nothing, either."""
    with (
        pytest.raises(OSError),
        private_folder(tmp_path, "codex", {"a": "a file\n", "a/b": "in a file\n"}),
    ):
        raise AssertionError("it has begun")
    assert [path.name for path in tmp_path.iterdir()] == ["lock"]


def test_sessions_beside_each_other(tmp_path: Path) -> None:
    """Each has its own, and leaves those of others alone while anybody holds their locks."""
    with private_folder(tmp_path, "codex", {}) as one:
        with private_folder(tmp_path, "codex", {}) as other:
            assert one.path != other.path and one.path.exists()
        assert one.path.exists() and not other.path.exists()
        kept = os.dup(one.lock)  # as an agent has it
        one.path.rename(tmp_path / "codex-left")  # as if this process had been killed
    with private_folder(tmp_path, "codex", {}):
        assert (tmp_path / "codex-left").exists()
    os.close(kept)
    with private_folder(tmp_path, "codex", {}):
        assert not (tmp_path / "codex-left").exists()

"""Tests of `mlx-edge cache` where no server runs; beside one: tests/web/api/test_cache.py."""

from pathlib import Path

from click.testing import CliRunner

from runtime.disk.folder import Folder
from scripts.cli import cli


def test_what_is_on_disk_is_forgotten_without_a_server(tmp_path: Path) -> None:
    """It is an error only where there was nothing to forget."""
    Folder(tmp_path, 1 << 20).open()
    command = ["--home", str(tmp_path), "cache", "forget", "--server", "http://127.0.0.1:9"]
    told = CliRunner().invoke(cli, command)
    assert told.exit_code == 0 and "and the key to it" in told.output
    assert not list(tmp_path.glob("*.key"))
    (tmp_path / "prefixes").rename(tmp_path / "gone")
    assert CliRunner().invoke(cli, command).exit_code == 1

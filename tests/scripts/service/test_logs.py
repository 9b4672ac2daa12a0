"""Tests of the end of a log, and of what follows."""

from pathlib import Path

import pytest
from click.testing import CliRunner

from scripts.log_file import LogFile
from scripts.service import platforms
from scripts.service.command import service
from scripts.service.logs import end, following, last_words


def test_the_last_lines_reach_into_what_was_set_aside(tmp_path: Path) -> None:
    path = tmp_path / "log"
    path.write_text("1\n2\n3\n4\n")
    LogFile(path, limit_bytes=4).rotate()
    assert end(path, 2).lines == [b"3\n", b"4\n"]
    path.write_text("5\n6\n")
    assert end(path, 3).lines == [b"4\n", b"5\n", b"6\n"]
    assert end(path, 9).lines == [b"%d\n" % number for number in range(1, 7)]
    assert end(path, 1).lines == [b"6\n"] and end(path, 0).lines == []


def test_lines_of_all_that_was_set_aside(tmp_path: Path) -> None:
    """One that was just set aside may have few lines, and the log none."""
    path = tmp_path / "log"
    for text in ("1\n2\n3\n", "4\n5\n6\n"):
        path.write_text(text)
        LogFile(path, limit_bytes=4).rotate()
    assert end(path, 4).lines == [b"3\n", b"4\n", b"5\n", b"6\n"]
    assert len(end(path, 9).lines) == 6


def test_the_last_words_are_of_who_ended(tmp_path: Path) -> None:
    """Not of the server that was started after it."""
    path = tmp_path / "log"
    assert last_words(path) == "nothing"
    start = "2026-01-01 00:00:00,000 INFO scripts.serve: mlx-edge 0.1.0 starts, pid 7\n"
    path.write_text(start)
    assert last_words(path) == "nothing"
    path.write_text(f"{start}Error: cannot serve\n{start}")
    assert last_words(path) == "Error: cannot serve"


def test_no_log(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        end(tmp_path / "log", 1)


def test_nothing_is_missed_when_the_log_is_rotated(tmp_path: Path) -> None:
    """Not even what was written between the last look and the rotation."""
    path = tmp_path / "log"
    path.write_text("old\n")
    followed = following(path, end(path, 0).position)
    assert next(followed) == b""
    with path.open("a") as log:
        log.write("seen\n")
        log.flush()
        assert next(followed) == b"seen\n"
        log.write("unseen\n")
        log.flush()
        LogFile(path, limit_bytes=4).rotate()
        log.write("new\n")
    assert next(followed) == b"unseen\n" and next(followed) == b"new\n"
    path.unlink()
    assert next(followed) == b"" and next(followed) == b""


def test_a_log_without_lines_is_told(own_user: Path) -> None:
    """Apart from the lines, of which there are none."""
    LogFile(path := platforms.log_file(platforms.here)).make()
    told = CliRunner().invoke(service, ["logs"])
    assert (told.exit_code, told.stdout) == (0, "")
    assert told.stderr == f"Nothing is written in {path} so far.\n"
    path.write_text("a line\n")
    told = CliRunner().invoke(service, ["logs"])
    assert (told.stdout, told.stderr) == ("a line\n", "")

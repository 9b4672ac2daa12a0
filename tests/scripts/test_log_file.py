"""Tests of `serve --log-file`: one file of bounded size, which fails nobody."""

import os
import resource
import stat
import subprocess
import sys
from pathlib import Path

import httpx
import pytest

from scripts.log_file import LogFile, kept_before
from tests.scripts.test_cli import run
from tests.serving import KEY, ROOT
from tests.store_client import wait_until


def test_it_is_set_aside_when_it_is_large(tmp_path: Path) -> None:
    """By copying, for children go on writing into the same open file; the oldest go."""
    path = tmp_path / "folder" / "log"
    log = LogFile(path, limit_bytes=3, num_kept=2)
    log.make()
    with path.open("ab", buffering=0) as child:
        for text in (b"one\n", b"two\n", b"three\n"):
            child.write(text)
            log.rotate()
            assert path.read_bytes() == b""
        child.write(b"4\n")
        log.rotate()
    assert path.read_bytes() == b"4\n"
    assert [kept_before(path, number).read_bytes() for number in (1, 2)] == [b"three\n", b"two\n"]
    assert len(list(path.parent.iterdir())) == 3


def test_it_is_the_users_alone(tmp_path: Path) -> None:
    """With what was set aside, under a umask of 0, and where others could read it before."""
    path = tmp_path / "folder" / "log"
    before = os.umask(0)
    try:
        log = LogFile(path, limit_bytes=1)
        log.make()
        assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
        path.write_text("old\n")
        path.chmod(0o644)
        log.make()
        log.rotate()
    finally:
        os.umask(before)
    modes = {stat.S_IMODE(file.stat().st_mode) for file in path.parent.iterdir()}
    assert modes == {0o600} and kept_before(path, 1).read_text() == "old\n"


WRITES = """
import os, subprocess, sys, time
from pathlib import Path
from scripts.log_file import LogFile
path = Path(sys.argv[1])
LogFile(path, limit_bytes=1000).take_over()
print("\\N{ROCKET} first")
subprocess.run(["echo", "from a child"])
print("x" * 2000)
while path.stat().st_size > 1000: time.sleep(0.01)
print("second", file=sys.stderr)
path.unlink()
while not path.exists(): time.sleep(0.01)
print("third")
"""


def test_a_process_writes_there(tmp_path: Path) -> None:
    """It and its children, on both outputs, over a rotation and a removal by hand."""
    path = tmp_path / "log"
    command = [sys.executable, "-c", WRITES, str(path)]
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert ended.returncode == 0 and ended.stdout == ended.stderr == ""
    older = kept_before(path, 1).read_text().splitlines()
    assert older == ["\N{ROCKET} first", "from a child", "x" * 2000]
    assert path.read_text() == "third\n"


def test_what_was_left_large_is_set_aside_at_once(tmp_path: Path) -> None:
    """A server that crashes again and again lives for no look of the thread."""
    path = tmp_path / "log"
    path.write_text("x" * 2000)
    code = (
        "import os, sys\nfrom pathlib import Path\nfrom scripts.log_file import LogFile\n"
        "LogFile(Path(sys.argv[1]), limit_bytes=1000).take_over()\nos._exit(1)\n"
    )
    subprocess.run([sys.executable, "-c", code, str(path)], cwd=ROOT, timeout=60)
    assert path.read_text() == "" and kept_before(path, 1).read_text() == "x" * 2000


FULL = """
import logging, sys
from pathlib import Path
from scripts.log_file import LogFile
LogFile(Path(sys.argv[1])).take_over()
logging.basicConfig()
for _ in range(3):
    print("x" * 100, flush=True)
    logging.error("no room")
Path(sys.argv[2]).touch()
"""


def test_a_full_disk_fails_nothing(tmp_path: Path) -> None:
    """What cannot be written is lost, and the process ends as it would have."""
    command = [sys.executable, "-c", FULL, "/dev/full", str(tmp_path / "done")]
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert ended.returncode == 0 and ended.stdout == ended.stderr == ""
    assert (tmp_path / "done").exists()


def test_what_cannot_be_copied_makes_room(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A disk that has no room for a copy is not filled any further."""
    path = tmp_path / "log"
    path.write_bytes(b"x" * 5000)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, hard))  # EFBIG, as a full disk has ENOSPC
    try:
        LogFile(path, limit_bytes=1000).rotate()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert path.read_bytes() == b"" and list(tmp_path.iterdir()) == [path]


def test_a_server_whose_log_has_no_room_serves(tmp_path: Path) -> None:
    """It starts, answers, and ends well; it has nowhere to say so."""
    path = tmp_path / "port"
    code = (
        "import sys\nfrom pathlib import Path\nfrom scripts import serve\n"
        "banner = serve._banner\n"
        "def told(url, *rest):\n    banner(url, *rest)\n    Path(sys.argv.pop()).write_text(url)\n"
        "serve._banner = told\nfrom scripts.cli import cli\ncli(sys.argv[1:-1])\n"
    )
    arguments = ["--home", str(tmp_path / "home"), "serve", "--port", "0",
                 "--log-file", "/dev/full", str(path)]  # fmt: skip
    process = subprocess.Popen([sys.executable, "-c", code, *arguments], cwd=ROOT)
    try:
        wait_until(lambda: path.exists() and path.read_text(), 30)
        headers = {"x-api-key": KEY}
        models = httpx.get(f"{path.read_text()}/v1/models", headers=headers, timeout=30)
        assert models.status_code == 200
        process.terminate()
        assert process.wait(30) == 0
    finally:
        process.kill()
        process.wait()


def test_a_log_that_cannot_be_opened_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    refused = run(tmp_path, "serve", "--port", "0", "--log-file", str(tmp_path / "file" / "log"))
    assert refused.returncode == 1 and "cannot be written" in refused.stderr
    assert "Traceback" not in refused.stderr

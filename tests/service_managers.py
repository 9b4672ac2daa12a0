"""Service managers for tests: the real systemd of a user that is nobody else's, and a stand-in of
launchd. Each has a home folder of its own, and ends with all that it started.
"""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests import launchd, mac_cli
from tests.serving import ROOT

_SYSTEMD = Path("/lib/systemd/systemd")
_RUNTIME = "/run/user/0"
_START_S = 30.0

_GROUP = "mlx-edge-test-{}"
_CONTROL_GROUPS = [Path("/sys/fs/cgroup", name) for name in ("", "unified", "systemd")]

# In control groups of its own: two of them would take the processes of both for theirs, and the
# stop of one service would kill the other's. In a mount namespace, so that the sockets of this
# systemd meet nobody else's. It serves whoever finds /run/systemd/system, by sd_booted(3).
_SESSION = f"""
for tree in {" ".join(map(str, _CONTROL_GROUPS))}; do
    group=$tree/{_GROUP.format("$$")}
    test -f $tree/cgroup.procs && mkdir $group && echo $$ >$group/cgroup.procs
done
mount -t tmpfs tmpfs /run && mkdir -p /run/systemd/system {_RUNTIME} && chmod 700 {_RUNTIME} &&
exec {_SYSTEMD} --user --log-target=console
"""


class ServiceManager:
    """As a user meets it."""

    name = ""
    log = Path()  # of the service, below the home folder
    unit = Path()  # its file
    pause_s = 0.0  # before a service that was killed is started again

    def __init__(self, folder: Path) -> None:
        self.user = folder / "user"
        self.user.mkdir(parents=True)
        self.home = folder / "home"
        kept = {
            name: value for name, value in os.environ.items()
            if not name.startswith(("XDG_", "DBUS_", "MLX_EDGE_"))
        }  # fmt: skip
        self.environment = kept | {"HOME": str(self.user)}

    def command(self, *arguments: str) -> list[str]:
        """The mlx-edge command, as it finds this manager."""
        raise NotImplementedError

    def run(self, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            self.command(*arguments),
            cwd=ROOT,
            env=self.environment | environment,
            capture_output=True,
            text=True,
            timeout=120,
        )

    def install(self, *options: str, **environment: str) -> str:
        """Its words, when the service runs on a port that was free."""
        ran = self.run("service", "install", "--port", "0", *options, **environment)
        assert ran.returncode == 0, ran.stderr
        return ran.stdout

    def status(self) -> dict[str, Any]:
        told: dict[str, Any] = json.loads(self.run("service", "status", "--json").stdout)
        return told

    def port(self) -> int:
        """Where the service listens."""
        return int(self.status()["url"].rpartition(":")[2])

    def processes(self) -> list[psutil.Process]:
        """All that have the home in their command."""
        found = []
        for process in psutil.process_iter():
            try:
                if str(self.home) in process.cmdline():
                    found.append(process)
            except psutil.Error:
                continue
        return found

    def files(self) -> set[Path]:
        """All that lies in the user's home folder."""
        return {
            path.relative_to(self.user) for path in self.user.rglob("*")
            if not path.is_dir() or path.is_symlink()
        }  # fmt: skip


class Systemd(ServiceManager):
    name = "systemd"
    log = Path(".local/state/mlx-edge/log/mlx-edge.log")
    unit = Path(".config/systemd/user/mlx-edge.service")

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.environment |= {"XDG_RUNTIME_DIR": _RUNTIME}
        self._output = (folder / "systemd.log").open("w+")
        self._process = subprocess.Popen(
            ["unshare", "--mount", "--propagation", "private", "bash", "-c", _SESSION],
            env=self.environment,
            stdout=self._output,
            stderr=subprocess.STDOUT,
        )

    def inside(self, *command: str) -> list[str]:
        """A command where this systemd is to be found."""
        enter = ["nsenter", "--target", str(self._process.pid), "--mount"]
        return [*enter, "env", f"--chdir={ROOT}", *command]

    def command(self, *arguments: str) -> list[str]:
        cli = (sys.executable, "-m", "scripts.cli", "--home", str(self.home))
        return self.inside(*cli, *arguments)

    def systemctl(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            self.inside("systemctl", "--user", *arguments),
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=60,
        )

    def answers(self) -> bool:
        deadline = time.monotonic() + _START_S
        while time.monotonic() < deadline and self._process.poll() is None:
            if self.systemctl("show").returncode == 0:
                return True
            time.sleep(0.1)
        return False

    def end(self) -> None:
        self._process.send_signal(signal.SIGTERM)
        try:
            self._process.wait(60)
        finally:
            self._process.kill()
            self._process.wait()
            self._output.close()
            for tree in _CONTROL_GROUPS:
                group = tree / _GROUP.format(self._process.pid)
                for folder, _, _ in os.walk(group, topdown=False):
                    with suppress(OSError):
                        os.rmdir(folder)


@contextmanager
def systemd(folder: Path) -> Iterator[Systemd]:
    """A systemd of this user. Skips where none can be had."""
    if os.geteuid() != 0:
        pytest.skip("a systemd of its own needs root, for a mount namespace")
    for program in (str(_SYSTEMD), "unshare", "nsenter", "systemctl"):
        if shutil.which(program) is None:
            pytest.skip(f"no {program} here")
    manager = Systemd(folder)
    try:
        if not manager.answers():
            pytest.skip(f"systemd does not run here: {(folder / 'systemd.log').read_text()[-500:]}")
        yield manager
    finally:
        manager.end()


class Launchd(ServiceManager):
    name = "launchd"
    log = Path("Library/Logs/mlx-edge/mlx-edge.log")
    unit = Path("Library/LaunchAgents/com.mlx-edge.server.plist")

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        sock = folder / "launchd.sock"
        tool = folder / "launchctl"
        tool.write_text(
            f"#!{sys.executable}\nimport sys\nsys.path.insert(0, {str(ROOT)!r})\n"
            f"from tests.launchd import launchctl\nlaunchctl({str(sock)!r})\n"
        )
        tool.chmod(0o700)
        self.environment |= {mac_cli.LAUNCHCTL: str(tool)}
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.launchd", str(sock)],
            cwd=ROOT,
            env=self.environment | {launchd.THROTTLE_S: "1"},
        )
        deadline = time.monotonic() + _START_S
        while not sock.exists():
            is_starting = self._process.poll() is None and time.monotonic() < deadline
            assert is_starting, "the stand-in of launchd did not start"
            time.sleep(0.02)

    def command(self, *arguments: str) -> list[str]:
        return [sys.executable, "-m", "tests.mac_cli", "--home", str(self.home), *arguments]

    def end(self) -> None:
        self._process.send_signal(signal.SIGTERM)
        try:
            assert self._process.wait(60) == 0
        finally:
            self._process.kill()
            self._process.wait()


@contextmanager
def launchd_stand_in(folder: Path) -> Iterator[Launchd]:
    manager = Launchd(folder)
    try:
        yield manager
    finally:
        manager.end()

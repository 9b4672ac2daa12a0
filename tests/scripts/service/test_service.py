"""Tests of `mlx-edge service` with a real systemd, and with a stand-in of launchd."""

import json
import os
import re
import signal
import socket
import stat
import subprocess
from pathlib import Path

import psutil
import pytest

from tests.service_managers import ServiceManager
from tests.store_client import wait_until

pytestmark = pytest.mark.slow


def log_of(manager: ServiceManager) -> str:
    return (manager.user / manager.log).read_text()


def test_a_life(manager: ServiceManager) -> None:
    """Installed, killed, started again by its manager, restarted, removed: nothing is left."""
    absent = manager.run("service", "status")
    assert absent.returncode == 4 and "not installed" in absent.stdout
    words = manager.install()
    first = manager.status()
    assert first["running"] and first["ready"] and first["url"] in words
    assert first["restarts"] == 0 and first["models"] == []
    shown = manager.run("service", "status")
    assert shown.returncode == 0 and f"pid {first['pid']}" in shown.stdout

    os.kill(first["pid"], signal.SIGKILL)
    wait_until(lambda: manager.status()["ready"], 60)
    second = manager.status()
    assert second["pid"] != first["pid"] and second["restarts"] == 1
    assert second["last_end"] == "was ended by SIGKILL"
    assert "before     it was ended by SIGKILL" in manager.run("service", "status").stdout

    assert manager.run("service", "restart").returncode == 0
    third = manager.status()
    assert third["ready"] and third["pid"] not in (first["pid"], second["pid"])
    starts = [
        int(pid) for pid in re.findall(r"^\d{4}-.* starts, pid (\d+)$", log_of(manager), re.M)
    ]
    assert starts == [first["pid"], second["pid"], third["pid"]]
    logs = manager.run("service", "logs", "-n", "1")
    assert logs.stdout == log_of(manager).splitlines(keepends=True)[-1]

    removed = manager.run("service", "uninstall")
    assert removed.returncode == 0 and "the key stay" in removed.stdout
    assert manager.files() == {manager.log} and not manager.processes()
    for command in ("status", "uninstall", "start", "stop", "restart"):
        assert manager.run("service", command).returncode == 4


def test_files_are_the_users_alone(manager: ServiceManager) -> None:
    """Under a umask of 0: the definition may be read, the log not even that."""
    before = os.umask(0)
    try:
        manager.install()
    finally:
        os.umask(before)
    modes = {path: stat.S_IMODE((manager.user / path).lstat().st_mode) for path in manager.files()}
    assert modes[manager.unit] == 0o644 and modes[manager.log] == 0o600
    assert stat.S_IMODE((manager.user / manager.log).parent.stat().st_mode) == 0o700
    assert not [path for path in manager.home.rglob("*") if path.lstat().st_mode & 0o077]


def test_a_key_that_cannot_be_had(manager: ServiceManager) -> None:
    """The rest is told, and the status is as ever; the key of a shell is not the service's."""
    assert manager.run("key", "new").returncode == 0
    manager.install()
    told = json.loads(
        manager.run("service", "status", "--json", MLX_EDGE_API_KEY="of-the-shell").stdout
    )
    assert told["ready"] and told["trouble"] is None
    (manager.home / "api-key").chmod(0o644)
    shown = manager.run("service", "status")
    assert shown.returncode == 0 and f"pid {told['pid']}" in shown.stdout
    assert "may be read by others" in shown.stdout
    assert manager.run("service", "stop").returncode == 0
    assert manager.run("service", "status").returncode == 3


def test_a_file_that_was_removed_by_hand(manager: ServiceManager) -> None:
    """What runs without it is told, stopped and uninstalled all the same."""
    for command, words in (("stop", "its file was removed"), ("uninstall", "is removed")):
        manager.install()
        (manager.user / manager.unit).unlink()
        shown = manager.run("service", "status")
        assert shown.returncode == 0 and "it runs without its file" in shown.stdout
        ended = manager.run("service", command)
        assert ended.returncode == 0 and words in ended.stdout
        assert not manager.processes() and manager.run("service", "status").returncode == 4
    assert manager.files() == {manager.log}


def test_installing_again_replaces(manager: ServiceManager) -> None:
    """Other options, another process, one service."""
    manager.install()
    first = manager.status()
    port = first["url"].rpartition(":")[2]
    again = manager.run("service", "install", "--", "--port", port, "--keep-alive", "1h")
    assert again.returncode == 0, again.stderr  # its port is held by itself
    second = manager.status()
    assert second["url"] == first["url"] and second["pid"] != first["pid"]
    (server,) = [process for process in manager.processes() if "serve" in process.cmdline()]
    assert "1h" in server.cmdline() and server.pid == second["pid"]
    refused = manager.run("service", "install", "--port", port, "--keep-alive", "soon")
    assert refused.returncode == 2 and "'soon' is no duration" in refused.stderr
    assert manager.status()["pid"] == second["pid"]


def test_a_port_that_somebody_holds(manager: ServiceManager) -> None:
    """Who holds it is told, and nothing is written."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = str(listener.getsockname()[1])
        refused = manager.run("service", "install", "--port", port)
    assert refused.returncode == 1 and "nothing is installed" in refused.stderr
    assert f"held by {psutil.Process().name()} (pid {os.getpid()})" in refused.stderr
    assert manager.files() == set()


def test_a_port_that_is_taken_later(manager: ServiceManager) -> None:
    """The server is tried again and again, with pauses; when the port is free it serves."""
    manager.install()
    port = manager.port()
    assert manager.run("service", "install", "--port", str(port)).returncode == 0
    assert manager.run("service", "stop").returncode == 0
    with socket.create_server(("127.0.0.1", port)):
        failed = manager.run("service", "start")
        assert failed.returncode == 1 and "instead of listening" in failed.stderr
        holder = f"held by {psutil.Process().name()} (pid {os.getpid()})"
        assert f"cannot serve on 127.0.0.1:{port}: the port is {holder}" in failed.stderr
        assert manager.status()["last_end"] == "ended with status 1"
    wait_until(lambda: manager.status()["ready"], 60)


def test_no_secret_is_written_down(manager: ServiceManager) -> None:
    """Neither the key of the home nor what the shell knows is in a file, a command or the log."""
    canary = "canary-0123456789"
    kept = subprocess.run(
        manager.command("key", "set"), input=f"{canary}-home\n", text=True,
        cwd=Path.cwd(), env=manager.environment, capture_output=True,
    )  # fmt: skip
    assert kept.returncode == 0, kept.stderr
    environment = {
        "MLX_EDGE_API_KEY": f"{canary}-shell",
        "HF_TOKEN": canary,
        "HTTPS_PROXY": f"http://user:{canary}@127.0.0.1:9",
        "MLX_EDGE_SERVE_MAX_ROWS": "7",
    }
    words = manager.install(**environment)
    for name in ("MLX_EDGE_API_KEY", "HF_TOKEN", "HTTPS_PROXY"):
        assert f"{name} is not in it" in words
    assert "The server takes what `mlx-edge key` prints" in words and "mlx-edge pull" in words
    assert "MLX_EDGE_SERVE_MAX_ROWS" in (manager.user / manager.unit).read_text()
    running = manager.status()
    assert running["ready"] and running["trouble"] is None  # it was told the models, by its key
    assert manager.run("ps", "--server", running["url"]).returncode == 0
    assert "Unauthorized" in manager.run("ps", "--server", running["url"], **environment).stderr
    for path in manager.files():
        assert canary not in (manager.user / path).read_text()
    for process in manager.processes():
        assert canary not in " ".join([*process.cmdline(), *process.environ().values()])
    with_canary = [path for path in manager.home.rglob("*")
                   if path.is_file() and canary.encode() in path.read_bytes()]  # fmt: skip
    assert with_canary == [manager.home / "api-key"]


def test_who_cannot_seal_can_serve_all_the_same(manager: ServiceManager) -> None:
    """What README says of `serve` counts for the service; that its children are open is told."""
    assert "MLX_EDGE_UNSEALED=1 is in it" in manager.install(MLX_EDGE_UNSEALED="1")
    url = manager.status()["url"]
    told = manager.run("doctor", "--privacy", "--server", url)
    words = " ".join(told.stdout.split())  # where a line ends hangs on how long a pid is
    assert "has a network, which it needs for nothing" in words, told.stderr


def test_a_key_among_the_options_is_refused(manager: ServiceManager) -> None:
    """As `--api-key`, and as a log of one's own; nothing is written."""
    refused = manager.run("service", "install", "--api-key", "secret")
    assert refused.returncode == 2 and "mlx-edge key set" in refused.stderr
    own_log = manager.run("service", "install", "--log-file", "x")
    assert own_log.returncode == 2 and "mlx-edge service logs" in own_log.stderr
    assert manager.files() == set()

"""Tests of `mlx-edge service` with a real systemd, and with a stand-in of launchd."""

import json
import os
import plistlib
import re
import signal
import socket
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.models.tiny_models import make_llama
from tests.scripts.test_cli import run
from tests.service_managers import ServiceManager, launchd_stand_in, systemd
from tests.serving import chat_request, link_model, read_all
from tests.store_client import wait_until

pytestmark = pytest.mark.slow

MANAGERS = {"systemd": systemd, "launchd": launchd_stand_in}


@pytest.fixture(params=MANAGERS)
def manager(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[ServiceManager]:
    with MANAGERS[request.param](tmp_path) as made:
        yield made
        pids = [process.pid for process in _of(made)]
    assert not [pid for pid in pids if psutil.pid_exists(pid)]


def _of(manager: ServiceManager) -> list[psutil.Process]:
    """All processes that have the manager's home in their command."""
    found = []
    for process in psutil.process_iter():
        try:
            if str(manager.home) in process.cmdline():
                found.append(process)
        except psutil.Error:
            continue
    return found


def install(manager: ServiceManager, *options: str, **environment: str) -> str:
    """Its words, when it runs on a port that was free."""
    ran = manager.run("service", "install", "--port", "0", *options, **environment)
    assert ran.returncode == 0, ran.stderr
    return ran.stdout


def status(manager: ServiceManager) -> dict[str, Any]:
    told: dict[str, Any] = json.loads(manager.run("service", "status", "--json").stdout)
    return told


def log_of(manager: ServiceManager) -> str:
    return (manager.user / manager.log).read_text()


def test_a_life(manager: ServiceManager) -> None:
    """Installed, killed, started again by its manager, restarted, removed: nothing is left."""
    absent = manager.run("service", "status")
    assert absent.returncode == 4 and "not installed" in absent.stdout
    words = install(manager)
    first = status(manager)
    assert first["running"] and first["ready"] and first["url"] in words
    assert first["restarts"] == 0 and first["models"] == []
    shown = manager.run("service", "status")
    assert shown.returncode == 0 and f"pid {first['pid']}" in shown.stdout

    os.kill(first["pid"], signal.SIGKILL)
    wait_until(lambda: status(manager)["ready"], 60)
    second = status(manager)
    assert second["pid"] != first["pid"] and second["restarts"] == 1
    assert second["last_end"] == "was ended by SIGKILL"
    assert "before     it was ended by SIGKILL" in manager.run("service", "status").stdout

    assert manager.run("service", "restart").returncode == 0
    third = status(manager)
    assert third["ready"] and third["pid"] not in (first["pid"], second["pid"])
    starts = [
        int(pid) for pid in re.findall(r"^\d{4}-.* starts, pid (\d+)$", log_of(manager), re.M)
    ]
    assert starts == [first["pid"], second["pid"], third["pid"]]
    logs = manager.run("service", "logs", "-n", "1")
    assert logs.stdout == log_of(manager).splitlines(keepends=True)[-1]

    removed = manager.run("service", "uninstall")
    assert removed.returncode == 0 and "the key stay" in removed.stdout
    assert manager.files() == {manager.log} and not _of(manager)
    for command in ("status", "uninstall", "start", "stop", "restart"):
        assert manager.run("service", command).returncode == 4


def test_files_are_the_users_alone(manager: ServiceManager) -> None:
    """Under a umask of 0: the definition may be read, the log not even that."""
    before = os.umask(0)
    try:
        install(manager)
    finally:
        os.umask(before)
    modes = {path: stat.S_IMODE((manager.user / path).lstat().st_mode) for path in manager.files()}
    assert modes[manager.unit] == 0o644 and modes[manager.log] == 0o600
    assert stat.S_IMODE((manager.user / manager.log).parent.stat().st_mode) == 0o700
    assert not [path for path in manager.home.rglob("*") if path.lstat().st_mode & 0o077]


def test_a_stop_lets_a_stream_finish(manager: ServiceManager, tmp_path: Path) -> None:
    """All of the answer comes, the server ends well, and is not started again until it is asked."""
    link_model(manager.home, "tiny", make_llama(tmp_path / "tiny"))
    install(manager, "--drain-timeout", "120s")
    running = status(manager)
    port = int(running["url"].rpartition(":")[2])
    body = {
        "model": "tiny",
        "messages": [{"role": "user", "content": "hi"}],
        "max_tokens": 6000,
        "temperature": 0,
        "stream": True,
    }
    with socket.create_connection(("127.0.0.1", port), timeout=120) as sock:
        sock.sendall(chat_request(body, Host=f"127.0.0.1:{port}"))
        begun = sock.recv(65536)
        assert status(manager)["models"][0]["id"] == "tiny"
        stopping = subprocess.Popen(
            manager.command("service", "stop"), cwd=Path.cwd(), env=manager.environment
        )
        assert b"data: [DONE]" in begun + read_all(sock)
    assert stopping.wait(60) == 0
    stopped = manager.run("service", "status", "--json")
    told = json.loads(stopped.stdout)
    assert stopped.returncode == 3 and told["installed"] and not told["running"]
    assert told["last_end"] in ("ended well", None)  # launchd forgets what it does not run
    assert not _of(manager)
    assert manager.run("service", "stop").returncode == 0  # once more is no fault
    assert manager.run("service", "start").returncode == 0 and status(manager)["ready"]


def test_installing_again_replaces(manager: ServiceManager) -> None:
    """Other options, another process, one service."""
    install(manager)
    first = status(manager)
    port = first["url"].rpartition(":")[2]
    again = manager.run("service", "install", "--", "--port", port, "--keep-alive", "1h")
    assert again.returncode == 0, again.stderr  # its port is held by itself
    second = status(manager)
    assert second["url"] == first["url"] and second["pid"] != first["pid"]
    (server,) = [process for process in _of(manager) if "serve" in process.cmdline()]
    assert "1h" in server.cmdline() and server.pid == second["pid"]
    refused = manager.run("service", "install", "--port", port, "--keep-alive", "soon")
    assert refused.returncode == 2 and "'soon' is no duration" in refused.stderr
    assert status(manager)["pid"] == second["pid"]


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
    install(manager)
    port = int(status(manager)["url"].rpartition(":")[2])
    assert manager.run("service", "install", "--port", str(port)).returncode == 0
    assert manager.run("service", "stop").returncode == 0
    with socket.create_server(("127.0.0.1", port)):
        failed = manager.run("service", "start")
        assert failed.returncode == 1 and "instead of listening" in failed.stderr
        holder = f"held by {psutil.Process().name()} (pid {os.getpid()})"
        assert f"cannot serve on 127.0.0.1:{port}: the port is {holder}" in log_of(manager)
        assert status(manager)["last_end"] == "ended with status 1"
    wait_until(lambda: status(manager)["ready"], 60)


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
    words = install(manager, **environment)
    for name in ("MLX_EDGE_API_KEY", "HF_TOKEN", "HTTPS_PROXY"):
        assert f"{name} is not in it" in words
    assert "MLX_EDGE_SERVE_MAX_ROWS" in (manager.user / manager.unit).read_text()
    running = status(manager)
    assert running["ready"] and running["trouble"] is None  # it was told the models, by its key
    assert manager.run("ps", "--server", running["url"]).returncode == 0
    assert "Unauthorized" in manager.run("ps", "--server", running["url"], **environment).stderr
    for path in manager.files():
        assert canary not in (manager.user / path).read_text()
    for process in _of(manager):
        assert canary not in " ".join([*process.cmdline(), *process.environ().values()])
    with_canary = [path for path in manager.home.rglob("*")
                   if path.is_file() and canary.encode() in path.read_bytes()]  # fmt: skip
    assert with_canary == [manager.home / "api-key"]


def test_a_key_among_the_options_is_refused(manager: ServiceManager) -> None:
    """As `--api-key`, and as a log of one's own; nothing is written."""
    refused = manager.run("service", "install", "--api-key", "secret")
    assert refused.returncode == 2 and "mlx-edge key set" in refused.stderr
    own_log = manager.run("service", "install", "--log-file", "x")
    assert own_log.returncode == 2 and "mlx-edge service logs" in own_log.stderr
    assert manager.files() == set()


def test_the_menu_bar_comes_and_goes_with_it(tmp_path: Path) -> None:
    """A second agent, for the server as it is installed now; it goes where that is said."""
    menubar = Path("Library/LaunchAgents/com.mlx-edge.menubar.plist")
    with launchd_stand_in(tmp_path) as manager:
        install(manager, "--menubar")
        url = status(manager)["url"]
        keys = plistlib.loads((manager.user / menubar).read_bytes())
        assert keys["ProgramArguments"][-3:] == ["menubar", "--server", url]
        assert keys["ProgramArguments"][-5:-3] == ["--home", str(manager.home)]
        install(manager, "--no-menubar")
        assert menubar not in manager.files()
        install(manager, "--menubar")
        install(
            manager
        )  # the server is elsewhere now, and who wanted it in the menu bar still does
        keys = plistlib.loads((manager.user / menubar).read_bytes())
        assert keys["ProgramArguments"][-1] == status(manager)["url"] != url
        assert manager.run("service", "uninstall").returncode == 0
        assert not [path for path in manager.files() if path.suffix == ".plist"]
        assert not _of(manager)


def test_the_menu_bar_at_login_is_switched_by_itself(tmp_path: Path) -> None:
    """As its own item does it: what runs now goes on, and nothing else is started."""
    menubar = Path("Library/LaunchAgents/com.mlx-edge.menubar.plist")
    with launchd_stand_in(tmp_path) as manager:
        assert manager.run("service", "menubar", "status").returncode == 3
        url = "http://127.0.0.1:9999"
        switched = manager.run("service", "menubar", "on", "--server", url)
        assert switched.returncode == 0, switched.stderr
        assert manager.run("service", "menubar", "status").returncode == 0
        keys = plistlib.loads((manager.user / menubar).read_bytes())
        assert keys["ProgramArguments"][-3:] == ["menubar", "--server", url]
        assert not _of(manager)
        for _ in range(2):  # also of what is off
            assert manager.run("service", "menubar", "off").returncode == 0
        assert menubar not in manager.files()
        assert manager.run("service", "menubar", "status").returncode == 3


def test_there_is_a_menu_bar_on_a_mac_only(tmp_path: Path) -> None:
    if sys.platform == "darwin":
        pytest.skip("this is one")
    for words in (["install", "--menubar"], ["menubar", "on"], ["menubar", "status"]):
        refused = run(tmp_path, "service", *words)
        assert refused.returncode == 2 and "The menu bar is for macOS" in refused.stderr

"""Tests of the mlx-edge command, run as a person runs it."""

import re
import socket
import subprocess
import sys
import time
import venv
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import psutil
import pytest
from click.testing import CliRunner

from registry.store.store import Store
from runtime.memory import machine
from scripts.cli import cli
from scripts.serve import _bigger
from tests import processes
from tests.models.tiny_models import make_llama
from tests.serving import ROOT, ServerProcess, link_model


def run(home: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "scripts.cli", "--home", str(home), *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60)


def test_import_list_show_rm(tmp_path: Path) -> None:
    """A folder is imported, seen, and removed again; mistakes are told without a traceback."""
    source, home = make_llama(tmp_path / "source"), tmp_path / "home"
    imported = run(home, "import", str(source), "--id", "tiny", "--kv-bits", "8")
    assert "tiny is ready" in imported.stdout
    again = run(home, "import", str(source), "--id", "tiny")
    assert again.returncode == 1 and "already exists" in again.stderr
    assert "tiny" in run(home, "list").stdout
    shown = run(home, "show", "tiny").stdout
    assert "llm" in shown and "KV cache     8 bits" in shown
    assert run(home, "rm", "tiny").returncode == 0
    missing = run(home, "show", "tiny")
    assert missing.returncode == 1 and "not found" in missing.stderr
    assert "no config.json" in run(home, "import", str(tmp_path), "--id", "x").stderr


def test_load_ps_unload(server: ServerProcess) -> None:
    """The commands for a running server show its models and give memory back."""
    address = ["--server", server.url]
    assert "tiny is loaded" in run(server.home, "load", "tiny", *address).stdout
    assert re.search(
        r"tiny .* MB .* MB.* +0:\d\d:\d\d +0 running", run(server.home, "ps", *address).stdout
    )
    assert "MB came back" in run(server.home, "unload", "tiny", *address).stdout
    nobody = run(server.home, "ps", "--server", "http://127.0.0.1:9")
    assert nobody.returncode == 1 and "no server answers" in nobody.stderr
    assert "not found" in run(server.home, "load", "nope", *address).stderr


def test_flags_beat_environment_beats_file(tmp_path: Path) -> None:
    """A key from config.toml, from the environment, from a flag: the nearest wins."""
    home = tmp_path / "home"
    home.mkdir()
    (home / "config.toml").write_text('[serve]\napi-key = "from-file"\n')

    def accepted(server: ServerProcess) -> set[str]:
        import httpx

        keys = ("from-file", "from-environment", "from-flag")
        return {
            key for key in keys
            if httpx.get(f"{server.url}/v1/models", headers={"x-api-key": key}).status_code == 200
        }  # fmt: skip

    environment = {"MLX_EDGE_API_KEY": "from-environment"}
    with ServerProcess(home) as server:
        assert accepted(server) == {"from-file"}
    with ServerProcess(home, environment=environment) as server:
        assert accepted(server) == {"from-environment"}
        assert "from-environment" not in server.log
    with ServerProcess(home, "--api-key", "from-flag", environment=environment) as server:
        assert accepted(server) == {"from-flag"}


def test_the_banner_has_five_lines(tmp_path: Path) -> None:
    """Where, the key, the chat page and the model that answers, a curl to copy, and how to get a
    bigger model: at first one that fits this machine, then any."""
    home = tmp_path / "home"
    with ServerProcess(home) as server:
        lines = server.log.splitlines()
    assert len(lines) == 5
    assert lines[0] == f"Listening on {server.url}"
    assert "1234" in lines[1] and "pocket" in lines[2] and "mlx-edge pull" in lines[4]
    assert f"chat with it at {server.url}/" in lines[2]
    assert "curl" in lines[3] and server.url in lines[3]
    assert (
        re.search(r"pull [a-z0-9.-]+ .*(MB|GB) to fetch.*fits", lines[4]) or "no model" in lines[4]
    )
    link_model(home, "tiny", make_llama(tmp_path / "tiny"))
    with ServerProcess(home) as server:
        lines = server.log.splitlines()
    assert len(lines) == 5 and "list --catalog" in lines[4] and "to fetch" not in lines[4]


def test_a_machine_for_which_no_model_is_small_enough(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(machine, "physical_bytes", lambda: 400 << 20)
    assert "no model of the catalog fits" in _bigger(Store(tmp_path))


def test_the_web_process_starts_small(tmp_path: Path) -> None:
    """Under 60 MB of its own before the first request."""
    with ServerProcess(tmp_path / "home") as server:
        time.sleep(0.3)
        assert psutil.Process(server.process.pid).memory_info().rss < 60 << 20


@pytest.mark.slow
def test_the_wheel_nests_its_packages(tmp_path: Path) -> None:
    """Built and installed elsewhere, the command serves, and nothing named `web` is installed."""
    build = [
        sys.executable,
        "-m",
        "pip",
        "wheel",
        "-q",
        "--no-deps",
        "-w",
        str(tmp_path),
        str(ROOT),
    ]
    subprocess.run(build, check=True, timeout=300)
    (wheel,) = tmp_path.glob("*.whl")
    venv.create(tmp_path / "venv", with_pip=True)
    python = tmp_path / "venv" / "bin" / "python"
    subprocess.run(
        [python, "-m", "pip", "install", "-q", "--no-deps", wheel], check=True, timeout=300
    )
    site = next((tmp_path / "venv" / "lib").glob("*/site-packages"))
    assert (site / "mlx_edge" / "web" / "app.py").exists() and not (site / "web").exists()
    assert (site / "mlx_edge" / "registry" / "pocket" / "model.safetensors").exists()
    # Its dependencies are those of this environment.
    (site / "dependencies.pth").write_text(str(Path(psutil.__file__).parents[1]))
    command = str(tmp_path / "venv" / "bin" / "mlx-edge")
    version = subprocess.run([command, "--version"], capture_output=True, text=True, cwd=tmp_path)
    assert "mlx-edge" in version.stdout, version.stderr


@pytest.mark.parametrize(
    ("config", "words"),
    [("serve = 5", "serve"), ("[serv]\nport = 1", "serv"), ("[serve]\nprot = 1", "prot"),
     ("[serve", "cannot be read")],
)  # fmt: skip
def test_a_config_with_a_slip_is_told(tmp_path: Path, config: str, words: str) -> None:
    """A misspelt setting is an error with its name, never a setting that is not heard."""
    (tmp_path / "config.toml").write_text(config)
    outcome = run(tmp_path, "list")
    assert outcome.returncode == 1 and words in outcome.stderr and "Traceback" not in outcome.stderr


def test_servers_that_are_none(tmp_path: Path) -> None:
    """Another scheme, a name that does not exist, an answer that is not ours: told in a line."""
    for address in ("https://127.0.0.1:9", "http://no.such.host.invalid", "127.0.0.1:9", "ftp://x"):
        outcome = run(tmp_path, "ps", "--server", address)
        assert outcome.returncode == 1 and "no server answers" in outcome.stderr, outcome.stderr
        assert "Traceback" not in outcome.stderr


def test_a_server_that_dies_in_a_load_is_not_a_success(tmp_path: Path) -> None:
    """A progress that breaks off is an error."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def answer_half() -> None:
            connection, _ = listener.accept()
            with connection:
                request = b""
                while b"tiny" not in request:
                    request += connection.recv(65536)
                connection.sendall(
                    b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n"
                    b'data: {"type":"model.loading","loaded_bytes":1,"total_bytes":2}\n\n'
                )

        with ThreadPoolExecutor(1) as pool:
            pool.submit(answer_half)
            address = f"http://127.0.0.1:{listener.getsockname()[1]}"
            outcome = run(tmp_path, "load", "tiny", "--server", address)
    assert outcome.returncode == 1 and "ended before" in outcome.stderr


@pytest.mark.parametrize(
    "flags", [["--api-key", " k "], ["--api-key", ""], ["--host", "0.0.0.0"]], ids=str
)
def test_settings_that_could_not_work_are_refused(tmp_path: Path, flags: list[str]) -> None:
    """Instead of a server that answers 401 to everybody, or everybody."""
    outcome = run(tmp_path, "serve", "--port", "0", *flags)
    assert outcome.returncode == 1 and "key" in outcome.stderr


@pytest.mark.parametrize(("host", "asked"), [("0.0.0.0", "127.0.0.1"), ("::", "[::1]")])
def test_the_banner_of_a_server_on_all_addresses_can_be_copied(
    tmp_path: Path, host: str, asked: str
) -> None:
    """0.0.0.0 is no host to ask for, nor is ::, and the key is one's own."""
    flags = ["--host", host, "--api-key", "sesame", "--heartbeat", "-1"]
    with ServerProcess(tmp_path / "home", *flags) as server:
        command = next(line for line in server.log.splitlines() if line.startswith("Try:"))
        url = command.split()[2].removesuffix("/v1/chat/completions")
        assert httpx.get(f"{url}/health").status_code == 200
    assert f"http://{asked}:" in url and '"Authorization: Bearer $MLX_EDGE_API_KEY"' in command


def test_a_server_that_cannot_seal_its_engines_does_not_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It says why, and how to serve all the same; nothing was started, no port was had."""

    async def refused() -> str:
        return "Operation not permitted"

    monkeypatch.setattr("web.server.why_not_sealed", refused)
    monkeypatch.setattr("runtime.processes.destinations.listen", lambda: None)  # it would stay
    with socket.create_server(("127.0.0.1", 0)) as listener:  # it is not even asked for
        port = str(listener.getsockname()[1])
        done = CliRunner().invoke(cli, ["--home", str(tmp_path), "serve", "--port", port])
    assert done.exit_code == 1
    assert "Operation not permitted" in done.output and "MLX_EDGE_UNSEALED=1" in done.output
    assert not processes.children()

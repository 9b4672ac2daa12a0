"""Tests of mlx-edge pull, import, convert and verify, run as a person runs them."""

import os
import pty
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from registry.store.store import Store
from tests.hub.hub_server import HubServer, Slow, Status
from tests.models.gguf_files import write_gguf
from tests.models.tiny_models import make_llama
from tests.scripts.test_cli import run
from tests.serving import ROOT, ServerProcess


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_llama(tmp_path_factory.mktemp("source") / "tiny")


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[HubServer]:
    """The hub of the command's environment."""
    with HubServer() as server:
        monkeypatch.setenv("HF_ENDPOINT", server.url)
        yield server


STAGES = {
    "starting", "resolving", "downloading", "checking", "converting", "verifying", "publishing"
}  # fmt: skip
CDN = ("--allow-private-downloads", "localhost")  # of the hub that the tests run


def test_pull_a_repository(hub: HubServer, folder: Path, tmp_path: Path) -> None:
    """By owner and name; a branch becomes a commit; show tells all of it; a second pull refuses."""
    commit = hub.add_folder("org/tiny", folder, licence="mit")
    home = tmp_path / "home"
    pulled = run(home, "pull", "org/tiny@main", *CDN)
    assert pulled.returncode == 0 and "tiny is ready" in pulled.stdout, pulled.stderr
    # Stages that pass between two looks are not told: which ones, is the machine's affair.
    stages = [line.partition(":")[0] for line in pulled.stdout.splitlines()[:-1]]
    assert stages and set(stages) <= STAGES
    assert "\r" not in pulled.stdout and "\x1b" not in pulled.stdout
    shown = run(home, "show", "tiny").stdout
    for words in ("hub org/tiny", commit, "mit", "8192 tokens", "model.safetensors", "llama"):
        assert words in shown
    again = run(home, "pull", "org/tiny", *CDN)
    assert again.returncode == 0 and "here already" in again.stdout
    assert run(home, "pull", "org/tiny", "--id", "other", "--bits", "4", *CDN).returncode == 0
    assert "4 bits in groups of 64" in run(home, "show", "other").stdout


def test_pull_by_a_catalog_name(hub: HubServer, folder: Path, tmp_path: Path) -> None:
    """The name's repository and bits; the list says what is here."""
    hub.add_folder("HuggingFaceTB/SmolLM2-360M-Instruct", folder)
    home = tmp_path / "home"
    assert "to fetch" in _line(run(home, "list", "--catalog").stdout, "smollm2-360m")
    pulled = run(home, "pull", "smollm2-360m", *CDN)
    assert pulled.returncode == 0, pulled.stderr
    assert "here" in _line(run(home, "list", "--catalog").stdout, "smollm2-360m")
    record = Store(home).get("smollm2-360m").record
    assert record is not None and record.verified is not None and record.verified.bits == 8
    assert "nomic-embed-text" in run(home, "list", "--catalog").stdout


def _line(text: str, start: str) -> str:
    return next(line for line in text.splitlines() if line.startswith(start))


def test_pull_a_url(hub: HubServer, folder: Path, tmp_path: Path) -> None:
    """A .gguf or a folder gives its own name; where there is none, one is wanted."""
    url = hub.add_file("tiny-Q8_0.gguf", write_gguf(folder, tmp_path / "x.gguf", "Q8_0"))
    pulled = run(tmp_path / "home", "pull", url)
    assert pulled.returncode == 0 and "tiny-Q8_0 is ready" in pulled.stdout, pulled.stderr
    nameless = run(tmp_path / "home", "pull", f"{hub.url}/")
    assert nameless.returncode == 1 and "--id" in nameless.stderr


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["pull", "nope"], "not in the catalog"),
        (["pull", "a/b/c"], "not in the catalog"),
        (["pull", "org/none"], "no model org/none"),
        (["pull", "org/tiny", "--id", "../x"], "cannot be a model's id"),
        (["pull", "file:///etc/passwd"], "not in the catalog"),
        (["pull", "http://127.1/x.gguf"], "private"),
        (["pull", "http://[::1]/x.gguf"], "private"),
        (["convert", "nope", "--bits", "4"], "not found"),
        (["verify", "nope"], "not found"),
        (["import", "tests", "--id", "x"], "config.json"),
        (["import", "README.md", "--id", "x"], "neither a folder nor a GGUF"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_what_goes_wrong_is_one_line(
    hub: HubServer, tmp_path: Path, arguments: list[str], words: str
) -> None:
    """Status 1, the reason, no traceback; nothing is registered."""
    result = run(tmp_path / "home", *arguments)
    assert result.returncode == 1
    assert words in result.stderr and len(result.stderr.strip().splitlines()) == 1, result.stderr
    assert (
        not Store(tmp_path / "home").entries() or "pocket" in run(tmp_path / "home", "list").stdout
    )


def test_convert_needs_to_know_to_what(tmp_path: Path) -> None:
    result = run(tmp_path / "home", "convert", "x")
    assert result.returncode == 2 and "--bits" in result.stderr


def test_import_link_convert_verify(folder: Path, tmp_path: Path) -> None:
    """A GGUF and a folder come in, one is made smaller, and damage is found."""
    home = tmp_path / "home"
    gguf = write_gguf(folder, tmp_path / "tiny.gguf", "F16")
    assert run(home, "import", str(gguf), "--id", "gguf").returncode == 0
    assert run(home, "import", str(folder), "--id", "linked", "--link").returncode == 0
    assert Store(home).get("linked").folder == folder
    assert run(home, "convert", "gguf", "--bits", "8").returncode == 0
    assert Store(home).get("gguf-8bit").size_bytes < Store(home).get("gguf").size_bytes
    assert run(home, "verify", "gguf").returncode == 0
    weights = next(Store(home).get("gguf").folder.glob("*.safetensors"))
    damaged = bytearray(weights.read_bytes())
    damaged[-1] ^= 1
    weights.write_bytes(damaged)
    broken = run(home, "verify", "gguf")
    assert broken.returncode == 1 and "changed since" in broken.stderr
    assert "not ready" in _line(run(home, "list").stdout, "gguf ")
    assert "changed since" in run(home, "show", "gguf").stdout


def test_a_pull_that_failed_goes_on(hub: HubServer, folder: Path, tmp_path: Path) -> None:
    """A hub that fails ends the command with the reason; the same command then works."""
    hub.add_folder("org/tiny", folder)
    hub.misbehave("model.safetensors", Status(404), times=1)
    failed = run(tmp_path / "home", "pull", "org/tiny", *CDN)
    assert failed.returncode == 1 and "404" in failed.stderr.splitlines()[-1]
    assert run(tmp_path / "home", "pull", "org/tiny", *CDN).returncode == 0


def test_ctrl_c_keeps_what_has_arrived(hub: HubServer, folder: Path, tmp_path: Path) -> None:
    """It says so; the same command goes on; nothing half is listed."""
    big = make_llama(tmp_path / "big", vocab_size=40_000)
    hub.add_folder("org/big", big)
    size = (big / "model.safetensors").stat().st_size
    hub.misbehave("model.safetensors", Slow(0.1, 1 << 20), times=1)
    home = tmp_path / "home"
    command = [sys.executable, "-m", "scripts.cli", "--home", str(home), "pull", "org/big", *CDN]
    with subprocess.Popen(
        command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        hub.wait_for("model.safetensors", 6 << 20, timeout_s=30)
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=20)
    assert process.returncode == 1
    assert "the same command goes on" in errors and "Traceback" not in errors
    assert "big" not in run(home, "list").stdout
    before = hub.bytes_sent("model.safetensors")
    assert run(home, "pull", "org/big", *CDN).returncode == 0
    assert hub.bytes_sent("model.safetensors") - before <= size - (4 << 20)


def test_a_terminal_sees_a_bar(hub: HubServer, folder: Path, tmp_path: Path) -> None:
    """On a terminal the stages share one line."""
    hub.add_folder("org/tiny", folder)
    ours, theirs = pty.openpty()
    command = [sys.executable, "-m", "scripts.cli", "--home", str(tmp_path / "home")]
    environment = os.environ | {"TERM": "xterm", "COLUMNS": "100"}
    with subprocess.Popen(
        [*command, "pull", "org/tiny", *CDN], cwd=ROOT, stdout=theirs, env=environment
    ) as process:
        os.close(theirs)
        shown = b""
        while True:
            try:
                piece = os.read(ours, 4096)
            except OSError:  # the other end is closed
                break
            if not piece:
                break
            shown += piece
    os.close(ours)
    assert process.returncode == 0
    assert b"tiny: " in shown and b"\x1b[" in shown and b"tiny is ready" in shown


def test_a_server_sees_what_is_pulled_beside_it(
    hub: HubServer, folder: Path, tmp_path: Path
) -> None:
    """Two processes on one home: the pull appears in the server, and a model is busy for both."""
    hub.add_folder("org/tiny", folder)
    hub.misbehave("model.safetensors", Slow(0.2, 40_000), times=1)
    home = tmp_path / "home"
    with ServerProcess(home) as server:
        command = [sys.executable, "-m", "scripts.cli", "--home", str(home), "pull", "org/tiny"]
        with subprocess.Popen([*command, *CDN], cwd=ROOT, stdout=subprocess.DEVNULL) as process:
            hub.wait_for("model.safetensors", timeout_s=30)
            busy = run(home, "pull", "org/tiny", *CDN)
            assert busy.returncode == 1 and "at work" in busy.stderr
        assert process.returncode == 0
        ids = [model["id"] for model in server.get("/v1/models")["data"]]
        assert "tiny" in ids

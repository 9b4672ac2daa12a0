"""Tests of `mlx-edge doctor`: what it says of a machine, here of a Mac of 8 GB; its exit status."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from runtime.memory import machine
from scripts.cli import cli
from scripts.doctor import service
from scripts.doctor.service import Service
from scripts.service.supervisor import State
from tests.models.tiny_models import make_llama
from tests.serving import KEY, ServerProcess, link_model

GB = 1 << 30


@pytest.fixture
def mac(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "keeps_half_precision", lambda: True)
    monkeypatch.setattr(machine, "physical_bytes", lambda: 8 * GB)
    monkeypatch.setattr(machine, "available_bytes", lambda: 3 * GB)
    monkeypatch.setattr(machine, "working_set_bytes", lambda: machine.recommended_bytes(8 * GB))


def run(home: Path, *options: str) -> str:
    nobody = ("--server", "http://127.0.0.1:9")  # nothing listens there
    result = CliRunner().invoke(cli, ["--home", str(home), "doctor", *nobody, *options])
    assert result.exit_code == 0, result.output
    return result.output


def test_it_says_what_fits(mac: None, tmp_path: Path) -> None:
    """The smallest count is the room: here what the system has free, less what it keeps."""
    told = json.loads(run(tmp_path, "--json"))
    assert told["machine"]["limit"] == int(8 * GB * 2 // 3 * 0.95)
    assert told["machine"]["room"] == 3 * GB - (256 << 20)
    pocket = next(model for model in told["models"] if model["id"] == "pocket")
    assert pocket["fits_now"] and pocket["context_fits"] == pocket["context"]
    assert pocket["cache_1k"] > 0
    assert told["catalog"]["smollm2-135m"] and not told["catalog"]["qwen3-8b"]
    assert told["catalog"][told["largest"]]
    assert told["catalog"]["smollm2-1.7b"]  # fetched in 16 bits, held in 4
    assert "mlx-edge pull qwen3-4b" in run(tmp_path)


def test_people_are_told_in_words(mac: None, tmp_path: Path) -> None:
    text = run(tmp_path)
    assert "8.0 GB, of which 3.0 GB are free" in text
    assert "Too large for this machine" in text and "mlx-edge pull" in text


def test_a_server_that_tells_nothing_is_named(mac: None, server: ServerProcess) -> None:
    """Another key than its own: that is not as if none ran."""
    text = run(server.home, "--server", server.url, "--api-key", "another")
    assert "not counted" in text and "Unauthorized" in text
    assert "not counted" not in run(server.home, "--server", server.url, "--api-key", KEY)


def test_findings_are_told_to_programs(mac: None, tmp_path: Path) -> None:
    """Each with what was looked at, how it is, a sentence, and what to do."""
    findings = json.loads(run(tmp_path, "--json"))["findings"]
    assert {"chip", "system", "mlx", "memory", "home", "disk space", "place", "permissions",
            "port", "service", "models"} <= {one["checked"] for one in findings}  # fmt: skip
    for one in findings:
        assert set(one) == {"checked", "level", "sentence", "remedy"} and one["sentence"]
        assert (one["remedy"] is None) is (one["level"] == "ok"), one


def test_the_service_is_asked_where_it_listens(
    mac: None, server: ServerProcess, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Unless an address is given."""
    running = Service(tmp_path, State(pid=server.process.pid), server.url)
    monkeypatch.setattr(service, "ask", lambda: running)
    command = ["--home", str(server.home), "doctor", "--api-key", KEY]
    shown = CliRunner().invoke(cli, command)
    assert f"mlx-edge answers at {server.url} (the service's address)" in " ".join(
        shown.stdout.split()
    )
    other = CliRunner().invoke(cli, [*command, "--server", "http://127.0.0.1:9"])
    assert "no server runs at http://127.0.0.1:9" in other.stdout


def test_a_problem_is_the_exit_status_and_comes_first(mac: None, tmp_path: Path) -> None:
    """In words and as JSON."""
    (tmp_path / "api-key").write_text("sesame")
    (tmp_path / "api-key").chmod(0o644)
    command = ["--home", str(tmp_path), "doctor", "--server", "http://127.0.0.1:9"]
    shown = CliRunner().invoke(cli, command)
    assert shown.exit_code == 1 and shown.stdout.startswith("✗ permissions"), shown.stdout
    assert "chmod 600" in shown.stdout and "1 problem" in shown.stdout
    told = CliRunner().invoke(cli, [*command, "--json"])
    levels = {one["checked"]: one["level"] for one in json.loads(told.stdout)["findings"]}
    assert told.exit_code == 1 and levels["permissions"] == "problem"


def test_a_model_that_is_too_large(
    mac: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of those that are here, and of the catalog: less is left than any of them takes."""
    monkeypatch.setattr(machine, "available_bytes", lambda: 257 << 20)
    link_model(tmp_path, "tiny", make_llama(tmp_path / "source"))
    findings = json.loads(run(tmp_path, "--json"))["findings"]
    memory = [one["sentence"] for one in findings if one["checked"] == "memory"]
    assert any("none of the catalog fits" in one for one in memory)
    assert any(one.startswith("tiny does not fit") for one in memory)

"""Tests of `mlx-edge doctor --privacy`: a real server is asked, and not believed."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from runtime.processes.sealed import UNSEALED
from tests.leaking_cli import SOMEBODY
from tests.scripts.test_cli import run
from tests.serving import ROOT, ServerProcess
from tests.store_client import wait_until

NOBODY = ("--server", "http://127.0.0.1:9")


def told_by(server: ServerProcess, *flags: str) -> tuple[int, Any]:
    asked = run(server.home, "doctor", "--privacy", "--json", "--server", server.url, *flags)
    assert asked.stdout, asked.stderr
    return asked.returncode, json.loads(asked.stdout)


def by_level(told: Any, level: str) -> list[str]:
    return [one["sentence"] for one in told["findings"] if one["level"] == level]


def test_a_server_that_reaches_nobody(server: ServerProcess) -> None:
    """Its processes by their roles, the proof by trial, and nothing that is wrong."""
    status, told = told_by(server)
    assert (status, by_level(told, "problem")) == (0, []), told["findings"]
    assert told["reached"] == [] and told["server"] == server.url
    assert {"server", "text worker"} <= {one["role"] for one in told["processes"]}
    assert all(one["sealed"] or one["role"] == "server" for one in told["processes"])
    assert {one["way"]: one["reached"] for one in told["proof"]} == {
        "TCP": False, "UDP": False, "a name": False
    }  # fmt: skip
    shown = run(server.home, "doctor", "--privacy", "--server", server.url).stdout
    for words in ("What it can reach", "What it did reach since", "nobody", "sealed", "PID"):
        assert words in shown


def test_a_destination_that_nobody_named(tmp_path: Path) -> None:
    """Is a problem, with where it went; and so it is in the exit status."""
    with ServerProcess(tmp_path / "home", module="tests.leaking_cli") as server:
        status, told = told_by(server)
        shown = run(server.home, "doctor", "--privacy", "--server", server.url)
    assert status == shown.returncode == 1
    (one,) = told["reached"]
    assert (one["ip"], one["port"], one["purpose"]) == (*SOMEBODY, None)
    assert any(SOMEBODY[0] in sentence for sentence in by_level(told, "problem"))
    assert shown.stdout.startswith("✗ reached") and "NOBODY NAMED IT" in shown.stdout


def test_children_that_are_not_sealed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each is told, and what to do; the proof of a shell that seals is another matter."""
    with ServerProcess(tmp_path / "home", environment={UNSEALED: "1"}) as server:
        wait_until(lambda: len(server.children()) >= 2)
        status, told = told_by(server)
    assert status == 1 and all("text worker" in one for one in by_level(told, "problem"))
    assert not any(one["reached"] for one in told["proof"])


def test_where_no_server_runs(tmp_path: Path) -> None:
    """What one would reach, by settings and configuration; the proof is there all the same."""
    (tmp_path / "config.toml").write_text('[serve]\nallow-private-downloads = ["nas.example"]\n')
    asked = run(tmp_path, "doctor", "--privacy", "--json", *NOBODY)
    told = json.loads(asked.stdout)
    assert asked.returncode == 0 and told["server"] is None and len(told["proof"]) == 3
    assert any(one["destination"].startswith("nas.example") for one in told["reachable"])
    shown = run(tmp_path, "doctor", "--privacy", *NOBODY).stdout
    assert "What a server can reach, when one runs" in shown and "nas.example" in shown


def test_a_server_that_does_not_tell(server: ServerProcess) -> None:
    """Another key than its own: an error with its reason, and no clean bill."""
    address = ("--server", server.url, "--api-key", "another")
    asked = run(server.home, "doctor", "--privacy", *address)
    assert asked.returncode == 1 and "Unauthorized" in asked.stderr


def test_the_web_process_listens_before_it_could_connect() -> None:
    """The record begins with `serve` and nothing is imported before that connects."""
    code = (
        "import sys\n"
        "sys.addaudithook(lambda event, _: event.startswith('socket.') and print(event))\n"
        "import scripts.cli\n"
    )
    told = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert not {"socket.connect", "socket.getaddrinfo", "socket.sendto"} & set(told.stdout.split())

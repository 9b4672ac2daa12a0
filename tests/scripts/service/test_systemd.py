"""Tests of the systemd unit: whether systemd reads it as it is meant."""

import json
import math
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from scripts.service import definition, systemd
from scripts.service.definition import SERVER, Definition
from scripts.service.supervisor import SupervisorFailed
from scripts.service.systemd import Systemd, command_line
from tests import service_managers

ODD = (
    "a b",
    "100%",
    "%h",
    "$HOME",
    "${HOME}",
    "it's",
    '"',
    "back\\slash\\",
    ";",
    "",
    "é🙂",
    "\t\n",
)


def made(*options: str, drain_s: float = 20.0, log: Path = Path("/tmp/log")) -> Definition:
    return definition.server(Path("/home/me"), options, drain_s, log, {"NO_PROXY": "a b,%h"})


def test_systemd_finds_no_fault(tmp_path: Path) -> None:
    """`systemd-analyze verify` knows every line of it."""
    if shutil.which("systemd-analyze") is None:
        pytest.skip("no systemd-analyze here")
    unit = tmp_path / "mlx-edge.service"
    unit.write_bytes(Systemd().content(made(*ODD)))
    found = subprocess.run(
        ["systemd-analyze", "verify", "--user", "--man=no", str(unit)],
        env=os.environ | {"XDG_RUNTIME_DIR": str(tmp_path)},
        capture_output=True,
        text=True,
    )
    told = [line for line in found.stderr.splitlines() if "mlx-edge" in line]
    assert found.returncode == 0 and told == [], found.stderr


def test_the_unit_says_what_is_wanted() -> None:
    """It is given the time of the drain and of the engines, and is private."""
    lines = Systemd().content(made()).decode().splitlines()
    values = dict(line.split("=", 1) for line in lines if "=" in line and line[0] != "#")
    assert int(values["TimeoutStopSec"]) > 20 + 15
    assert values["UMask"] == "0077" and values["Restart"] == "on-failure"
    assert values["KillMode"] == "mixed" and values["StandardOutput"] == "append:/tmp/log"
    assert values["Environment"] == '"NO_PROXY=a b,%%h"'
    assert lines.index("StartLimitIntervalSec=0") < lines.index("[Service]")
    assert "TimeoutStopSec=infinity" in Systemd().content(made(drain_s=math.inf)).decode()


@pytest.mark.parametrize("folder", ["/a\n/b", "/a\\"])
def test_a_folder_that_cannot_be_said(folder: str) -> None:
    """A second line in a unit would be another setting."""
    with pytest.raises(ValueError, match="rename it"):
        Systemd().content(made(log=Path(folder)))


def test_no_systemd(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither the program, nor somebody who answers it: a sentence each."""
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    monkeypatch.delenv("DBUS_SESSION_BUS_ADDRESS", raising=False)
    if shutil.which("systemctl") is not None:
        with pytest.raises(SupervisorFailed, match="does not serve this user"):
            Systemd().state(SERVER)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(SupervisorFailed, match="without it, run `mlx-edge serve`"):
        Systemd().state(SERVER)


@pytest.mark.parametrize(
    "told",
    [
        "Failed to connect to bus: No medium found",
        "Failed to connect to user scope bus via local transport: $DBUS_SESSION_BUS_ADDRESS and "
        "$XDG_RUNTIME_DIR not defined (consider using --machine=<user>@.host --user to connect to "
        "bus of other user)",
    ],
)
def test_no_systemd_in_the_words_of_any_version(
    told: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = tmp_path / "systemctl"
    program.write_text(f"#!/bin/sh\necho '{told}' >&2\nexit 1\n")
    program.chmod(0o700)
    monkeypatch.setenv("PATH", f"{tmp_path}:/bin:/usr/bin")
    with pytest.raises(SupervisorFailed, match="does not serve this user"):
        Systemd().start(SERVER)


def test_a_start_waits_as_long_as_the_end_before_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """The running answers are finished first."""
    limits: dict[str, float | None] = {}

    def ask(
        command: list[str], limit_s: float | None, *, fails: str
    ) -> subprocess.CompletedProcess[str]:
        limits[command[2]] = limit_s
        return subprocess.CompletedProcess(command, 0, "", "")

    monkeypatch.setattr(systemd, "ask", ask)
    Systemd().start(SERVER)
    assert limits["start"] is None


@pytest.fixture(scope="module")
def session(tmp_path_factory: pytest.TempPathFactory) -> Iterator[service_managers.Systemd]:
    with service_managers.systemd(tmp_path_factory.mktemp("systemd")) as manager:
        yield manager


def read_back(session: service_managers.Systemd, arguments: list[str]) -> list[str]:
    """The arguments of a program that systemd starts by a unit with these."""
    told, program = session.user / "told", session.user / "tell.py"
    program.write_text("import json, sys\njson.dump(sys.argv[2:], open(sys.argv[1], 'w'))\n")
    command = command_line([sys.executable, str(program), str(told), *arguments])
    folder = session.user / ".config" / "systemd" / "user"
    folder.mkdir(parents=True, exist_ok=True)
    unit = f"[Service]\nType=oneshot\nExecStart=:{command}\n"
    (folder / "tell.service").write_text(unit, encoding="utf-8")
    assert session.systemctl("daemon-reload").returncode == 0
    started = session.systemctl("start", "tell.service")
    assert started.returncode == 0, started.stderr
    read: list[str] = json.loads(told.read_text())
    return read


@pytest.mark.slow
def test_odd_arguments_come_back(session: service_managers.Systemd) -> None:
    """Blanks, quotes, specifiers, variables, escapes, ends of lines."""
    assert read_back(session, list(ODD)) == list(ODD)


@pytest.mark.slow
@settings(
    max_examples=30, deadline=None, derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)  # fmt: skip
@given(st.lists(st.text(st.characters(exclude_characters="\0", codec="utf-8")), max_size=8))
def test_any_arguments_come_back(session: service_managers.Systemd, arguments: list[str]) -> None:
    assert read_back(session, arguments) == arguments

"""Tests of the launchd file, and of what `launchctl print` says."""

import math
import plistlib
import subprocess
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from scripts.service import definition, installation, launchd
from scripts.service.definition import SERVER, Definition
from scripts.service.launchd import Launchd
from scripts.service.supervisor import State, SupervisorFailed
from tests.launchd_keys import SCHEMA
from web.duration import seconds

LOG = Path("/Users/me/Library/Logs/mlx-edge/mlx-edge.log")


def keys_of(made: Definition) -> dict[str, Any]:
    keys: dict[str, Any] = plistlib.loads(Launchd().content(made))
    jsonschema.validate(keys, SCHEMA)
    return keys


def test_the_file_of_the_server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """All keys are launchd's, and say what the issue asks for; odd characters come back."""
    monkeypatch.chdir(tmp_path)
    options = ("--allow-origin", "https://a.b/<&>\"'é🙂")
    made = definition.server(Path("home"), options, 20.0, LOG, {"NO_PROXY": "a,b"})
    keys = keys_of(made)
    assert keys["ProgramArguments"] == list(made.arguments)
    assert made.arguments[-9:] == (
        "--home", str(tmp_path / "home"), "serve", *options, "--drain-timeout", "20s",
        "--log-file", str(LOG),
    )  # fmt: skip
    assert Path(made.arguments[0]).is_absolute() and Path(keys["WorkingDirectory"]).is_absolute()
    assert keys["KeepAlive"] == {"SuccessfulExit": False} and keys["RunAtLoad"] is True
    assert keys["ProcessType"] == "Interactive" and keys["ThrottleInterval"] >= 1
    assert keys["Umask"] == 0o077 and keys["EnvironmentVariables"] == {"NO_PROXY": "a,b"}
    assert keys["StandardOutPath"] == keys["StandardErrorPath"] == str(LOG)
    assert keys["ExitTimeOut"] > 20 + 15  # the drain, and engines that save what they keep


def test_a_drain_without_end() -> None:
    """launchd kills after its own 20 seconds unless it is told never to."""
    made = definition.server(Path("/home"), (), math.inf, LOG, {})
    assert keys_of(made)["ExitTimeOut"] == 0 and made.arguments[-4:-2] == ("--drain-timeout", "-1")


@pytest.mark.parametrize("drain_s", [0.0, 0.25, 90.0, 3600.0, 1e6, math.inf])
def test_the_server_is_told_the_drain_that_its_manager_waits_for(drain_s: float) -> None:
    """As it reads it: what config.toml says later would be cut short."""
    made = definition.server(Path("/home"), (), drain_s, LOG, {})
    assert seconds(made.arguments[made.arguments.index("--drain-timeout") + 1]) == drain_s


def test_the_file_of_the_menu_bar() -> None:
    """It knows its server, and waits for a session at the screen."""
    keys = keys_of(definition.menubar(Path("/home"), "http://127.0.0.1:9000", LOG))
    words = ["--home", "/home", "menubar", "--server", "http://127.0.0.1:9000"]
    assert keys["ProgramArguments"][-7:] == [*words, "--log-file", str(LOG)]
    assert keys["LimitLoadToSessionType"] == "Aqua" and keys["Label"] == "com.mlx-edge.menubar"
    assert "KeepAlive" not in keys  # who quits it is not asked again, nor does it fail for ever


@pytest.mark.parametrize("slip", [{"KeepAlives": True}, {"Umask": True}, {"ProcessType": "fast"}])
def test_the_schema_finds_slips(slip: dict[str, Any]) -> None:
    """A name that is none, a type that is another, a value that is not known."""
    keys = plistlib.loads(Launchd().content(definition.server(Path("/home"), (), 1, LOG, {})))
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(keys | slip, SCHEMA)


def answering(
    status: int, out: str, err: str, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A launchctl that always says this."""
    (folder / "out").write_text(out)
    (folder / "err").write_text(err)
    tool = folder / "launchctl"
    tool.write_text(f"#!/bin/sh\ncat '{folder}/out'; cat '{folder}/err' >&2; exit {status}\n")
    tool.chmod(0o700)
    monkeypatch.setattr(launchd, "tool", str(tool))


PRINTED = """gui/501/com.mlx-edge.server = {
\tactive count = 1
\tpath = /Users/me/Library/LaunchAgents/com.mlx-edge.server.plist
\ttype = LaunchAgent
\tstate = %s

\targuments = {
\t\t/opt/homebrew/bin/mlx-edge
\t\tpid = 7
\t}

\tenvironment = {
\t\tXPC_SERVICE_NAME => com.mlx-edge.server
\t}

\tdomain = gui/501 [100041]
\tminimum runtime = 10
\texit timeout = 50
\truns = 3
%s
\tresource coalition = {
\t\tID = 33304
\t\tstate = active
\t}

\tspawn type = interactive (4)
\tproperties = keepalive | runatload
}
"""


@pytest.mark.parametrize(
    ("state", "lines", "told"),
    [
        ("running", "\tpid = 812\n\tlast exit code = (never exited)", State(812, restarts=2)),
        ("running", "\tpid = 812\n\tlast terminating signal = Killed: 9",
         State(812, restarts=2, last_end="was ended by SIGKILL")),
        ("not running", "\tlast exit code = 0", State(restarts=2, last_end="ended well")),
        ("spawn scheduled", "\tlast exit code = 78: EX_CONFIG",
         State(is_waiting=True, restarts=2, last_end="ended with status 78")),
        ("spawn scheduled", "\tlast exit code = (never exited)", State(restarts=2)),
        ("not running", "\tpended nondemand spawn = semaphore\n\tlast terminating signal = 15",
         State(restarts=2, last_end="was ended by SIGTERM",
               note="launchd waits for a session at the screen to start it")),
    ],
)  # fmt: skip
def test_what_launchd_prints(
    state: str, lines: str, told: State, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its own lines count, not those of its parts, which have the same names."""
    answering(0, PRINTED % (state, lines), "", tmp_path, monkeypatch)
    assert Launchd().state(SERVER) == told


@pytest.mark.parametrize(
    ("timeout", "limit_s"), [("50", 80.0), ("0", None), ("infinite", None), ("50 s", 80.0)]
)
def test_how_long_an_end_may_take(
    timeout: str, limit_s: float | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`bootout` is given that time too: some versions wait for the end themselves."""
    limits: list[float | None] = []
    printed = f"gui/501/x = {{\n\texit timeout = {timeout}\n\tpid = 812\n}}\n"

    def ask(
        command: list[str], limit_s: float | None, *, fails: str
    ) -> subprocess.CompletedProcess[str]:
        if command[1] == "bootout":
            limits.append(limit_s)
        return subprocess.CompletedProcess(command, 113 if limits else 0, printed, "")

    monkeypatch.setattr(launchd, "ask", ask)
    Launchd().stop(SERVER)
    assert limits == [limit_s]


@pytest.mark.parametrize(
    ("status", "err", "words"),
    [
        (125, "Could not print domain: 125: Domain does not support specified action",
         "log in at the screen"),
        (112, "Could not find domain for user gui: 501", "log in at the screen"),
        (1, "Not privileged.", "launchctl print ended with 1: Not privileged."),
    ],
)  # fmt: skip
def test_a_launchd_that_refuses(
    status: int, err: str, words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What it said is told, and it is not taken for a service that is not there."""
    answering(status, "", err, tmp_path, monkeypatch)
    with pytest.raises(SupervisorFailed, match=words):
        Launchd().state(SERVER)


def test_where_nobody_is_logged_in_nothing_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So over ssh a service can be removed; it cannot be installed, and then nothing is written."""
    monkeypatch.setattr(Path, "home", lambda: tmp_path)
    answering(112, "", "Could not find domain for user gui: 501", tmp_path, monkeypatch)
    service = Launchd()
    made = definition.server(Path("/home"), (), 1, tmp_path / "log", {})
    with pytest.raises(SupervisorFailed, match="log in at the screen"):
        installation.install(service, made)
    assert not service.file(SERVER).exists()
    service.register(made)
    assert service.file(SERVER).exists()
    assert installation.uninstall(service, SERVER)
    assert not service.file(SERVER).exists()


def test_no_launchd(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(launchd, "tool", str(tmp_path / "nothing"))
    with pytest.raises(SupervisorFailed, match="cannot be asked"):
        Launchd().start(SERVER)

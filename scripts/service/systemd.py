"""systemd, as the user's own manager of services.

Contract, by systemd.service(5), systemd.exec(5) and systemd.syntax(7): what is in double quotes is
one word, with C's escapes, and `%` begins a specifier of systemd's; a colon before a command keeps
it from replacing `$`. `systemctl --user` ends with 0 where it did what was asked, and `show` prints
a line `NAME=value` for each property.
"""

import os
import re
from collections.abc import Iterable
from pathlib import Path

from .definition import SERVER, Definition
from .file import write
from .supervisor import State, SupervisorFailed, ask

_UNITS = {SERVER: "mlx-edge.service"}
_PROPERTIES = "LoadState,SubState,MainPID,NRestarts"
_LIMIT_S = 30.0
_NO_UNIT = 5  # as for the scripts of before: EXIT_NOTINSTALLED
_END_FILE = "mlx-edge.end"  # in the runtime folder of the session, which is %t in a unit

_UNIT = """\
[Unit]
Description=mlx-edge, a private AI endpoint
# It never gives up: neither after a crash nor where it is restarted by hand many times.
StartLimitIntervalSec=0

[Service]
Type=exec
ExecStart=:{command}
# How a run ended is forgotten at the next start, and `mlx-edge service status` tells it.
ExecStopPost=:/bin/sh -c "echo $SERVICE_RESULT $EXIT_CODE $EXIT_STATUS >\\"$0\\"" "%t/{end_file}"
WorkingDirectory={folder}
{environment}StandardOutput=append:{log}
StandardError=inherit
UMask=0077
Restart=on-failure
# A pause, so that what fails at once takes no processor from others.
RestartSec=5
# The server ends its children after its answers; what is left when it has ended is killed.
KillMode=mixed
TimeoutStopSec={stop}

[Install]
WantedBy=default.target
"""


class Systemd:
    def file(self, label: str) -> Path:
        folder = os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config"
        return Path(folder) / "systemd" / "user" / _UNITS[label]

    def content(self, definition: Definition) -> bytes:
        variables = (f"{name}={value}" for name, value in definition.environment.items())
        return _UNIT.format(
            command=command_line(definition.arguments),
            end_file=_END_FILE,
            folder=_path(definition.folder),
            environment="".join(f"Environment={_quoted(variable)}\n" for variable in variables),
            log=_path(definition.log),
            stop="infinity" if definition.stop_s is None else definition.stop_s,
        ).encode()

    def register(self, definition: Definition) -> None:
        write(self.file(definition.label), self.content(definition))
        _systemctl("daemon-reload")
        _systemctl("enable", _UNITS[definition.label])

    def unregister(self, label: str) -> None:
        _systemctl("disable", _UNITS[label])
        self.file(label).unlink(missing_ok=True)
        _end_file().unlink(missing_ok=True)
        _systemctl("daemon-reload")

    def start(self, label: str) -> None:
        _systemctl("daemon-reload")
        _systemctl("start", _UNITS[label], limit_s=None)  # it waits for an end that is under way

    def stop(self, label: str) -> None:
        _systemctl("stop", _UNITS[label], limit_s=None, fine=_NO_UNIT)  # the unit has a limit

    def state(self, label: str) -> State:
        told = _systemctl("show", _UNITS[label], f"--property={_PROPERTIES}")
        fields = dict(line.split("=", 1) for line in told.splitlines() if "=" in line)
        pid = int(fields.get("MainPID", "0")) or None
        if fields.get("LoadState") != "loaded" and pid is None:  # its file may be gone before it
            return State()
        return State(
            pid=pid,
            is_waiting=fields["SubState"] == "auto-restart",
            restarts=int(fields["NRestarts"]),
            last_end=_last_end(),
        )


def command_line(arguments: Iterable[str]) -> str:
    """Words of a unit's command that are these arguments, whatever is in them."""
    return " ".join(map(_quoted, arguments))


def _quoted(text: str) -> str:
    return '"' + "".join(map(_escaped, text)) + '"'


def _escaped(char: str) -> str:
    match char:
        case "%":
            return "%%"
        case '"' | "\\":
            return "\\" + char
        case _ if ord(char) < 0x20 or char == "\x7f":
            return f"\\x{ord(char):02x}"
    return char


def _path(path: Path) -> str:
    """Where a unit has a path and nothing else, no quotes and no escapes are read."""
    text = str(path)
    if text.endswith("\\") or not text.isprintable():
        raise ValueError(f"systemd cannot be told of the folder {text!r}: rename it")
    return text.replace("%", "%%")


def _end_file() -> Path:
    return Path(os.environ.get("XDG_RUNTIME_DIR") or f"/run/user/{os.getuid()}") / _END_FILE


def _last_end() -> str | None:
    try:
        result, code, status = _end_file().read_text().split()
    except (OSError, ValueError):
        return None
    if code == "exited":
        return "ended well" if status == "0" else f"ended with status {status}"
    reasons = {"timeout": ", for it took too long", "oom-kill": ", for memory ran out"}
    return f"was ended by SIG{status}{reasons.get(result, '')}"


def _systemctl(*arguments: str, limit_s: float | None = _LIMIT_S, fine: int = 0) -> str:
    """What it printed. Raises SupervisorFailed."""
    fails = "systemd cannot be asked; without it, run `mlx-edge serve` by what your system has"
    asked = ask(["systemctl", "--user", *arguments], limit_s, fails=fails)
    if asked.returncode not in (0, fine):
        told = asked.stderr.strip()
        if re.search(r"Failed to connect to .*\bbus\b", told):
            raise SupervisorFailed(f"systemd does not serve this user here ({told})")
        raise SupervisorFailed(f"systemctl {arguments[0]} ended with {asked.returncode}: {told}")
    return asked.stdout

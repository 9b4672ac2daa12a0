"""launchd, in the user's session on a Mac.

Contract, by launchd.plist(5) and launchctl(1): a file in ~/Library/LaunchAgents is loaded at login;
`bootstrap` loads it now, `bootout` sends SIGTERM, after ExitTimeOut SIGKILL, and unloads it.
`bootout` may end with 36 (EINPROGRESS) before the service has. `print` ends with 113 where the
service is not loaded, with 112 or 125 where the user is not logged in at the screen (by `launchctl
error`: no such domain, or none that supports this); else its lines with one tab in front say what
launchd knows: `pid`, while it runs, `runs`, and of the end before either `last exit code` or `last
terminating signal`. While it is being ended its `state` is `SIGTERMed` (seen on macOS 26:
kxn/codex-remote-feishu, issue 914), and it can be neither started nor loaded anew.
"""

import os
import plistlib
import re
import signal
import time
from pathlib import Path
from typing import Any

from .definition import Definition
from .file import write
from .supervisor import NoSession, State, SupervisorFailed, ask

_NOT_LOADED = 113
_ALREADY = 37  # EALREADY
_NOT_THERE = 3  # ESRCH
_IN_PROGRESS = 36  # EINPROGRESS
_NO_SESSION = (112, 125)
_STILL_ENDING = 5  # EIO, which bootstrap says for a moment after a bootout, and of a broken file

_LIMIT_S = 30.0
_LOOK_S = 0.1
_TRIES = 20
_THROTTLE_S = 10  # launchd's own: who ends sooner than this after its start waits for the rest

tool = "/bin/launchctl"


class Launchd:
    def file(self, label: str) -> Path:
        return Path.home() / "Library" / "LaunchAgents" / f"{label}.plist"

    def content(self, definition: Definition) -> bytes:
        keys: dict[str, Any] = {
            "Label": definition.label,
            "ProgramArguments": list(definition.arguments),
            "WorkingDirectory": str(definition.folder),
            "EnvironmentVariables": dict(definition.environment),
            "StandardOutPath": str(definition.log),
            "StandardErrorPath": str(definition.log),
            "RunAtLoad": True,
            "ThrottleInterval": _THROTTLE_S,
            "ExitTimeOut": definition.stop_s or 0,  # 0: as long as it takes
            "ProcessType": "Interactive",  # no throttling: somebody waits for every answer
            "Umask": 0o077,
        }
        if definition.has_window:
            keys["LimitLoadToSessionType"] = "Aqua"
        else:
            keys["KeepAlive"] = {"SuccessfulExit": False}
        return plistlib.dumps(keys, sort_keys=False)

    def register(self, definition: Definition) -> None:
        write(self.file(definition.label), self.content(definition))

    def unregister(self, label: str) -> None:
        self.file(label).unlink(missing_ok=True)

    def start(self, label: str) -> None:
        printed = self._printed(label)
        if printed is not None and _fields(printed).get("state", "").startswith("SIG"):
            self.stop(label)  # somebody has begun to, and it may take as long as its answers do
            printed = None
        if printed is None:
            self._launchctl("enable", _target(label))  # somebody may have used `disable` before
            self._bootstrap(label)
        # Loaded in a session over ssh it would wait for a reason to start; this is one.
        self._launchctl("kickstart", _target(label))

    def stop(self, label: str) -> None:
        printed = self._printed(label)
        if printed is None:
            return
        fields = _fields(printed)
        limit_s = _end_limit_s(fields)
        deadline = None if limit_s is None else time.monotonic() + limit_s
        # Some versions wait for the end themselves.
        self._launchctl("bootout", _target(label), limit_s=limit_s,
                        fine=(_IN_PROGRESS, _ALREADY, _NOT_THERE, _NOT_LOADED))  # fmt: skip
        while not self._has_ended(label, fields.get("pid")):
            if deadline is not None and time.monotonic() > deadline:
                raise SupervisorFailed(f"launchd did not end {label} within its time")
            time.sleep(_LOOK_S)

    def state(self, label: str) -> State:
        printed = self._printed(label)
        if printed is None:
            return State()
        fields = _fields(printed)
        pid = fields.get("pid")
        last_end = _end(fields)
        is_pended = "pended nondemand spawn" in fields
        is_scheduled = fields.get("state") in ("spawn scheduled", "waiting")
        return State(
            pid=None if pid is None else int(pid),
            # Before its first run it is scheduled too.
            is_waiting=pid is None and is_scheduled and last_end is not None,
            restarts=max(0, int(fields.get("runs", "1")) - 1),
            last_end=last_end,
            note="launchd waits for a session at the screen to start it" if is_pended else None,
        )

    def _has_ended(self, label: str, pid: str | None) -> bool:
        """Whether this run of it has; another one may have been started since."""
        printed = self._printed(label)
        return printed is None or _fields(printed).get("pid") not in (None, pid)

    def _bootstrap(self, label: str) -> None:
        command = ("bootstrap", _domain(), str(self.file(label)))
        for _ in range(_TRIES):
            if self._launchctl(*command, fine=(_ALREADY, _STILL_ENDING)) != _STILL_ENDING:
                return
            time.sleep(_LOOK_S)
        self._launchctl(*command, fine=(_ALREADY,))

    def _printed(self, label: str) -> str | None:
        """What launchd knows of a service; None where it is not loaded."""
        asked = ask([tool, "print", _target(label)], _LIMIT_S, fails="launchd cannot be asked")
        if asked.returncode == _NOT_LOADED:
            return None
        if asked.returncode:
            raise _failed("print", asked.returncode, asked.stderr)
        return asked.stdout

    def _launchctl(
        self, *arguments: str, limit_s: float | None = _LIMIT_S, fine: tuple[int, ...] = ()
    ) -> int:
        """The exit status, which is 0 or one of `fine`."""
        asked = ask([tool, *arguments], limit_s, fails="launchd cannot be asked")
        if asked.returncode and asked.returncode not in fine:
            raise _failed(arguments[0], asked.returncode, asked.stderr)
        return asked.returncode


def _domain() -> str:
    return f"gui/{os.getuid()}"


def _target(label: str) -> str:
    return f"{_domain()}/{label}"


def _fields(printed: str) -> dict[str, str]:
    """Its own lines: what is printed of its parts has more tabs, and the same names."""
    return dict(re.findall(r"^\t([^\t=]+) = (.*)$", printed, re.MULTILINE))


def _end_limit_s(fields: dict[str, str]) -> float | None:
    """How long an end may take, SIGKILL included; None where launchd tells no limit, or 0."""
    match = re.match(r"[1-9]\d*", fields.get("exit timeout", ""))
    return None if match is None else int(match[0]) + _LIMIT_S


def _end(fields: dict[str, str]) -> str | None:
    """A signal is printed as `Killed: 9`, and then there is no exit code."""
    if told := fields.get("last terminating signal"):
        number = int(told.rpartition(":")[2])
        return f"was ended by {signal.Signals(number).name}"
    code = fields.get("last exit code", "")
    if match := re.match(r"\d+", code):
        return "ended well" if match[0] == "0" else f"ended with status {match[0]}"
    return None


def _failed(command: str, status: int, told: str) -> SupervisorFailed:
    if status in _NO_SESSION:
        return NoSession(
            "launchd has no session of yours: log in at the screen of this Mac once, and try again"
        )
    return SupervisorFailed(f"launchctl {command} ended with {status}: {told.strip()}")

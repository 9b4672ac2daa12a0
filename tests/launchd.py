"""A stand-in of launchd, and of `launchctl`, which asks it: `python -m tests.launchd SOCKET`.

It does what launchd.plist(5) says of the keys that it knows, refuses the rest, and answers in the
words and with the exit statuses of macOS 14 and 15: `bootout` does not wait for long (36), what it
ends is `SIGTERMed` meanwhile and not to be started (37), the first start is scheduled too, `print`
tells either a status or a signal of the last end, and a service has launchd's environment, not the
shell's. THROTTLE_S stands for its 10 seconds between two starts, so that a test need not wait.
"""

import asyncio
import contextlib
import json
import os
import plistlib
import resource
import signal
import socket
import sys
import time
from pathlib import Path
from typing import Any, NamedTuple

import jsonschema

from tests.launchd_keys import SCHEMA

THROTTLE_S = "STAND_IN_THROTTLE_S"

_PATIENCE_S = 0.5  # of a bootout, before it says 36
_SPAWN_S = 0.3  # before the first start, so that it is met
_MAX_FILES = 256  # the soft limit of files that launchd gives


class Reply(NamedTuple):
    status: int = 0
    out: str = ""
    err: str = ""


class Service:
    """One that is loaded."""

    def __init__(self, path: Path, keys: dict[str, Any]) -> None:
        self.path, self.keys = path, keys
        self.runs, self.pid = 0, 0
        self.end: str | None = None
        self.state = "not running"
        self.is_leaving = False
        self._demand = asyncio.Event()
        self.task = asyncio.create_task(self._live())

    def demand(self) -> None:
        self._demand.set()

    def leave(self) -> None:
        """End it, politely at first."""
        self.is_leaving = True
        self._demand.set()
        if self.pid:
            self.state = "SIGTERMed"
            os.kill(self.pid, signal.SIGTERM)
            if limit_s := self.keys.get("ExitTimeOut", 20):
                asyncio.get_running_loop().call_later(limit_s, self._kill, self.pid)

    def _kill(self, pid: int) -> None:
        if pid == self.pid:
            os.kill(pid, signal.SIGKILL)

    async def _live(self) -> None:
        if self.keys.get("RunAtLoad"):
            self.state = "spawn scheduled"
            await asyncio.sleep(_SPAWN_S)
            self._demand.set()
        while True:
            await self._demand.wait()
            if self.is_leaving:
                return
            self._demand.clear()
            started = time.monotonic()
            status = await self._run()
            if self._is_kept_alive(status) and not self.is_leaving:
                self.state = "spawn scheduled"
                asked_s = float(os.environ.get(THROTTLE_S, self.keys.get("ThrottleInterval", 10)))
                with contextlib.suppress(TimeoutError):
                    left_s = max(0.0, started + asked_s - time.monotonic())
                    await asyncio.wait_for(self._demand.wait(), left_s)
                self._demand.set()

    async def _run(self) -> int:
        process = await asyncio.create_subprocess_exec(
            *self.keys["ProgramArguments"],
            cwd=self.keys.get("WorkingDirectory", "/"),
            env=self._environment(),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=self._output("StandardOutPath"),
            stderr=self._output("StandardErrorPath"),
            start_new_session=True,
            preexec_fn=self._limit,
        )
        self.pid, self.state = process.pid, "running"
        self.runs += 1
        status = await process.wait()
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)  # AbandonProcessGroup is false
        self.pid, self.state = 0, "not running"
        if status < 0:
            self.end = f"last terminating signal = {signal.strsignal(-status)}: {-status}"
        else:
            self.end = f"last exit code = {status}"
        return status

    def _is_kept_alive(self, status: int) -> bool:
        kept = self.keys.get("KeepAlive", False)
        if isinstance(kept, bool):
            return kept
        return bool((status == 0) == kept["SuccessfulExit"])

    def _environment(self) -> dict[str, str]:
        own = {
            "HOME": os.environ["HOME"],
            "PATH": "/usr/bin:/bin:/usr/sbin:/sbin",
            "USER": "user",
            "LOGNAME": "user",
            "SHELL": "/bin/zsh",
            "TMPDIR": os.environ.get("TMPDIR", "/tmp"),
            "XPC_FLAGS": "0x0",
            "XPC_SERVICE_NAME": str(self.keys["Label"]),
        }
        given: dict[str, str] = self.keys.get("EnvironmentVariables", {})
        return own | given

    def _output(self, key: str) -> int:
        if key not in self.keys:
            return asyncio.subprocess.DEVNULL
        return os.open(self.keys[key], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o666)

    def _limit(self) -> None:
        os.umask(self.keys.get("Umask", 0o022))
        _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (_MAX_FILES, hard))

    def printed(self, target: str) -> str:
        """As `launchctl print` shows it, shortened."""
        keys = self.keys
        lines = [
            f"{target} = {{",
            f"\tactive count = {1 if self.pid else 0}",
            f"\tpath = {self.path}",
            "\ttype = LaunchAgent",
            f"\tstate = {self.state}",
            "",
            f"\tprogram = {keys['ProgramArguments'][0]}",
            "\targuments = {",
            *(f"\t\t{argument}" for argument in keys["ProgramArguments"]),
            "\t}",
            "",
            f"\tworking directory = {keys.get('WorkingDirectory', '/')}",
            "",
            "\tenvironment = {",
            *(f"\t\t{name} => {value}" for name, value in self._environment().items()),
            "\t}",
            "",
            f"\tdomain = gui/{os.getuid()} [100041]",
            f"\tminimum runtime = {keys.get('ThrottleInterval', 10)}",
            f"\texit timeout = {keys.get('ExitTimeOut', 20)}",
            f"\truns = {self.runs}",
            *([f"\tpid = {self.pid}"] if self.pid else []),
            f"\t{self.end or 'last exit code = (never exited)'}",
            "",
            "\tresource coalition = {",
            "\t\tID = 33304",
            "\t\tstate = active",
            "\t\tactive count = 1",
            "\t}",
            "",
            "\tspawn type = interactive (4)",
            "\tproperties = keepalive | runatload | inferred program",
            "}",
        ]
        return "\n".join(lines) + "\n"


class Launchd:
    def __init__(self) -> None:
        self.services: dict[str, Service] = {}
        self._domain = f"gui/{os.getuid()}"

    async def answer(self, command: str, *arguments: str) -> Reply:
        match command, arguments:
            case "bootstrap", (self._domain, path):
                return self._bootstrap(Path(path))
            case "enable", (_,):
                return Reply()
        label = arguments[-1].removeprefix(f"{self._domain}/")
        service = self.services.get(label)
        if service is None:
            if command == "bootout":
                return Reply(3, err="Boot-out failed: 3: No such process")
            known = f'Could not find service "{label}" in domain for user gui: {os.getuid()}'
            return Reply(113, err=f"Bad request.\n{known}")
        match command:
            case "print":
                return Reply(out=service.printed(f"{self._domain}/{label}"))
            case "kickstart":
                if service.is_leaving:
                    return Reply(37, err="Could not kickstart service: 37: Operation in progress")
                if not service.pid:
                    service.demand()
                return Reply()
            case "bootout":
                return await self._bootout(label, service)
        return Reply(64, err=f"Unrecognized subcommand: {command}")

    def _bootstrap(self, path: Path) -> Reply:
        refused = Reply(5, err="Bootstrap failed: 5: Input/output error")
        try:
            if path.stat().st_mode & 0o022:
                return refused
            keys = plistlib.loads(path.read_bytes())
            jsonschema.validate(keys, SCHEMA)
        except (OSError, ValueError, jsonschema.ValidationError):
            return refused
        if keys["Label"] in self.services:
            return refused
        self.services[keys["Label"]] = Service(path, keys)
        return Reply()

    async def _bootout(self, label: str, service: Service) -> Reply:
        if not service.is_leaving:
            service.leave()
            service.task.add_done_callback(lambda _: self.services.pop(label))
        done, _ = await asyncio.wait({service.task}, timeout=_PATIENCE_S)
        return Reply() if done else Reply(36, err="Boot-out failed: 36: Operation now in progress")


async def _serve(path: str) -> None:
    launchd = Launchd()

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        reply = await launchd.answer(*json.loads(await reader.readline()))
        writer.write(json.dumps(reply).encode())
        writer.close()

    ended = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, ended.set)
    async with await asyncio.start_unix_server(handle, path):
        await ended.wait()
        for service in launchd.services.values():
            service.leave()
        await asyncio.gather(*(service.task for service in launchd.services.values()))


def launchctl(path: str) -> None:
    """The program, for a launchd behind this socket."""
    with socket.socket(socket.AF_UNIX) as sock:
        sock.connect(path)
        sock.sendall(json.dumps(sys.argv[1:]).encode() + b"\n")
        status, out, err = json.load(sock.makefile())
    sys.stdout.write(out)
    sys.stderr.write(err + "\n" if err else "")
    sys.exit(status)


if __name__ == "__main__":
    asyncio.run(_serve(sys.argv[1]))

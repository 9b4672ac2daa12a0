"""Whether the menu bar starts at login: `mlx-edge service menubar` knows, and changes it."""

import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from scripts.invocation import invocation

from .trouble import NotDone

_LIMIT_S = 60.0  # for a service manager, which may wait for what it ends
_IS_OFF = 3  # an exit status of `status`, as service managers have it


class LoginItem(Protocol):
    """Each call may take seconds. Raises NotDone."""

    def is_on(self) -> bool: ...

    def turn_on(self) -> None: ...

    def turn_off(self) -> None: ...


class ServiceCommand:
    """The command line, called by the name that this program was called by: it becomes the name
    that is started at login."""

    def __init__(self, home: Path, server: str) -> None:
        self._home = home.absolute()
        self._server = server
        self._program, self._folder = invocation()

    def is_on(self) -> bool:
        return self._run("status", accepted=(0, _IS_OFF)) == 0

    def turn_on(self) -> None:
        """From the next login on: this one runs already."""
        self._run("on", "--server", self._server)

    def turn_off(self) -> None:
        """From the next login on: this one goes on."""
        self._run("off")

    def _run(self, *arguments: str, accepted: Sequence[int] = (0,)) -> int:
        """Its exit status; one that is not accepted is raised with the last line that it said."""
        name = f"mlx-edge service menubar {arguments[0]}"
        command = [*self._program, "--home", str(self._home), "service", "menubar", *arguments]
        try:
            done = subprocess.run(
                command, cwd=self._folder, timeout=_LIMIT_S, text=True, check=False,
                stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            )  # fmt: skip
        except (OSError, subprocess.SubprocessError) as error:
            raise NotDone(f"`{name}` failed: {error}") from error
        if done.returncode not in accepted:
            said = done.stdout.strip().splitlines() or [f"exit status {done.returncode}"]
            raise NotDone(f"`{name}`: {said[-1]}")
        return done.returncode

"""What is asked of a service manager, whichever it is."""

import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import click

from .definition import Definition


class SupervisorFailed(click.ClickException):
    """The service manager does not answer, or refused."""


class NoSession(SupervisorFailed):
    """The user is not where services run, so that none of theirs does."""


@dataclass(frozen=True, slots=True)
class State:
    """A service as its manager sees it."""

    pid: int | None = None
    is_waiting: bool = False  # it ended by a fault, and is started again after a pause
    restarts: int = 0  # since it was started by hand or at login
    last_end: str | None = None  # how the run before ended, in words that follow "it"
    note: str | None = None  # what else the user should know


class Supervisor(Protocol):
    """A service manager of the user's session. All but `file` and `content` raise SupervisorFailed,
    and those that write OSError.
    """

    def file(self, label: str) -> Path:
        """Where the definition of a service lies."""

    def content(self, definition: Definition) -> bytes:
        """What is in that file. Raises ValueError for what cannot be said in it."""

    def register(self, definition: Definition) -> None:
        """Write the file, so that the service is started at login."""

    def unregister(self, label: str) -> None:
        """Undo that; the service must have been stopped."""

    def start(self, label: str) -> None:
        """Start it unless it runs, by what the file says now."""

    def stop(self, label: str) -> None:
        """End it until the next login, and wait until it has ended."""

    def state(self, label: str) -> State:
        """How it is."""


def ask(
    command: list[str], limit_s: float | None, *, fails: str
) -> subprocess.CompletedProcess[str]:
    """Run a program of the service manager. `fails` says what that means, where it does not run."""
    try:
        return subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=limit_s,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise SupervisorFailed(f"{fails}: {command[0]} does not run ({error})") from error

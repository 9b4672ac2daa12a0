"""A service put in place, started, ended and taken away."""

import time
from contextlib import suppress
from pathlib import Path

import click

from scripts.log_file import LogFile

from . import listening, logs, port
from .definition import Definition
from .options import Options
from .supervisor import NoSession, Supervisor

_START_S = 60.0  # for the server to listen; the first start after an update compiles all of Python
_LOOK_S = 0.1


class NotInstalled(click.ClickException):
    """As `systemctl status` ends of a unit that it does not know."""

    exit_code = 4

    def __init__(self) -> None:
        super().__init__("mlx-edge is not installed as a service: `mlx-edge service install`")


def install(supervisor: Supervisor, definition: Definition) -> None:
    """Put it in place of the one before, and start it. Raises ClickException."""
    try:
        supervisor.content(definition)  # refused before the one before is ended
        LogFile(definition.log).make()  # by us, so that nobody else may read it
        supervisor.stop(definition.label)
        supervisor.register(definition)
    except (OSError, ValueError) as error:
        raise click.ClickException(f"the service cannot be written: {error}") from error
    supervisor.start(definition.label)


def uninstall(supervisor: Supervisor, label: str) -> bool:
    """End it, also one whose file was removed by hand, and remove its file. Returns whether there
    was one. Raises ClickException.
    """
    was_there = is_there(supervisor, label)
    with suppress(NoSession):  # then there is nothing to end
        supervisor.stop(label)
    try:
        if was_there:
            supervisor.unregister(label)
    except OSError as error:
        raise click.ClickException(f"the service cannot be removed: {error}") from error
    return was_there


def is_there(supervisor: Supervisor, label: str) -> bool:
    """Whether it is installed, or runs although its file was removed by hand."""
    return supervisor.file(label).exists() or supervisor.state(label).pid is not None


def check_installed(supervisor: Supervisor, label: str) -> None:
    """Raises NotInstalled."""
    if not supervisor.file(label).exists():
        raise NotInstalled


def check_port(supervisor: Supervisor, label: str, options: Options) -> None:
    """Raises ClickException if somebody else holds the port that the service is to have."""
    try:
        if port.is_free(options.host, options.port):
            return
    except OSError as error:
        raise click.ClickException(
            f"nobody can listen on {options.host}:{options.port}: {error.strerror}"
        ) from error
    holder = port.holder(options.port)
    own = supervisor.state(label).pid
    if holder is None or holder.pid != own:
        raise click.ClickException(
            f"{options.host}:{options.port} is not free, so nothing is installed: "
            f"{port.held(options.port)}. End it, or choose another port: --port"
        )


def wait_until_listening(supervisor: Supervisor, label: str, log: Path) -> str:
    """Where the server that was just started listens. Raises ClickException if it ends instead,
    with what it said last: who holds its port, mostly.
    """
    deadline = time.monotonic() + _START_S
    first: int | None = None
    while time.monotonic() < deadline:
        state = supervisor.state(label)
        if state.pid is not None and (url := listening.url(state.pid)):
            return url
        first = first or state.pid
        if state.is_waiting or state.pid not in (None, first):
            raise click.ClickException(
                f"the server {state.last_end or 'ended'} instead of listening, and is tried again "
                f"and again. It said: {logs.last_words(log)}"
            )
        time.sleep(_LOOK_S)
    raise click.ClickException("the server does not listen yet; `mlx-edge service status` tells")

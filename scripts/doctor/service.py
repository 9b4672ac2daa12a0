"""The service: whether one is installed, and whether it does its work."""

from pathlib import Path

import msgspec

from scripts.service import listening, platforms
from scripts.service.definition import SERVER
from scripts.service.supervisor import State, SupervisorFailed

from .finding import Finding


class Service(msgspec.Struct, frozen=True):
    """As its manager tells of it."""

    file: Path | None  # which has the system start it; None where it is not installed
    state: State | None = None  # None where the manager does not say
    url: str | None = None  # where it listens
    trouble: str | None = None  # why the manager does not say


def ask() -> Service:
    """Of the server's; the manager is asked only where there is one."""
    supervisor = platforms.supervisor(platforms.here)
    file = supervisor.file(SERVER)
    if not file.exists():
        return Service(None)
    try:
        state = supervisor.state(SERVER)
    except SupervisorFailed as error:
        return Service(file, trouble=error.message)
    return Service(file, state, None if state.pid is None else listening.url(state.pid))


def finding(told: Service) -> Finding:
    """That it was stopped is its user's choice; that it ends again and again is not."""
    if told.file is None:
        return Finding(
            "service",
            "note",
            "not installed: the server runs as long as its terminal does",
            "`mlx-edge service install` starts it at login, and again after a crash.",
        )
    if told.state is None:
        return Finding(
            "service",
            "note",
            f"installed ({told.file}), and how it is cannot be told: {told.trouble}",
            "Ask again in a session of your own: `mlx-edge service status`.",
        )
    return _of_state(told.state, told.url, f"installed ({told.file})")


def _of_state(state: State, url: str | None, installed: str) -> Finding:
    ended = f"it {state.last_end or 'ended by a fault'}"
    if state.is_waiting or (url is None and state.restarts):
        return Finding(
            "service",
            "problem",
            f"{installed}, and does not stay up: {ended} (restarts so far: {state.restarts})",
            "`mlx-edge service logs` says why; `mlx-edge service restart` tries again, and "
            "`mlx-edge service stop` gives up.",
        )
    if state.pid is None:
        more = state.note or (ended if state.last_end else "")
        return Finding(
            "service",
            "note",
            f"{installed}, and not running" + (f": {more}" if more else ""),
            "`mlx-edge service start` starts it.",
        )
    if url is None:
        return Finding(
            "service",
            "note",
            f"{installed}, runs (pid {state.pid}), and does not listen yet",
            "Look again in a moment: `mlx-edge service status`.",
        )
    return Finding("service", "ok", f"{installed}, and listens at {url} (pid {state.pid})")

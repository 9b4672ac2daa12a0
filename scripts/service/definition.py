"""What a service manager is to run: the server, and on a Mac the menu bar beside it."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from scripts.invocation import invocation
from web.settings import longest_end_s

SERVER = "com.mlx-edge.server"  # the label, and the name of launchd's file: never to be changed
MENUBAR = "com.mlx-edge.menubar"

_MARGIN_S = 5  # more than the server itself takes at most: who comes first shall be the server


@dataclass(frozen=True, slots=True)
class Definition:
    """One program, for as long as the user is logged in."""

    label: str
    arguments: tuple[str, ...]  # the first is an absolute path
    folder: Path  # where it works
    log: Path  # where its output goes
    environment: Mapping[str, str]  # beside the service manager's own; without a secret
    stop_s: int | None  # from SIGTERM to SIGKILL; None: never
    has_window: bool = False  # it needs a session at the screen, and stays ended when it is quit


def server(
    home: Path,
    options: Sequence[str],
    drain_s: float,
    log: Path,
    environment: Mapping[str, str],
) -> Definition:
    """`mlx-edge serve` with these options. How long a drain may take is one of them, whoever said
    it: config.toml may say something else tomorrow, and `stop_s` is of today.
    """
    drain = "-1" if math.isinf(drain_s) else f"{drain_s:.3f}".rstrip("0").rstrip(".") + "s"
    added = ("--drain-timeout", drain, "--log-file", str(log))
    arguments = ("--home", str(home.absolute()), "serve", *options, *added)
    longest_s = longest_end_s(drain_s)
    stop_s = None if math.isinf(longest_s) else math.ceil(longest_s) + _MARGIN_S
    program, folder = invocation()
    return Definition(SERVER, (*program, *arguments), folder, log, environment, stop_s)


def menubar(home: Path, server_url: str, log: Path) -> Definition:
    """`mlx-edge menubar` for this server."""
    options = ("--server", server_url, "--log-file", str(log))
    arguments = ("--home", str(home.absolute()), "menubar", *options)
    program, folder = invocation()
    return Definition(MENUBAR, (*program, *arguments), folder, log, {}, 5, has_window=True)

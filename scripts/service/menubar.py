"""`mlx-edge service menubar`: whether the menu bar of a Mac shows the server from login on.

The menu bar itself asks this for its item "Start at Login"; what runs now is left as it is.
"""

from importlib.util import find_spec
from pathlib import Path

import click

from scripts.menubar import toolkit

from . import definition, platforms
from .definition import MENUBAR, Definition
from .supervisor import Supervisor

_IS_OFF = 3  # as of `systemctl status`


@click.group()
def menubar() -> None:
    """Whether the menu bar shows the server from the next login on. Only on macOS."""


@menubar.command()
@click.pass_context
def status(context: click.Context) -> None:
    """Whether it does. Ends with 0 if so, with 3 if not."""
    is_on = _supervisor().file(MENUBAR).exists()
    click.echo(f"The menu bar is {'started' if is_on else 'not started'} at login.")
    context.exit(0 if is_on else _IS_OFF)


@menubar.command()
@click.option("--server", default="http://127.0.0.1:8083", show_default=True,
              help="Where the server listens.")  # fmt: skip
@click.pass_obj
def on(home: Path, server: str) -> None:
    """From the next login on."""
    check()
    supervisor = _supervisor()
    try:
        supervisor.register(of_server(home, server))
    except OSError as error:
        raise click.ClickException(f"{supervisor.file(MENUBAR)}: {error.strerror}") from error
    click.echo("The menu bar is started at login.")


@menubar.command()
def off() -> None:
    """No longer."""
    supervisor = _supervisor()
    try:
        supervisor.unregister(MENUBAR)
    except OSError as error:
        raise click.ClickException(f"{supervisor.file(MENUBAR)}: {error.strerror}") from error
    click.echo("The menu bar is not started at login.")


def of_server(home: Path, server: str) -> Definition:
    """The menu bar of this Mac, for a server of this home."""
    return definition.menubar(home, server, platforms.log_file("macos", "menubar"))


def check() -> None:
    """Raises ClickException where there is no menu bar, or nothing to show it with."""
    _supervisor()
    if find_spec("rumps") is None:
        raise click.ClickException(toolkit.NEEDED)


def _supervisor() -> Supervisor:
    """Raises UsageError where there is no menu bar."""
    if platforms.here != "macos":
        raise click.UsageError("The menu bar is for macOS: there is none here.")
    return platforms.supervisor("macos")

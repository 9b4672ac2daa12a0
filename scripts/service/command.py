"""`mlx-edge service`: the server at login, started again after a crash."""

import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import click
import msgspec

from runtime.processes.sealed import UNSEALED
from scripts.api_key import key_of_home

from . import definition, installation, linger, logs, platforms, protected
from . import status as status_of
from .definition import MENUBAR, SERVER, Definition
from .environment import kept, without
from .menubar import check as check_menubar
from .menubar import menubar as menubar_
from .menubar import of_server
from .options import Options, parsed
from .platforms import PLATFORMS, Platform
from .supervisor import Supervisor

_NOT_RUNNING, _NOT_INSTALLED = 3, 4  # as of `systemctl status`

# What is no option of the command itself is one of `serve`.
_SERVE_OPTIONS = {"ignore_unknown_options": True}
_serve_options = click.argument("serve_options", nargs=-1, type=click.UNPROCESSED)


@click.group()
def service() -> None:
    """The server as a service: it starts at login, and again after a crash."""


@service.command(context_settings=_SERVE_OPTIONS)
@_serve_options
@click.option("--menubar/--no-menubar", default=None,
              help="Show it in this Mac's menu bar too; else that stays as it is.")  # fmt: skip
@click.pass_context
def install(context: click.Context, serve_options: tuple[str, ...], menubar: bool | None) -> None:
    """Install the service and start it; SERVE_OPTIONS are those of `mlx-edge serve`.

    What was installed before is replaced.
    """
    supervisor = platforms.supervisor(platforms.here)
    is_mac = platforms.here == "macos"
    if menubar is None:  # one that was there too: the server may be at another port now
        menubar = is_mac and supervisor.file(MENUBAR).exists()
    if menubar:
        check_menubar()
    options = parsed(context, serve_options)
    made = _server(context.obj, serve_options, options, platforms.here)
    installation.check_port(supervisor, SERVER, options)
    installation.install(supervisor, made)
    click.echo(f"Installed {supervisor.file(SERVER)}")
    for name in kept(os.environ).secrets:
        click.echo(without(name, options.api_key))
    for caution in _cautions(context.obj, made):
        click.echo(caution)
    url = _listening(supervisor)
    click.echo(f"mlx-edge listens on {url}, now and after every login.")
    if menubar:
        installation.install(supervisor, of_server(context.obj, url))
        click.echo("It is in the menu bar.")
    elif is_mac:
        installation.uninstall(supervisor, MENUBAR)


@service.command()
def uninstall() -> None:
    """End the service and remove what `install` wrote."""
    supervisor = platforms.supervisor(platforms.here)
    if platforms.here == "macos":
        installation.uninstall(supervisor, MENUBAR)
    if not installation.uninstall(supervisor, SERVER):
        raise installation.NotInstalled
    click.echo(
        "The service is removed. Models, settings and the key stay, and so do the logs in "
        f"{platforms.log_file(platforms.here).parent}"
    )


@service.command()
def start() -> None:
    """Start the service, unless it runs."""
    supervisor = platforms.supervisor(platforms.here)
    installation.check_installed(supervisor, SERVER)
    supervisor.start(SERVER)
    click.echo(f"mlx-edge listens on {_listening(supervisor)}")


@service.command()
def stop() -> None:
    """End the service, until the next login: running answers are finished first."""
    supervisor = platforms.supervisor(platforms.here)
    if not installation.is_there(supervisor, SERVER):
        raise installation.NotInstalled
    supervisor.stop(SERVER)
    if supervisor.file(SERVER).exists():
        then = "it starts at the next login, or by `mlx-edge service start`"
    else:
        then = "its file was removed, so that only `mlx-edge service install` starts it again"
    click.echo(f"mlx-edge is stopped; {then}.")


@service.command()
def restart() -> None:
    """End the service, and start it anew."""
    supervisor = platforms.supervisor(platforms.here)
    installation.check_installed(supervisor, SERVER)
    supervisor.stop(SERVER)
    supervisor.start(SERVER)
    click.echo(f"mlx-edge listens on {_listening(supervisor)}")


@service.command()
@click.option("--json", "as_json", is_flag=True, help="As JSON, for programs.")
@click.pass_context
def status(context: click.Context, as_json: bool) -> None:
    """How the service is. Ends with 0 if it runs, 3 if not, 4 if it is not installed."""
    supervisor = platforms.supervisor(platforms.here)
    file = supervisor.file(SERVER)
    state = supervisor.state(SERVER)
    if state.note is None and platforms.here == "linux" and file.exists():
        state = replace(state, note=linger.note())
    # The key in this shell, if there is one, is not the service's.
    told = status_of.status(file, platforms.log_file(platforms.here), state, key_of_home)
    if as_json:
        click.echo(msgspec.json.format(msgspec.json.encode(told)).decode())
    else:
        for line in status_of.lines(told):
            click.echo(line)
    if not told.running:
        context.exit(_NOT_RUNNING if told.installed else _NOT_INSTALLED)


@service.command("logs")
@click.option("-n", "count", default=20, show_default=True, type=click.IntRange(0, 1_000_000),
              help="So many of the last lines.")  # fmt: skip
@click.option("-f", "is_followed", is_flag=True, help="Go on with what comes, until Ctrl-C.")
def logs_(count: int, is_followed: bool) -> None:
    """What the service writes."""
    path = platforms.log_file(platforms.here)
    try:
        last = logs.end(path, count)
    except OSError as error:
        raise click.ClickException(f"{path} cannot be read: {error.strerror}") from error
    if count and not last.lines:
        click.echo(f"Nothing is written in {path} so far.", err=True)
    for line in last.lines:
        click.echo(line, nl=False)
    if is_followed:
        for data in logs.follow(path, last.position):
            click.echo(data, nl=False)


@service.command(context_settings=_SERVE_OPTIONS)
@_serve_options
@click.option("--platform", type=click.Choice(PLATFORMS), default=lambda: platforms.here,
              help="For this system; by default for this one here.")  # fmt: skip
@click.pass_context
def show(context: click.Context, serve_options: tuple[str, ...], platform: Platform) -> None:
    """Print the file that `install` would write with these SERVE_OPTIONS."""
    made = _server(context.obj, serve_options, parsed(context, serve_options), platform)
    try:
        content = platforms.supervisor(platform).content(made)
    except ValueError as error:
        raise click.ClickException(str(error)) from error
    click.echo(content, nl=False)


def _server(
    home: Path, serve_options: tuple[str, ...], options: Options, platform: Platform
) -> Definition:
    values = kept(os.environ).values
    log = platforms.log_file(platform)
    return definition.server(home, serve_options, options.drain_s, log, values)


def _cautions(home: Path, made: Definition) -> Iterator[str]:
    """What may keep an installed service from running, and only the user can mend; and what it is
    without.
    """
    if made.environment.get(UNSEALED) == "1":
        yield f"{UNSEALED}=1 is in it: its engines could reach a network."
    if platforms.here == "macos":
        yield from protected.cautions([home, made.folder, Path(made.arguments[0])])
    elif (note := linger.note()) is not None:
        yield f"Note that {note}."


def _listening(supervisor: Supervisor) -> str:
    log = platforms.log_file(platforms.here)
    return installation.wait_until_listening(supervisor, SERVER, log)


service.add_command(menubar_)

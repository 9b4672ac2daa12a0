"""`mlx-edge menubar`: put together and run."""

from contextlib import closing
from pathlib import Path

import click

from scripts.remote import on_server


@click.command()
@on_server
@click.pass_obj
def menubar(home: Path, server: str, api_key: str) -> None:
    """Show the server in the Mac's menu bar: what it does, its models, pause, chat."""
    # Late: `mlx-edge serve` imports this file too, and starts faster without.
    from . import toolkit
    from .app import MenuBar
    from .desktop import MacDesktop
    from .login_item import ServiceCommand
    from .program import Program
    from .server import Server

    try:
        rumps = toolkit.load()
    except toolkit.NoToolkit as error:
        raise click.ClickException(str(error)) from error
    toolkit.stay_out_of_dock()
    with closing(Server(server, api_key)) as asked:
        login_item = ServiceCommand(home, asked.url)
        MenuBar(rumps, Program(asked, MacDesktop(), login_item)).run()

"""`mlx-edge menubar`: put together and run."""

from contextlib import closing
from pathlib import Path

import click
from click.core import ParameterSource

from scripts.api_key import KeyUnavailable, key_of_server
from scripts.log_file import write_to
from scripts.remote import on_server


@click.command()
@on_server
@click.option("--log-file", type=click.Path(path_type=Path), hidden=True)
@click.pass_context
def menubar(context: click.Context, server: str, api_key: str, log_file: Path | None) -> None:
    """Show the server in the Mac's menu bar: what it does, its models, pause, chat."""
    if log_file is not None:
        write_to(log_file)
    # Late: `mlx-edge serve` imports this file too, and starts faster without.
    from . import toolkit
    from .app import MenuBar
    from .desktop import MacDesktop
    from .login_item import ServiceCommand
    from .program import Program
    from .server import Server

    def key_now() -> str:
        """On a thread of the program's."""
        with context.scope(cleanup=False):
            try:
                return key_of_server()
            except KeyUnavailable:
                return api_key

    is_given = context.get_parameter_source("api_key") is not ParameterSource.DEFAULT
    home: Path = context.obj
    try:
        rumps = toolkit.load()
    except toolkit.NoToolkit as error:
        raise click.ClickException(str(error)) from error
    toolkit.stay_out_of_dock()
    with closing(Server(server, api_key, None if is_given else key_now)) as asked:
        login_item = ServiceCommand(home, asked.url)
        MenuBar(rumps, Program(asked, MacDesktop(), login_item)).run()

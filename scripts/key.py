"""`mlx-edge key`: the API key of this home, shown, chosen, forgotten."""

import sys
from pathlib import Path

import click

from scripts import api_key
from web.settings import DEFAULT_API_KEY

_NEXT = "A server that runs has the old one until it is started again (`mlx-edge service restart`)."


@click.group(invoke_without_command=True)
@click.pass_context
def key(context: click.Context) -> None:
    """Print the API key of this home."""
    if context.invoked_subcommand is None:
        click.echo(api_key.key_of_home())


@key.command()
@click.pass_obj
def new(home: Path) -> None:
    """Make a random key, in place of the one before."""
    _save(home, api_key.made())


@key.command("set")
@click.pass_obj
def set_(home: Path) -> None:
    """Choose a key: asked for, or read from a pipe. Never an argument: `ps` shows these to all."""
    if sys.stdin.isatty():
        _save(home, click.prompt("Key", hide_input=True, confirmation_prompt=True))
    else:
        _save(home, sys.stdin.readline().rstrip("\r\n"))


@key.command()
@click.pass_obj
def forget(home: Path) -> None:
    """Go back to the default key."""
    api_key.forget(home)
    if api_key.key_of_config() is None:
        click.echo(f"The key is {DEFAULT_API_KEY} again, for servers on loopback. {_NEXT}")
    else:
        click.echo(f"No other key is kept. {_configured(home)}")


def _save(home: Path, chosen: str) -> None:
    try:
        place = api_key.save(home, chosen)
    except ValueError as error:
        raise click.ClickException(str(error)) from error
    if api_key.key_of_config() is None:
        click.echo(f"The key is kept in {place}; `mlx-edge key` prints it. {_NEXT}")
    else:
        click.echo(f"The key is kept in {place}, and not used. {_configured(home)}")


def _configured(home: Path) -> str:
    return f"{home / 'config.toml'} has api-key in its table [serve]: that is the key."

"""`mlx-edge pause` and `resume`: whether the running server takes new requests."""

import click

from scripts.remote import on_server, request


@click.command()
@on_server
def pause(server: str, api_key: str) -> None:
    """Have the server refuse new requests; those that run go on to their end."""
    with request("POST", server, "/v1/pause", api_key):
        click.echo("The server is paused until `mlx-edge resume`, or until it is started anew.")


@click.command()
@on_server
def resume(server: str, api_key: str) -> None:
    """Have a paused server take requests again."""
    with request("POST", server, "/v1/resume", api_key):
        click.echo("The server takes requests.")

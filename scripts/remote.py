"""Commands that talk to the running server: ps, load, unload."""

import http.client
import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import quote, urlsplit

import click

from scripts.settings import ENVIRONMENT_PREFIX

_server = click.option(
    "--server",
    default="http://127.0.0.1:8083",
    show_default=True,
    envvar=f"{ENVIRONMENT_PREFIX}_SERVER",
    help="Where the server listens.",
)
_key = click.option("--api-key", default="1234", envvar=f"{ENVIRONMENT_PREFIX}_API_KEY")


@click.command()
@_server
@_key
def ps(server: str, api_key: str) -> None:
    """The models in memory."""
    with _request("GET", server, "/v1/models", api_key) as response:
        models = json.load(response)["data"]
    for model in models:
        if model["loaded"]:
            click.echo(
                f"{model['id']:32} {model['memory_bytes'] / 1e6:10.1f} MB  "
                f"{model['num_running']} running, {model['num_waiting']} waiting"
            )


@click.command()
@click.argument("model_id")
@click.option("--pin", is_flag=True, help="Keep it until it is unloaded by hand.")
@_server
@_key
def load(model_id: str, pin: bool, server: str, api_key: str) -> None:
    """Bring a model into memory, with its progress."""
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn

    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn())
    with (
        _request("POST", server, "/v1/models", api_key, {"model": model_id, "pin": pin}) as events,
        Progress(*columns) as progress,
    ):
        task = progress.add_task(f"Loading {model_id}", total=None)
        for line in events:
            if not line.startswith(b"data: {"):
                continue
            event = json.loads(line[6:])
            if "error" in event:
                raise click.ClickException(event["error"]["message"])
            if "loaded_bytes" in event:
                progress.update(task, completed=event["loaded_bytes"], total=event["total_bytes"])
    click.echo(f"{model_id} is loaded.")


@click.command()
@click.argument("model_id")
@_server
@_key
def unload(model_id: str, server: str, api_key: str) -> None:
    """Take a model out of memory; its files stay."""
    path = f"/v1/models/{quote(model_id, safe='')}"
    with _request("DELETE", server, path, api_key) as response:
        freed = json.load(response)["freed_bytes"]
    click.echo(f"{model_id} is unloaded; {freed / 1e6:.1f} MB came back.")


@contextmanager
def _request(
    method: str, server: str, path: str, api_key: str, body: dict[str, Any] | None = None
) -> Iterator[http.client.HTTPResponse]:
    """The server's answer; an error of it ends the command with its message."""
    url = urlsplit(server)
    connection = http.client.HTTPConnection(url.hostname or "127.0.0.1", url.port or 80)
    headers = {"Authorization": f"Bearer {api_key}", "Accept": "text/event-stream"}
    payload = None
    if body is not None:
        headers["Content-Type"] = "application/json"
        payload = json.dumps(body)
    try:
        connection.request(method, path, payload, headers)
        response = connection.getresponse()
        if response.status >= 400:
            raise click.ClickException(json.load(response)["error"]["message"])
        yield response
    except ConnectionError as error:
        raise click.ClickException(
            f"no server answers at {server}; start one with `mlx-edge serve`"
        ) from error
    finally:
        connection.close()

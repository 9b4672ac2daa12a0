"""Commands that talk to the running server: ps, load, unload; and how any of them asks it."""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import click

from registry.store.store import BUILT_IN_ID
from scripts.api_key import KEY_VARIABLE, key_of_server
from scripts.settings import ENVIRONMENT_PREFIX

if TYPE_CHECKING:
    import httpx

Command = Callable[..., Any]


class NoServer(click.ClickException):
    """Nobody listens there."""


at_server = click.option(
    "--server",
    default="http://127.0.0.1:8083",
    show_default=True,
    envvar=f"{ENVIRONMENT_PREFIX}_SERVER",
    help="Where the server listens.",
)


def on_server(command: Command) -> Command:
    """Add the options --server and --api-key, in this order: by default the one decides on the
    other.
    """
    key = click.option("--api-key", default=key_of_server, envvar=KEY_VARIABLE)
    return at_server(key(command))


@click.command()
@on_server
def ps(server: str, api_key: str) -> None:
    """The models in memory: what they take, how long they stay, what they do."""
    with request("GET", server, "/v1/models", api_key) as response:
        models = json.loads(response.read())["data"]
    rows = [_row(model) for model in models if model["state"] != "unloaded"]
    head = ("MODEL", "MEMORY", "OF IT CACHE", "STAYS", "REQUESTS")
    for name, memory, cache, stays, work in [head, *rows]:
        click.echo(f"{name:32} {memory:>12} {cache:>18}  {stays:12} {work}")


def _row(model: dict[str, Any]) -> tuple[str, str, str, str, str]:
    """A model in memory, or on its way there, as `ps` shows it."""
    if model["state"] == "loading":
        return model["id"], "", "", "", f"loading, {model['loading']['progress']:.0%}"
    work = f"{model['num_running']} running, {model['num_waiting']} waiting"
    work += f", {n} of them for memory" if (n := model["num_waiting_for_memory"]) else ""
    work += f", {n} of them set aside" if (n := model["num_set_aside"]) else ""
    work += f", {n} continued" if (n := model["num_continued"]) else ""
    cache = model["prefix_cache"]
    kept = f"{cache['num_bytes'] / 1e6:.1f} MB"
    if cache["prompt_tokens"]:
        kept += f", {cache['cached_tokens'] / cache['prompt_tokens']:.0%} hits"
    memory = f"{model['memory_bytes'] / 1e6:.1f} MB"
    return model["id"], memory, kept, _stay(model), work


def _stay(model: dict[str, Any]) -> str:
    """How long it would stay if nobody asked it any more."""
    if model["state"] == "unloading":
        return "unloading"
    if model["pinned"]:
        return "pinned"
    left_s = model["expires_in_s"]
    return "until needed" if left_s is None else str(timedelta(seconds=round(left_s)))


@click.command()
@click.argument("model_id")
@click.option("--pin", is_flag=True, help="Keep it until it is unloaded by hand.")
@click.option("--keep-alive", metavar="DURATION", help="How long it stays idle: 10m, 2h; -1: pin.")
@click.option("--kv-bits", type=click.Choice(["4", "8", "16"]),
              help="Hold its KV cache in so many bits from now on; 16: not quantised.")  # fmt: skip
@on_server
def load(
    model_id: str,
    pin: bool,
    keep_alive: str | None,
    kv_bits: str | None,
    server: str,
    api_key: str,
) -> None:
    """Bring a model into memory, with its progress."""
    wishes: dict[str, Any] = {"pin": True} if pin else {}
    wishes |= {"keep_alive": keep_alive} if keep_alive is not None else {}
    wishes |= {"kv_bits": int(kv_bits)} if kv_bits is not None else {}
    bring(model_id, server, api_key, wishes)
    click.echo(f"{model_id} is loaded.")


def bring(
    model_id: str, server: str, api_key: str, wishes: dict[str, Any], *, on_stderr: bool = False
) -> None:
    """Have the server load a model, with its progress; on stderr for a person only."""
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn

    console = Console(stderr=on_stderr)
    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn())
    is_hidden = on_stderr and not console.is_terminal
    is_loaded = False
    with (
        request("POST", server, "/v1/models", api_key, {"model": model_id, **wishes}) as response,
        Progress(*columns, console=console, transient=on_stderr, disable=is_hidden) as progress,
    ):
        task = progress.add_task(f"Loading {model_id}", total=None)
        for line in response.iter_lines():
            if not line.startswith("data: {"):
                continue
            event = json.loads(line[6:])
            if "error" in event:
                raise click.ClickException(event["error"]["message"])
            if "loaded_bytes" in event:
                progress.update(task, completed=event["loaded_bytes"], total=event["total_bytes"])
            is_loaded = bool(event.get("loaded"))  # the last event is the model itself
    if not is_loaded:
        raise click.ClickException(f"the server ended before {model_id} was loaded")


@click.command()
@click.argument("model_id")
@click.option("--force", is_flag=True, help="End running answers instead of waiting for them.")
@on_server
def unload(model_id: str, force: bool, server: str, api_key: str) -> None:
    """Take a model out of memory; its files stay."""
    path = f"/v1/models/{quote(model_id, safe='')}" + ("?force=true" if force else "")
    with request("DELETE", server, path, api_key) as response:
        freed = json.loads(response.read())["freed_bytes"]
    click.echo(f"{model_id} is unloaded; {freed / 1e6:.1f} MB came back.")


def default_of(server: str, api_key: str) -> str:
    """The model that a server begins with."""
    with request("GET", server, "/v1/models", api_key) as response:
        models = json.loads(response.read())["data"]
    # A server of before there was a default lists none.
    return next((str(model["id"]) for model in models if model.get("default")), BUILT_IN_ID)


@contextmanager
def request(
    method: str, server: str, path: str, api_key: str, body: dict[str, Any] | None = None
) -> "Iterator[httpx.Response]":
    """The server's answer; if it is an error, the command ends with its message."""
    import httpx  # late: `mlx-edge serve` imports this file too, and starts faster without

    url = server.rstrip("/") + path
    headers = {"Authorization": f"Bearer {api_key}", "Accept": "text/event-stream"}
    # A load may be silent for a while; an address that does not answer fails after 5 s.
    timeout = httpx.Timeout(60, connect=5)
    try:
        # No proxy of the environment: the key is for this server alone.
        with (
            httpx.Client(headers=headers, timeout=timeout, trust_env=False) as client,
            client.stream(method, url, json=body) as response,
        ):
            if response.is_error:
                raise click.ClickException(message_of(response.status_code, response.read()))
            yield response
    except (httpx.ReadError, httpx.ReadTimeout, httpx.RemoteProtocolError) as error:
        raise click.ClickException(
            f"the server at {server} ended before its answer did ({error})"
        ) from error
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        raise NoServer(
            f"no server answers at {server} ({error}); start one with `mlx-edge serve`"
        ) from error


def message_of(status: int, body: bytes) -> str:
    """The message of an error, if it is one of ours."""
    try:
        return str(json.loads(body)["error"]["message"])
    except (ValueError, KeyError, TypeError):
        return f"the server answered {status}, which is no answer of mlx-edge"

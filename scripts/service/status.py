"""How the service is: what its manager knows, and what the server itself says."""

import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import click
import msgspec
import psutil

from scripts.remote import request

from . import listening
from .supervisor import State

_NO_FILE = (
    "it runs without its file, which somebody removed: `mlx-edge service install` writes it anew, "
    "`mlx-edge service stop` ends what runs"
)


class LoadedModel(msgspec.Struct, frozen=True):
    id: str
    state: str
    memory_bytes: int


class Status(msgspec.Struct, frozen=True):
    """All that `service status --json` says."""

    installed: bool
    running: bool
    file: str
    log: str
    pid: int | None = None
    since: float | None = None  # seconds since 1970
    url: str | None = None
    ready: bool = False
    trouble: str | None = None  # why it is not ready, or says nothing of its models
    models: list[LoadedModel] = []
    restarts: int = 0  # since it was started by hand or at login
    last_end: str | None = None  # how the run before ended
    note: str | None = None


def status(file: Path, log: Path, state: State, api_key: Callable[[], str]) -> Status:
    """Of the service whose definition is this file. `api_key` may raise ClickException."""
    told = Status(
        installed=file.exists(),
        running=state.pid is not None,
        file=str(file),
        log=str(log),
        pid=state.pid,
        restarts=state.restarts,
        last_end=state.last_end,
        note=state.note if file.exists() or state.pid is None else _NO_FILE,
    )
    if state.pid is None:
        trouble = "it is started again after a pause" if state.is_waiting else None
        return msgspec.structs.replace(told, trouble=trouble)
    url = listening.url(state.pid)
    ready, trouble = _readiness(url)
    models: list[LoadedModel] = []
    if url is not None:
        try:
            models = _models(url, api_key())
        except click.ClickException as error:  # another key or none, or it is just ending
            trouble = trouble or error.message
    return msgspec.structs.replace(
        told, since=_since(state.pid), url=url, ready=ready, trouble=trouble, models=models
    )


def lines(told: Status) -> Iterator[str]:
    """The same for a person."""
    if not told.installed and not told.running:
        yield "mlx-edge is not installed as a service; `mlx-edge service install` does that."
        return
    if told.running:
        since = "" if told.since is None else f", since {_moment(told.since)}"
        yield f"mlx-edge is running: pid {told.pid}{since}"
        yield f"listens    {told.url or 'not yet'}{', ready' if told.ready else ''}"
    else:
        yield "mlx-edge is not running; `mlx-edge service start` starts it."
    if told.trouble is not None:
        yield f"trouble    {told.trouble}"
    if told.note is not None:
        yield f"note       {told.note}"
    for model in told.models:
        yield f"model      {model.id}, {model.state}, {model.memory_bytes / 1e6:.1f} MB"
    if told.ready and not told.models:
        yield "models     none in memory; one is loaded when it is asked"
    if told.restarts:
        yield f"restarts   {told.restarts}"
    if told.last_end is not None:
        yield f"before     it {told.last_end}"
    yield f"log        {told.log}"
    yield f"file       {told.file if told.installed else 'none'}"


def _readiness(url: str | None) -> tuple[bool, str | None]:
    import httpx  # late, as in scripts.remote

    if url is None:
        return False, "it does not listen yet"
    try:
        answer = httpx.get(f"{url}/ready", timeout=5, trust_env=False)
        if answer.is_success:
            return True, None
        return False, f"it is not ready: {answer.json()['status']}"
    except (httpx.HTTPError, ValueError, KeyError, TypeError) as error:
        return False, f"it does not answer at {url} ({error})"


def _models(url: str, api_key: str) -> list[LoadedModel]:
    with request("GET", url, "/v1/models", api_key) as response:
        listed: list[dict[str, Any]] = json.loads(response.read())["data"]
    return [
        LoadedModel(model["id"], model["state"], model.get("memory_bytes", 0))
        for model in listed
        if model["state"] != "unloaded"
    ]


def _since(pid: int) -> float | None:
    try:
        return psutil.Process(pid).create_time()
    except psutil.Error:
        return None


def _moment(seconds: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(seconds))

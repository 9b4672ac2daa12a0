"""`mlx-edge doctor --privacy`: the server is asked, and what it says is checked."""

import asyncio
import contextlib
import time
from collections.abc import Iterator
from typing import cast
from urllib.parse import urlsplit

import click
import msgspec
import psutil
from msgspec.structs import replace

from scripts.doctor import report as findings_report
from scripts.doctor.finding import Finding
from scripts.remote import NoServer, request
from scripts.settings import provision_settings
from web.network.processes import SERVER, Process, processes
from web.network.reachable import reachable
from web.network.told import Network
from web.settings import LOOPBACK

from . import findings, report
from .connections import Unseen, open_now
from .proof import Attempt, Unproven, attempts

_SEALING_S = 3.0  # how long Python may take to start
_ALLOWED = "allow_private_downloads"


def show(server: str, api_key: str, *, as_json: bool) -> list[Finding]:
    """Print all of it. Returns what was found."""
    told, found, proof = _network(server, api_key), list[Finding](), list[Attempt]()
    if told is None:
        found.append(
            Finding("server", "note", f"none runs at {server}, so none is checked",
                    "`mlx-edge serve` starts one.")
        )  # fmt: skip
    else:
        told, looked = _looked_at(told, server, api_key)
        found += looked
    try:
        proof = asyncio.run(attempts())
        found += findings.proven(proof)
    except (Unproven, OSError) as error:
        found.append(Finding("proof", "warning", f"nothing is proven: {error}", "Try again."))
    shown = told or _reachable()
    if as_json:
        whole = {"server": server if told else None, **msgspec.to_builtins(shown)}
        whole |= {"proof": proof, "findings": found}
        click.echo(msgspec.json.format(msgspec.json.encode(whole)).decode())
    else:
        lines = (*findings_report.lines(found), "", *report.lines(shown, runs=told is not None))
        click.echo("\n".join(lines))
    return found


def _network(server: str, api_key: str) -> Network | None:
    """What it says of itself; None where none runs. Raises click.ClickException."""
    try:
        with request("GET", server, "/v1/network", api_key) as response:
            return msgspec.json.decode(response.read(), type=Network)
    except NoServer:
        return None
    except msgspec.MsgspecError:
        raise click.ClickException(f"what answers at {server} is not mlx-edge") from None


def _looked_at(told: Network, server: str, api_key: str) -> tuple[Network, list[Finding]]:
    """What it says, with its processes as they are seen from here."""
    found: list[Finding] = []
    own = _processes(told, server)
    if own is None:
        found.append(
            Finding("processes", "warning", "the server's processes cannot be seen from here",
                    "Ask on the machine that it runs on, as the user that it runs as.")
        )  # fmt: skip
    else:
        found += findings.sealed(own)
        found += _open(own, server, api_key)
        told = replace(told, processes=own)
    return told, [*findings.reached(told), *found]


def _processes(told: Network, server: str) -> list[Process] | None:
    """The tree by our own eyes; the server only tells which model is whose."""
    if urlsplit(server).hostname not in LOOPBACK:
        return None
    (pid,) = [one.pid for one in told.processes if one.role == SERVER] or [0]
    with contextlib.suppress(psutil.Error):
        if "serve" in psutil.Process(pid).cmdline():
            models = {one.pid: one.model for one in told.processes}
            return [replace(one, model=models.get(one.pid)) for one in _settled(pid)]
    return None


def _settled(server: int) -> list[Process]:
    """Once every child is sealed, or has had the time for it: one that just began does so first."""
    until = time.monotonic() + _SEALING_S
    while True:
        seen = processes(server, {})
        is_open = any(one.sealed is False and not one.needs_network for one in seen)
        if not is_open or time.monotonic() > until:
            return seen
        time.sleep(_SEALING_S / 20)


def _open(own: list[Process], server: str, api_key: str) -> Iterator[Finding]:
    """The record is read after the look, so that it has what began meanwhile."""
    try:
        seen = open_now((one.pid for one in own), urlsplit(server).port or 80)
    except Unseen as error:
        yield Finding("open now", "warning", f"cannot be seen: {error}",
                      "Ask as the user that the server runs as.")  # fmt: skip
        return
    if (later := _network(server, api_key)) is not None:
        yield from findings.open_now(seen, later)


def _reachable() -> Network:
    """By the settings of this shell, as a server that it starts would have them."""
    settings = provision_settings(_allowed())
    return Network(reachable(settings.hub, settings.download))


def _allowed() -> tuple[str, ...]:
    """--allow-private-downloads of `serve`, where config.toml has it."""
    defaults = click.get_current_context().find_root().default_map or {}
    return tuple(cast(dict[str, list[str]], defaults.get("serve", {})).get(_ALLOWED, ()))

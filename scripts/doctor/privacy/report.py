"""What a server can reach and did reach, as people read it."""

from collections.abc import Iterator
from datetime import datetime

from runtime.processes.destinations import Destination
from scripts.doctor.report import wrapped
from web.network.processes import Process
from web.network.told import Network

from .findings import called, shown


def lines(told: Network, *, runs: bool) -> Iterator[str]:
    """`runs`: a server does, whose past and processes are known."""
    yield "What it can reach" if runs else "What a server can reach, when one runs"
    for one in told.reachable:
        yield f"  {one.destination}"
        for line in wrapped(f"when {one.when}; named by {one.named_by}", 6):
            yield f"      {line}"
    yield "  Nothing else: there is no telemetry, and no look for updates."
    if not runs:
        return
    yield ""
    since = f" since {_time(told.since)}" if told.since is not None else ""
    yield f"What it did reach{since}"
    yield from map(_reached, told.reached)
    if not told.reached:
        yield "  nobody"
    if told.loopback:
        count = sum(one.count for one in told.loopback)
        yield f"  and this machine itself, {_times(count)}"
    yield ""
    yield f"{'PID':>8}  {'PROCESS':32} NETWORK"
    yield from map(_process, told.processes)


def _reached(one: Destination) -> str:
    last = f"{_times(one.count)}, last at {_time(one.last_at)}"
    return f"  {shown(one)}, {last}: {one.purpose or 'NOBODY NAMED IT'}"


def _process(one: Process) -> str:
    network = {True: "none: sealed", False: "OPEN", None: "cannot be told"}[one.sealed]
    if one.needs_network:
        network = "downloads what people ask for"
    return f"{one.pid:>8}  {called(one):32} {network}"


def _times(count: int) -> str:
    return "once" if count == 1 else f"{count} times"


def _time(seconds: float) -> str:
    return datetime.fromtimestamp(seconds).strftime("%Y-%m-%d %H:%M:%S")

"""What is to be thought of what a server reached, of its processes, and of the proof."""

from collections.abc import Iterator, Sequence

from runtime.processes.destinations import Destination
from runtime.processes.sealed import UNSEALED
from scripts.doctor.finding import Finding
from web.network.processes import Process
from web.network.told import Network

from .connections import Open
from .proof import Attempt

_STOP = "Stop the server, and tell the authors of mlx-edge: nothing of it goes there on purpose."
_SEAL = f"Start the server without {UNSEALED}, on a system that can seal processes."


def reached(told: Network) -> Iterator[Finding]:
    """Each destination that nobody of ours meant, or one for all that were."""
    if told.since is None:
        yield Finding("reached", "warning", "the server keeps no record", "Start it by `serve`.")
        return
    unmeant = [one for one in told.reached if one.purpose is None]
    for one in unmeant:
        yield Finding(
            "reached", "problem", f"{shown(one)}, {one.count} times, and nobody named it", _STOP
        )
    if told.num_unlisted:
        yield Finding(
            "reached",
            "warning",
            f"{told.num_unlisted} connections went to more destinations than are kept",
            "Start the server again to begin a new record.",
        )
    if not unmeant:
        count = len(told.reached)
        named = f"{count} destination{'s' if count != 1 else ''}, each named by somebody"
        yield Finding("reached", "ok", named if count else "nobody beyond this machine")


def open_now(found: Sequence[Open], told: Network) -> Iterator[Finding]:
    """Connections that the server's record does not explain, or one for all."""
    meant = {(one.ip, one.port) for one in told.reached if one.purpose is not None}
    unmeant = [one for one in found if (one.ip, one.port) not in meant]
    for one in unmeant:
        yield Finding(
            "open now",
            "problem",
            f"process {one.pid} is connected to {one.ip} port {one.port}, and nobody named it",
            _STOP,
        )
    if not unmeant:
        known = f"{len(found)} connections beyond this machine, each named by somebody"
        yield Finding("open now", "ok", known if found else "no connection beyond this machine")


def sealed(processes: Sequence[Process]) -> Iterator[Finding]:
    """Each child that could reach somebody and should not, or one for all."""
    children = [one for one in processes if not one.needs_network]
    wrong = [one for one in children if one.sealed is not True]
    for one in wrong:
        who = f"{called(one)} (pid {one.pid})"
        if one.sealed is None:
            yield Finding(
                "sealed",
                "warning",
                f"whether {who} has a network cannot be told on this system",
                "The proof by trial says what the system does with a new one.",
            )
        else:
            yield Finding(
                "sealed",
                "problem",
                f"{who} has a network, which it needs for nothing",
                _SEAL,
            )
    if not wrong:
        count = f"none of the {len(children)} children has" if children else "no child to have"
        yield Finding("sealed", "ok", f"{count} a network")


def proven(attempts: Sequence[Attempt]) -> Iterator[Finding]:
    """By a child that tried."""
    open_ways = [one.way for one in attempts if one.reached]
    if open_ways:
        yield Finding(
            "proof",
            "problem",
            f"a child, started as the server starts its own, reached somebody by {_and(open_ways)}",
            _SEAL,
        )
        return
    ways = _and([one.way for one in attempts])
    told = f"a child, started as the server starts its own, tried {ways}, and reached nobody"
    yield Finding("proof", "ok", told)


def shown(one: Destination) -> str:
    """A destination in words."""
    if one.ip is None:
        return f"{one.host} (its name was looked up)"
    return f"{one.host} ({one.ip}) port {one.port}" if one.host else f"{one.ip} port {one.port}"


def called(process: Process) -> str:
    """What a process is, and of which model."""
    return f"{process.role} of {process.model}" if process.model else process.role


def _and(words: Sequence[str]) -> str:
    return " and ".join([", ".join(words[:-1]), words[-1]] if len(words) > 1 else words)

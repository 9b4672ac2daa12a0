"""A proof by trial: a child, started as the server starts its own, that tries to reach us."""

import contextlib
import socket

import msgspec

from runtime.processes import trial
from runtime.processes.sealed import NOT_SEALED
from runtime.processes.spawn import spawn
from runtime.processes.trial import Start

from .attempt import HERE

_MODULE = "scripts.doctor.privacy.attempt"
_LIMIT_S = 30.0  # a resolver that does not answer is waited for


class Attempt(msgspec.Struct, frozen=True):
    """One way to somebody, and what became of it."""

    way: str
    reached: bool
    outcome: str


class Unproven(Exception):
    """The child did not do as it should, so nothing is proven."""


async def attempts(start: Start = spawn) -> list[Attempt]:
    """All ways that the child tried. Nothing leaves this machine but the question for a name.

    Raises Unproven.
    """
    with (
        socket.create_server((HERE, 0)) as listener,
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as letterbox,
    ):
        letterbox.bind((HERE, 0))
        listener.setblocking(False)
        letterbox.setblocking(False)
        ports = (str(opened.getsockname()[1]) for opened in (listener, letterbox))
        told = await _told(start, *ports)
        arrived = {"TCP": _knocked(listener), "UDP": _wrote(letterbox)}
    return [
        _attempt(way, failure, has_arrived=arrived.get(way, False)) for way, failure in told.items()
    ]


def _attempt(way: str, failure: str | None, *, has_arrived: bool) -> Attempt:
    """Our own eyes count too, whatever the child says."""
    reached = failure is None or has_arrived
    return Attempt(way, reached, "somebody was reached" if reached else str(failure))


async def _told(start: Start, *ports: str) -> dict[str, str | None]:
    try:
        ended = await trial.run(_MODULE, *ports, limit_s=_LIMIT_S, start=start)
    except TimeoutError:
        raise Unproven(f"the child did not end in {_LIMIT_S:.0f} s") from None
    if ended.status == NOT_SEALED:  # it found out itself, and refused to begin
        return {"a seal": None}
    try:
        return msgspec.json.decode(ended.said, type=dict[str, str | None])
    except msgspec.MsgspecError:
        reason = ended.last_words or f"it ended with exit status {ended.status}"
        raise Unproven(f"the child said nothing of use: {reason}") from None


def _knocked(listener: socket.socket) -> bool:
    with contextlib.suppress(BlockingIOError):
        listener.accept()[0].close()
        return True
    return False


def _wrote(letterbox: socket.socket) -> bool:
    with contextlib.suppress(BlockingIOError):
        letterbox.recv(64)
        return True
    return False

"""Where a process connects to, whatever Python of it does so: heard by an audit hook.

CPython raises an audit event before a socket connects, sends or looks a name up (PEP 578, and the
table of events in the documentation of `sys.audit`). A hook cannot be taken off again, so a process
has one record: `HERE`. Native code that opens sockets of its own is not heard: downloads are made
in Python, and children are sealed. Beside what was reached it knows what was meant: whoever
downloads says for whom, and a destination that nobody named stands out.
"""

import ipaddress
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import Any, TypeAlias

_CONNECTS = frozenset(("socket.connect", "socket.sendto", "socket.sendmsg"))
_LOOKS_UP = frozenset(("socket.getaddrinfo", "socket.gethostbyname"))
_HEARD = _CONNECTS | _LOOKS_UP
_MAX_KNOWN = 1000  # destinations, names, and purposes: a server may run for months

OnReach: TypeAlias = Callable[[str | None, str | None, int], None]  # host, ip, port


@dataclass(frozen=True, slots=True)
class Destination:
    """One end that was connected to, or a name that was only looked up."""

    host: str | None  # the name that led there; None where an address was given
    ip: str | None  # None where a name was looked up and nothing connected to
    port: int
    count: int
    first_at: float  # unix seconds
    last_at: float
    purpose: str | None  # what it was for; None where nobody of ours meant to

    @property
    def is_loopback(self) -> bool:
        """Whether this machine itself was meant."""
        return is_loopback(self.ip or self.host or "")


class Destinations:
    """A bounded record. Any thread may call its methods."""

    def __init__(self) -> None:
        self.since: float | None = None  # unix seconds; None: nothing is heard
        self.num_unlisted = 0  # connections to destinations beyond those that are kept
        self._known: dict[tuple[str | None, str | None, int], Destination] = {}
        self._names: dict[str, str] = {}  # of addresses, as they were looked up last
        self._purposes: dict[str, str] = {}  # of names and addresses
        # A signal's handler, or a finaliser, may connect in the middle of a change.
        self._lock = threading.RLock()

    def mean(self, host: str, purpose: str) -> None:
        """What is reached at this name or address from now on serves this purpose."""
        with self._lock:
            _bound(self._purposes)
            self._purposes[_plain(host)] = purpose

    def name(self, host: str, addresses: Iterable[str]) -> None:
        """A name was looked up, and these are its addresses."""
        if _is_address(host):
            return
        with self._lock:
            for address in addresses:
                _bound(self._names)
                self._names[address] = _plain(host)

    def name_of(self, address: str) -> str | None:
        """The name that was looked up last to get this address."""
        return self._names.get(address)

    def note(self, host: str | None, ip: str | None, port: int) -> None:
        """Somebody connects to an address, or looks a name up; the name of an address is found."""
        with self._lock:
            host = _plain(host) if host else self.name_of(ip or "")
            # Many hosts may share an address: it says what for only where no name led there.
            purpose = self._purposes.get(host or ip or "")
            key, now = (host, ip, port), time.time()
            if (known := self._known.get(key)) is not None:
                purpose = purpose or known.purpose
                self._known[key] = replace(
                    known, count=known.count + 1, last_at=now, purpose=purpose
                )
            elif len(self._known) < _MAX_KNOWN:
                self._known[key] = Destination(host, ip, port, 1, now, now, purpose)
            else:
                self.num_unlisted += 1

    def all(self) -> list[Destination]:
        """The earliest first; a name that was looked up is told by what was then connected to."""
        with self._lock:
            known = list(self._known.values())
        reached = {one.host for one in known if one.ip is not None}
        return [one for one in known if one.ip is not None or one.host not in reached]


HERE = Destinations()


def listen(on_reach: OnReach = HERE.note) -> None:
    """Hear of all connections of this process from now on; to be called once, before the first."""
    HERE.since = time.time()
    _learn_names()

    def hear(event: str, arguments: tuple[Any, ...]) -> None:
        if event in _HEARD:
            _tell(event, arguments, on_reach)

    sys.addaudithook(hear)


def _tell(event: str, arguments: tuple[Any, ...], on_reach: OnReach) -> None:
    """What an event says. It raises nothing: that would end the connection."""
    if event in _LOOKS_UP:
        host = _text(arguments[0])
        if isinstance(host, str) and not _is_address(host):
            port = arguments[1] if len(arguments) > 1 else None
            on_reach(host, None, port if isinstance(port, int) else 0)
        return
    opened, address = arguments
    # A socket of the file system has a path, and one that is connected already sends to None.
    if isinstance(address, tuple) and opened.family in (socket.AF_INET, socket.AF_INET6):
        end, port = str(address[0]), address[1]
        is_address = _is_address(end)
        on_reach(None if is_address else end, end if is_address else None, port)


def _learn_names() -> None:
    """An event tells what is looked up and not what is found, which names what is connected to."""
    look_up = socket.getaddrinfo

    def getaddrinfo(host: Any, *arguments: Any, **options: Any) -> Any:
        found = look_up(host, *arguments, **options)
        if isinstance(name := _text(host), str):
            HERE.name(name, (str(entry[4][0]) for entry in found))
        return found

    socket.getaddrinfo = getaddrinfo


def _text(host: Any) -> Any:
    """A name may be given as bytes, whatever is in them."""
    return host.decode(errors="replace") if isinstance(host, bytes) else host


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host.partition("%")[0])  # fe80::1%en0
    except ValueError:
        return False
    return True


def is_loopback(host: str) -> bool:
    """Whether a name or an address is this machine itself."""
    try:
        ip = ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")  # RFC 6761, 6.3
    mapped = getattr(ip, "ipv4_mapped", None) or ip
    return mapped.is_loopback or mapped.is_unspecified  # connecting to 0.0.0.0 stays here, too


def _plain(host: str) -> str:
    return host.lower().rstrip(".")


def _bound(table: dict[str, str]) -> None:
    if len(table) >= _MAX_KNOWN:
        del table[next(iter(table))]

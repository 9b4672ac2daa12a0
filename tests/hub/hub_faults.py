"""What `hub_server` can be told to do wrong."""

from collections.abc import Mapping
from dataclasses import dataclass, field

CHUNK = 64 * 1024


@dataclass(frozen=True)
class Status:
    """Answer with this status instead, once or always: 404, 429 with Retry-After, 500."""

    status: int
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Redirect:
    """Send the client elsewhere; "" is the same address again, a loop."""

    location: str = ""
    status: int = 302


@dataclass(frozen=True)
class Truncate:
    """Close after so many bytes of the body, although the length promised more."""

    after: int


@dataclass(frozen=True)
class Reset:
    """A TCP reset after so many bytes of the body."""

    after: int


@dataclass(frozen=True)
class Stall:
    """Send so many bytes of the body, then nothing, and keep the connection."""

    after: int


@dataclass(frozen=True)
class Slow:
    """A pause before each piece of the body."""

    pause_s: float
    piece: int = CHUNK


@dataclass(frozen=True)
class WrongLength:
    """A body that is so many bytes longer (or, below 0, shorter), and a length that agrees."""

    by: int


@dataclass(frozen=True)
class Endless:
    """A chunked body that never ends."""


@dataclass(frozen=True)
class Corrupt:
    """One byte of the file differs; everything else agrees."""

    at: int = 0


@dataclass(frozen=True)
class IgnoreRange:
    """200 and the whole file, whatever was asked."""


@dataclass(frozen=True)
class RefuseRange:
    """416 to every Range. With a total, that one in Content-Range."""

    total: int | None = None


@dataclass(frozen=True)
class WrongRange:
    """206, but its Content-Range begins elsewhere."""

    by: int = 1


@dataclass(frozen=True)
class ShortRange:
    """At most so many bytes in one 206."""

    most: int


@dataclass(frozen=True)
class ChangeETag:
    """Another ETag from now on. With content, also another file of that content."""

    etag: str
    content: bytes | None = None


@dataclass(frozen=True)
class NoValidators:
    """No ETag, and Last-Modified only if given; ranges=False: no ranges and no length (chunked)."""

    ranges: bool = True
    last_modified: str | None = None


@dataclass(frozen=True)
class WithHeaders:
    """The right answer with more headers, say a Content-Encoding."""

    headers: Mapping[str, str]


InBody = (
    Truncate | Reset | Stall | Slow | WrongLength | Endless | Corrupt | IgnoreRange | RefuseRange
    | WrongRange | ShortRange | ChangeETag | NoValidators | WithHeaders
)  # fmt: skip
Fault = Status | Redirect | InBody

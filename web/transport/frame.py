"""What leaves as one piece, whichever way: a JSON object, perhaps with a name."""

from typing import NamedTuple


class Frame(NamedTuple):
    """An event of a stream, or a message of a socket."""

    body: bytes  # JSON on one line
    name: str | None = None

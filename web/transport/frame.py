"""What leaves as one piece, whichever way: a JSON object, perhaps with a name."""

from collections.abc import Sequence
from typing import NamedTuple, TypeAlias


class Frame(NamedTuple):
    """An event of a stream, or a message of a socket."""

    body: bytes  # JSON on one line
    name: str | None = None


Frames: TypeAlias = Sequence[Frame]  # that come at once, and may leave together

"""Tokens to text that may be sent: whole characters, and never part of a stop sequence."""

from collections.abc import Sequence

from .decoder import Stream
from .stop import StopMatcher


class Detokenizer:
    """The text of one row, token by token."""

    def __init__(self, stream: Stream, stop: Sequence[str]) -> None:
        """`stream` is fresh and belongs to this row from now on."""
        self._stream = stream
        self._matcher = StopMatcher(stop)

    @property
    def is_stopped(self) -> bool:
        """A stop sequence was met; it and what follows is not sent."""
        return self._matcher.is_stopped

    def add(self, token: int) -> str:
        """The text that this token makes safe to send, often none."""
        return self._matcher.add(self._stream.add(token))

    def finish(self) -> str:
        """The rest. An answer cut inside a character loses that character, not its validity."""
        if self.is_stopped:
            return ""
        rest = self._matcher.add(self._stream.finish())
        return rest + ("" if self.is_stopped else self._matcher.flush())

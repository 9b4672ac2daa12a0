"""Tokens to text that may be sent: whole characters, and never part of a stop sequence."""

from collections.abc import Sequence

from mlx_lm.tokenizer_utils import StreamingDetokenizer

from .stop import StopMatcher


class Detokenizer:
    """The text of one row, token by token."""

    def __init__(self, stream: StreamingDetokenizer, stop: Sequence[str]) -> None:
        """`stream` is fresh and belongs to this row from now on."""
        self._stream = stream
        self._matcher = StopMatcher(stop)

    @property
    def is_stopped(self) -> bool:
        """A stop sequence was met; it and what follows is not sent."""
        return self._matcher.is_stopped

    def add(self, token: int) -> str:
        """The text that this token makes safe to send, often none."""
        self._stream.add_token(token)
        return self._matcher.add(str(self._stream.last_segment))

    def finish(self) -> str:
        """The rest. An answer cut inside a character loses that character, not its validity."""
        if self.is_stopped:
            return ""
        try:
            self._stream.finalize()
        except KeyError:  # mlx-lm cannot flush a special token that it still holds
            return self._matcher.flush()
        rest = str(self._stream.last_segment).rstrip("\ufffd")
        return self._matcher.add(rest) + ("" if self.is_stopped else self._matcher.flush())

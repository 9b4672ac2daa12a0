"""Tokens to text that may be sent: whole characters, and never part of a stop sequence."""

from collections.abc import Sequence

from mlx_lm.tokenizer_utils import StreamingDetokenizer


class StopMatcher:
    """Finds stop sequences in a stream of text, holding back what may become one."""

    def __init__(self, stop: Sequence[str]) -> None:
        self._stop = tuple(stop)
        self._held = ""
        self.is_stopped = False

    def add(self, text: str) -> str:
        """The part of the text so far that is safe to send. Empty for ever once stopped."""
        if self.is_stopped:
            return ""
        if not self._stop:
            return text
        self._held += text
        found = [at for stop in self._stop if (at := self._held.find(stop)) >= 0]
        if found:
            self.is_stopped = True
            return self._release(min(found), then="")
        return self._release(len(self._held) - self._num_risky())

    def flush(self) -> str:
        """What was held back, when no more text will come."""
        return self._release(len(self._held))

    def _release(self, count: int, then: str | None = None) -> str:
        safe, rest = self._held[:count], self._held[count:]
        self._held = rest if then is None else then
        return safe

    def _num_risky(self) -> int:
        """Characters at the end that are the beginning of some stop sequence."""
        longest = max(len(stop) for stop in self._stop) - 1
        for count in range(min(longest, len(self._held)), 0, -1):
            tail = self._held[-count:]
            if any(stop.startswith(tail) for stop in self._stop):
                return count
        return 0


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

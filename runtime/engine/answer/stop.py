"""Stop sequences in a stream of text, found across the borders of its pieces."""

from collections.abc import Sequence


class StopMatcher:
    """Finds stop sequences in a stream of text, holding back what may become one."""

    def __init__(self, stop: Sequence[str]) -> None:
        self._stop = tuple(stop)
        self._held = ""
        self.met: str | None = None  # the one that was found; the first in the text

    @property
    def is_stopped(self) -> bool:
        return self.met is not None

    def add(self, text: str) -> str:
        """The part of the text so far that is safe to send. Empty for ever once stopped."""
        if self.is_stopped:
            return ""
        if not self._stop:
            return text
        self._held += text
        found = [(at, stop) for stop in self._stop if (at := self._held.find(stop)) >= 0]
        if found:
            place, self.met = min(found)
            return self._release(place, then="")
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

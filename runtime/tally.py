"""Tokens that were drawn for all requests of a model: in all, and how many a second just now."""

from collections import deque
from collections.abc import Callable

from .power import awake

_NUM_LOOKS = 5  # that are kept: two seconds and a bit, where somebody looks twice a second


class Tally:
    """Whoever draws adds to `total`; whoever has a clock calls `look` now and then."""

    def __init__(self, clock: Callable[[], float] = awake.now) -> None:
        self.total = 0
        self._clock = clock
        self._looks: deque[tuple[float, int]] = deque([(clock(), 0)], maxlen=_NUM_LOOKS)

    def look(self) -> None:
        """Note how far it is, and forget what is too long ago to be now."""
        self._looks.append((self._clock(), self.total))

    @property
    def per_second(self) -> float:
        """Since the oldest look that is kept: 0 when nothing was drawn since."""
        (at, count), now = self._looks[0], self._clock()
        return (self.total - count) / (now - at) if now > at else 0.0

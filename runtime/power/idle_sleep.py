"""The machine does not fall asleep by itself in the middle of an answer."""

import asyncio
import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

from . import iokit

logger = logging.getLogger(__name__)

_LINGER_S = 2.0  # an agent's next request comes within this: the system is not asked each time


class System(Protocol):
    """What the operating system offers. Both raise OSError."""

    def hold(self, reason: str) -> int:
        """Prevent idle sleep; the display may go dark. Returns what `release` wants."""

    def release(self, held: int) -> None:
        """Allow it again."""


class IdleSleep:
    """Prevented while anybody is within `prevented`. All methods run on one event loop.

    Closing the lid, an empty battery and the person's own wish put it to sleep all the same.
    """

    def __init__(self, system: System | None = None, linger_s: float = _LINGER_S) -> None:
        """Without a `system`: this machine's, where there is one."""
        self._system = iokit if system is None and sys.platform == "darwin" else system
        self._linger_s = linger_s
        self._num_users = 0
        self._held: int | None = None
        self._releasing: asyncio.TimerHandle | None = None

    @contextmanager
    def prevented(self) -> Iterator[None]:
        """Held by a request while it is computed."""
        self._num_users += 1
        if self._num_users == 1:
            self._hold()
        try:
            yield
        finally:
            self._num_users -= 1
            if self._num_users == 0 and self._held is not None:
                loop = asyncio.get_running_loop()
                self._releasing = loop.call_later(self._linger_s, self.release)

    def release(self) -> None:
        """Allow sleep again, now."""
        self._keep_no_timer()
        if self._held is not None and self._system is not None:
            held, self._held = self._held, None
            try:
                self._system.release(held)
            except OSError as error:
                logger.warning("idle sleep stays prevented until this process ends: %s", error)

    def _hold(self) -> None:
        self._keep_no_timer()
        if self._held is None and self._system is not None:
            try:
                self._held = self._system.hold("mlx-edge computes an answer")
            except OSError as error:  # an answer that is interrupted is better than none
                logger.warning("idle sleep cannot be prevented: %s", error)
                self._system = None

    def _keep_no_timer(self) -> None:
        if self._releasing is not None:
            self._releasing.cancel()
            self._releasing = None

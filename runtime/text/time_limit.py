"""A limit on what a block may compute, for templates that do not end: asked by `probing`."""

import contextlib
import signal
from collections.abc import Iterator
from types import FrameType
from typing import NoReturn


class OutOfTime(BaseException):
    """No `Exception`, so that nothing on its way takes it for the template's own."""


@contextlib.contextmanager
def time_limit(limit_s: float) -> Iterator[None]:
    """Raise OutOfTime in the block when it has computed for so long."""

    def end(_: int, __: FrameType | None) -> NoReturn:
        raise OutOfTime

    try:
        before = signal.signal(signal.SIGVTALRM, end)
    except ValueError:  # not the main thread: nothing can end it here
        yield
        return
    signal.setitimer(signal.ITIMER_VIRTUAL, limit_s)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)
        signal.signal(signal.SIGVTALRM, before)

"""A limit on what a block may compute, for templates that do not end: asked by `probing`."""

import contextlib
import gc
import signal
from collections.abc import Iterator
from types import FrameType
from typing import NoReturn


class OutOfTime(BaseException):
    """No `Exception`, so that nothing on its way takes it for the template's own."""


@contextlib.contextmanager
def time_limit(limit_s: float) -> Iterator[None]:
    """Raise OutOfTime in the block when it has computed for so long.

    And again after as long: one that is raised in a __del__ or a weakref's callback is lost there.
    No garbage is collected meanwhile: in a large process that takes as long, calls many of these,
    and is not the block's time.
    """

    def end(_: int, __: FrameType | None) -> NoReturn:
        raise OutOfTime

    try:
        before = signal.signal(signal.SIGVTALRM, end)
    except ValueError:  # not the main thread: nothing can end it here
        yield
        return
    collects = gc.isenabled()
    gc.disable()
    signal.setitimer(signal.ITIMER_VIRTUAL, limit_s, limit_s)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)
        signal.signal(signal.SIGVTALRM, before)
        if collects:
            gc.enable()

"""A program in this terminal, in our place: its signals, its end, its exit status."""

import os
import signal
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from types import FrameType

_PASSED_ON = (signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2)
_OF_THE_TERMINAL = (signal.SIGINT, signal.SIGQUIT)


class Child:
    """Takes the signals of this process from `in_our_place` on; `run` starts the program."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[bytes] | None = None
        self._early: list[int] = []

    def run(
        self, command: Sequence[str], environment: Mapping[str, str], descriptors: Sequence[int]
    ) -> int:
        """Its exit status, as a shell tells it: 128 and the number for a signal. Raises OSError.

        It has our terminal and our process group, so Ctrl-C, Ctrl-Z and the window are its own.
        """
        self._process = subprocess.Popen(command, env=environment, pass_fds=descriptors)
        for number in self._early:
            self._process.send_signal(number)
        status = self._process.wait()
        return status if status >= 0 else 128 - status

    def take(self, number: int, _: FrameType | None) -> None:
        """A signal for this process: what the terminal sends, the program has got as well."""
        if number in _OF_THE_TERMINAL and _has_the_terminal():
            return
        if self._process is None:
            self._early.append(number)
        else:
            self._process.send_signal(number)


@contextmanager
def in_our_place() -> Iterator[Child]:
    """From here on no signal ends this process: it waits for the child, and tidies up.

    What is ignored stays so, for the child too: as under nohup.
    """
    child = Child()
    heard = [
        number
        for number in (*_PASSED_ON, *_OF_THE_TERMINAL)
        if signal.getsignal(number) is not signal.SIG_IGN
    ]
    before = {number: signal.signal(number, child.take) for number in heard}
    try:
        yield child
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _has_the_terminal() -> bool:
    """Whether Ctrl-C comes to our process group, the child's too."""
    try:
        terminal = os.open("/dev/tty", os.O_RDONLY | os.O_NOCTTY)
    except OSError:
        return False
    try:
        return os.tcgetpgrp(terminal) == os.getpgrp()
    except OSError:
        return False
    finally:
        os.close(terminal)

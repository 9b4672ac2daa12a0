"""Tests of runtime.text.time_limit: what does not end is ended, and nothing is left behind."""

import gc
import signal
import sys
import threading

import pytest

from runtime.text.time_limit import OutOfTime, time_limit


def test_what_computes_too_long_is_ended() -> None:
    """Whatever the block catches of its own."""
    with pytest.raises(OutOfTime), time_limit(0.01):
        while True:
            try:
                sum(range(1000))
            except Exception:
                pass


def test_an_end_that_is_lost_comes_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """Python ignores what is raised in a __del__: here the first one always is."""
    lost: list[type[BaseException] | None] = []
    monkeypatch.setattr(sys, "unraisablehook", lambda raised: lost.append(raised.exc_type))

    class Swallows:
        def __del__(self) -> None:
            while True:
                pass

    with pytest.raises(OutOfTime), time_limit(0.01):
        Swallows()
        while True:
            pass
    assert lost == [OutOfTime]


def test_garbage_of_others_is_not_its_time() -> None:
    """It is collected before and behind."""
    assert gc.isenabled()
    with time_limit(60):
        assert not gc.isenabled()
    assert gc.isenabled()


@pytest.mark.parametrize("error", [None, ValueError])
def test_the_clock_is_off_again(error: type[Exception] | None) -> None:
    """Behind the block, however it ended, there is all the time."""
    before = signal.getsignal(signal.SIGVTALRM)
    try:
        with time_limit(60):
            if error is not None:
                raise error
    except ValueError:
        pass
    assert signal.getitimer(signal.ITIMER_VIRTUAL) == (0.0, 0.0)
    assert signal.getsignal(signal.SIGVTALRM) == before


def test_elsewhere_than_in_the_main_thread() -> None:
    """There is no limit, for a signal reaches only that one; the block runs."""
    done: list[bool] = []

    def run() -> None:
        with time_limit(60):
            done.append(True)

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    assert done == [True]

"""Tests of runtime.power.awake: a loop's timers count the time that its process was awake."""

import asyncio
import selectors
import socket

import pytest

from runtime.power.awake import AwakeClock, AwakeLoop, AwakeSelector


class Seconds:
    """A clock that tests move."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def sleeping(seconds: Seconds, monkeypatch: pytest.MonkeyPatch, *spans: float) -> None:
    """Waits take these spans, one after the other."""
    left = list(spans)

    def select(self: object, timeout: float | None = None) -> list[object]:
        seconds.now += left.pop(0)
        return []

    monkeypatch.setattr(selectors.DefaultSelector, "select", select)


@pytest.mark.parametrize(
    ("timeout", "took", "counted"),
    [
        (1.0, 1.0, 1.0),  # as wanted
        (1.0, 4.0, 4.0),  # a busy machine
        (1.0, 61.0, 1.0),  # stopped for a minute
        (0.0, 28800.0, 0.0),
        (-1.0, 28800.0, 0.0),
        (None, 28800.0, 28800.0),  # nobody waited for a time: it may have been wanted
    ],
)
def test_a_wait_counts_as_long_as_it_should_have_been(
    timeout: float | None, took: float, counted: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    seconds = Seconds()
    clock = AwakeClock(seconds)
    selector = AwakeSelector(clock)
    sleeping(seconds, monkeypatch, took)
    began_at = clock.now()
    selector.select(timeout)
    assert clock.now() - began_at == counted
    selector.close()


def test_a_stop_between_two_waits_does_not_count(monkeypatch: pytest.MonkeyPatch) -> None:
    """The process may be stopped anywhere, also while its callbacks run."""
    seconds = Seconds()
    clock = AwakeClock(seconds)
    selector = AwakeSelector(clock)
    sleeping(seconds, monkeypatch, 0.0, 0.0, 0.0)
    selector.select(0)
    began_at = clock.now()
    seconds.now += 3  # work
    selector.select(0)
    assert clock.now() - began_at == 3
    seconds.now += 3600  # no work takes so long
    selector.select(0)
    assert clock.now() - began_at == 3
    selector.close()


def test_nothing_expires_while_the_process_is_stopped() -> None:
    """A timer of ten seconds is still to come behind a stop of an hour, and what came is read."""
    seconds = Seconds()
    loop = AwakeLoop(AwakeClock(seconds))
    ours, theirs = socket.socketpair()

    async def read() -> bytes:
        reader, writer = await asyncio.open_connection(sock=ours)
        async with asyncio.timeout(10):
            loop.call_soon(stop)
            word = await reader.readexactly(5)
        writer.close()
        return word

    def stop() -> None:
        seconds.now += 3600
        theirs.sendall(b"awake")

    try:
        assert loop.run_until_complete(read()) == b"awake"
    finally:
        theirs.close()
        loop.close()

"""Tests of runtime.power.idle_sleep: the machine stays awake while somebody is answered."""

import asyncio
import logging

import pytest

from runtime.power.idle_sleep import IdleSleep
from tests.runtime.power.mac import Mac


async def released(mac: Mac) -> None:
    async with asyncio.timeout(60):
        while mac.held:
            await asyncio.sleep(0)


async def test_it_is_held_while_anybody_is_answered() -> None:
    mac = Mac()
    idle_sleep = IdleSleep(mac, linger_s=0)
    assert not mac.held
    with idle_sleep.prevented():
        with idle_sleep.prevented():
            assert mac.held == [1]
        await asyncio.sleep(0.01)
        assert mac.held == [1]
    await released(mac)
    with idle_sleep.prevented():
        assert mac.held == [2]
    await released(mac)


async def test_a_request_that_follows_soon_asks_nobody() -> None:
    """An agent's requests come one after the other, and each question costs the system work."""
    mac = Mac()
    idle_sleep = IdleSleep(mac, linger_s=3600)
    for _ in range(10):
        with idle_sleep.prevented():
            pass
    assert (mac.held, mac.num_asked) == ([1], 1)
    idle_sleep.release()
    assert not mac.held


async def test_a_failed_answer_lets_it_go() -> None:
    mac = Mac()
    with pytest.raises(ValueError), IdleSleep(mac, linger_s=0).prevented():
        raise ValueError
    await released(mac)


async def test_a_system_that_refuses_costs_no_answer(caplog: pytest.LogCaptureFixture) -> None:
    """It is told once, and asked no more."""
    mac = Mac(fails=True)
    idle_sleep = IdleSleep(mac, linger_s=0)
    with caplog.at_level(logging.WARNING):
        for _ in range(3):
            with idle_sleep.prevented():
                pass
    assert mac.num_asked == 1
    assert len(caplog.records) == 1


async def test_elsewhere_there_is_nobody_to_ask() -> None:
    with IdleSleep(None, linger_s=0).prevented():
        pass

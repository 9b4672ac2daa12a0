"""Tests of web.transport.journal: many readers, from anywhere, at their own pace."""

import asyncio

import pytest

from web.errors import ApiError
from web.transport.frame import Frame
from web.transport.journal import Journal


def frame(number: int) -> Frame:
    return Frame(b"%04d" % number)


async def read(journal: Journal, after: int = -1) -> list[int]:
    return [int(frame.body) async for frames in journal.follow(after) for frame in frames]


async def test_readers_get_all_that_is_behind_their_number() -> None:
    journal = Journal()
    for number in range(3):
        journal.append(frame(number))
    early = [asyncio.create_task(read(journal, after)) for after in (-1, 0, 2)]
    await asyncio.sleep(0)
    for number in range(3, 6):
        journal.append(frame(number))
        await asyncio.sleep(0)
    journal.close()
    assert await asyncio.gather(*early) == [[*range(6)], [*range(1, 6)], [3, 4, 5]]
    assert await read(journal, 4) == [5] and await read(journal, 5) == []


async def test_what_is_there_comes_at_once_but_for_very_much() -> None:
    journal = Journal()
    for number in range(100):
        journal.append(frame(number))
    journal.close()
    assert [len(frames) async for frames in journal.follow(9)] == [64, 26]


async def test_a_reader_may_leave_and_others_go_on() -> None:
    journal = Journal()
    journal.append(frame(0))
    leaving, staying = (asyncio.create_task(read(journal)) for _ in range(2))
    await asyncio.sleep(0)
    leaving.cancel()
    journal.append(frame(1))
    journal.close()
    assert await staying == [0, 1]


async def test_numbers_that_are_not_there() -> None:
    journal = Journal()
    for wrong in (0, 5, -2):
        with pytest.raises(ApiError, match="no event") as raised:
            await read(journal, wrong)
        assert raised.value.status == 400 and raised.value.param == "after"


async def test_it_is_bounded_and_says_so() -> None:
    """The newest stay; who asks for what is dropped is told, also while it is reading."""
    journal = Journal(limit_bytes=40)
    journal.append(frame(0))
    slow = journal.follow()
    assert await anext(slow) == [frame(0)]
    for number in range(1, 100):
        journal.append(frame(number))
        assert journal.num_bytes <= 40
    for late in (anext(slow), read(journal, 3)):
        with pytest.raises(ApiError, match="dropped") as raised:
            await late
        assert raised.value.code == "events_dropped"
    journal.close()
    assert await read(journal, 95) == [96, 97, 98, 99]
    assert journal.next_number == 100

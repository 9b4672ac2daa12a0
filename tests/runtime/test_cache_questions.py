"""Tests of runtime.cache_questions: answers find who asked, and an engine's death ends the wait."""

import asyncio

import pytest

from runtime.cache_questions import CacheQuestions
from runtime.cached import CacheDescription
from runtime.engine_messages import CacheReport, Command, DescribeCache, ForgetCache
from runtime.errors import EngineDied, Unavailable


async def asked(questions: CacheQuestions, number: int) -> list[asyncio.Task[CacheDescription]]:
    """So many who ask at once, and wait."""
    tasks = [asyncio.create_task(questions.describe()) for _ in range(number)]
    await asyncio.sleep(0)
    return tasks


async def test_each_gets_its_own_answer() -> None:
    """In any order; who left is not told, and what nobody asked changes nothing."""
    sent: list[Command] = []
    questions = CacheQuestions(sent.append)
    tasks = await asked(questions, 3)
    assert sent == [DescribeCache(0), DescribeCache(1), DescribeCache(2)]
    tasks[1].cancel()
    await asyncio.wait({tasks[1]})
    for number in (2, 1, 0, 0, 9):
        questions.answer(CacheReport(number, CacheDescription(num_bytes=number)))
    assert [(await tasks[place]).num_bytes for place in (0, 2)] == [0, 2]
    assert questions.last == CacheDescription(num_bytes=9)  # the newest, whoever asked
    questions.forget()
    assert sent[3:] == [ForgetCache(), DescribeCache(3)]


async def test_a_death_is_told_to_all() -> None:
    questions = CacheQuestions(lambda _: None)
    tasks = await asked(questions, 2)
    questions.fail(EngineDied("It died.", "signal SIGKILL"))
    tasks += await asked(questions, 1)
    for task in tasks:
        with pytest.raises(EngineDied):
            await task


async def test_a_busy_engine_is_not_waited_for_for_ever() -> None:
    with pytest.raises(Unavailable, match="did not tell of its cache"):
        await CacheQuestions(lambda _: None, limit_s=0.01).describe()

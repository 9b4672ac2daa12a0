"""Tests of runtime.text_workers: templates that never end cost their own request only."""

import asyncio
import os
import signal
from pathlib import Path

import pytest

from runtime.errors import Draining, TemplateFailed, Unavailable
from runtime.processes.child import Child
from runtime.requests import ChatInput, ChatMessage
from runtime.text_questions import TextQuestions
from runtime.text_workers import TextSettings, TextWorkers
from tests import processes
from tests.models.tiny_models import make_tokenizer

HELLO = ChatInput((ChatMessage("user", "Hello you"),))
LOOPS = "{% for i in range(99999) %}{% for j in range(99999) %}{% endfor %}{% endfor %}"


def model(folder: Path, template: str | None = None) -> Path:
    folder.mkdir(exist_ok=True)
    make_tokenizer(folder)
    if template is not None:
        (folder / "chat_template.jinja").write_text(template)
    return folder


@pytest.mark.parametrize(
    "bomb",
    [LOOPS, "{{ 9 ** (9 ** 9) }}", "{% for i in range(9999) %}{{ 'a' * 10000000 }}{% endfor %}"],
    ids=["loop", "power", "memory"],
)
async def test_a_bomb_delays_nobody(questions: TextQuestions, tmp_path: Path, bomb: str) -> None:
    """While bombs run into their deadline, another model's requests go on as ever."""
    good, bad = model(tmp_path / "good"), model(tmp_path / "bad", bomb)
    await questions.encode(good, HELLO)
    bombs = [asyncio.create_task(questions.encode(bad, HELLO)) for _ in range(3)]
    count = 0
    while not all(task.done() for task in bombs):
        async with asyncio.timeout(1.2):  # less than one bomb's deadline
            await questions.encode(good, HELLO)
        count += 1
        await asyncio.sleep(0.01)
    assert count
    for task in bombs:
        assert isinstance(task.exception(), TemplateFailed)


async def test_a_killed_worker_costs_nothing(questions: TextQuestions, tmp_path: Path) -> None:
    """A job whose worker dies is done again by another."""
    folder = model(tmp_path)
    await questions.encode(folder, HELLO)
    os.kill(processes.children("runtime.text")[0].pid, signal.SIGKILL)
    for _ in range(4):
        assert await questions.encode(folder, HELLO)


async def test_a_caller_that_leaves_frees_its_worker(
    questions: TextQuestions, tmp_path: Path
) -> None:
    """Cancelled in the middle of a bomb, the next job neither waits nor gets a wrong reply."""
    good, bad = model(tmp_path / "good"), model(tmp_path / "bad", LOOPS)
    expected = await questions.encode(good, HELLO)
    for _ in range(4):
        task = asyncio.create_task(questions.encode(bad, HELLO))
        await asyncio.sleep(0.02)
        task.cancel()
        await asyncio.wait({task})
        assert await questions.encode(good, HELLO) == expected


async def test_a_long_prompt_is_not_a_bomb(questions: TextQuestions, tmp_path: Path) -> None:
    """A megabyte of one letter, and of text, takes its time and is read."""
    folder = model(tmp_path)
    for text in ("a" * 1_000_000, "Hello world. " * 80_000):
        encoded = await questions.encode(folder, ChatInput((ChatMessage("user", text),)))
        assert len(encoded.tokens) > 10_000


async def test_killed_idle_workers_are_not_given_work(
    questions: TextQuestions, tmp_path: Path
) -> None:
    """kill -9 of all of them: the next request is read by a new one, as if nothing was."""
    folder = model(tmp_path)
    await questions.encode(folder, HELLO)
    for process in processes.children("runtime.text"):
        os.kill(process.pid, signal.SIGKILL)
    await asyncio.sleep(0.1)
    assert await questions.encode(folder, HELLO)


async def test_no_worker_is_started_for_a_request_that_close_interrupts(tmp_path: Path) -> None:
    """Its worker ends under it, and is not replaced; the request is told."""
    workers = TextWorkers(TextSettings(num_workers=1, deadline_s=30))
    await workers.start()
    while not workers._idle:
        await asyncio.sleep(0.01)
    questions = TextQuestions(workers)
    request = asyncio.create_task(questions.encode(model(tmp_path, LOOPS), HELLO))
    while workers._idle:  # until it is asked of the worker
        await asyncio.sleep(0.01)
    await workers.close()
    assert not workers.is_alive
    with pytest.raises(Draining):
        await request
    assert not processes.children("runtime.text")


async def test_without_workers_requests_are_told_and_not_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where no process can be started, a request is refused for now instead of waiting for ever."""

    async def fails(*_: str) -> Child:
        raise OSError("no more processes")

    monkeypatch.setattr(Child, "spawn", fails)
    workers = TextWorkers(TextSettings(take_s=0.1))
    await workers.start()
    with pytest.raises(Unavailable):
        await TextQuestions(workers).encode(model(tmp_path), HELLO)
    await workers.close()


async def test_two_unknown_bombs_leave_a_worker_to_others(
    questions: TextQuestions, tmp_path: Path
) -> None:
    """Folders that never answered well share one worker; a proven one has the other."""
    good = model(tmp_path / "good")
    await questions.encode(good, HELLO)
    bombs = [
        asyncio.create_task(questions.encode(model(tmp_path / name, LOOPS), HELLO))
        for name in ("one", "two")
    ]
    await asyncio.sleep(0.1)
    async with asyncio.timeout(1.2):  # less than a bomb's deadline
        assert await questions.encode(good, HELLO)
    for bomb in bombs:
        with pytest.raises(TemplateFailed):
            await bomb


async def test_a_long_prompt_does_not_hold_up_a_short_one(
    questions: TextQuestions, tmp_path: Path
) -> None:
    """Of the same model: the short one is read beside it."""
    folder = model(tmp_path)
    await questions.encode(folder, HELLO)
    text = "Hello world. " * 200_000
    long = asyncio.create_task(questions.encode(folder, ChatInput((ChatMessage("user", text),))))
    await asyncio.sleep(0.05)
    assert await questions.encode(folder, HELLO)
    assert not long.done()
    assert len((await long).tokens) > 100_000

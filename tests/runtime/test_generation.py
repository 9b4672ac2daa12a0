"""Tests of runtime.generation: what its readers are given, however and whenever they read."""

import asyncio

import msgspec
import pytest

from runtime.errors import Cancelled, QueueFull
from runtime.events import (
    Event,
    Finished,
    Loading,
    Prefill,
    Queued,
    Restarted,
    TextDelta,
    Timings,
    Usage,
)
from runtime.generation import Generation

END = Finished(0, "stop", Usage(3, 8), Timings(0.0, 0.1, 0.2), [8])
PIECES = [("a", [1]), ("bc", [2, 3, 4]), ("d", [5]), ("ef", [6, 7])]


def pieces() -> list[TextDelta]:
    return [TextDelta(0, text, tokens) for text, tokens in PIECES]


class Life:
    """A generation whose life is led by the test."""

    def __init__(self) -> None:
        self.generation = Generation()
        self.steps: asyncio.Queue[Event | Exception | None] = asyncio.Queue()
        self.is_over = False

    async def start(self) -> Generation:
        self.steps.put_nowait(None)
        await self.generation.start(self.live())
        return self.generation

    async def live(self) -> Finished:
        """Takes events and faults; None is the acceptance."""
        try:
            while True:
                step = await self.steps.get()
                if isinstance(step, Exception):
                    raise step
                if isinstance(step, Finished):
                    return step
                if step is None:
                    self.generation.accept()
                else:
                    self.generation.put(step)
        finally:
            self.is_over = True

    async def after(self, *steps: Event | Exception) -> None:
        """Returns when they are done."""
        for step in steps:
            self.steps.put_nowait(step)
        while not self.steps.empty():
            await asyncio.sleep(0)
        for _ in range(3):
            await asyncio.sleep(0)


async def read(generation: Generation, after: int = 0) -> list[Event]:
    return [event async for event in generation.follow(after)]


def text_of(events: list[Event]) -> str:
    return "".join(event.text for event in events if isinstance(event, TextDelta))


def tokens_of(events: list[Event]) -> list[int]:
    return [
        token
        for event in events
        if isinstance(event, TextDelta | Finished)
        for token in event.tokens
    ]


async def test_readers_at_their_own_pace_get_the_same() -> None:
    """One from the beginning, one that comes later, and one that comes when all is over."""
    life = Life()
    generation = await life.start()
    first = asyncio.create_task(read(generation))
    await life.after(*pieces()[:2])
    second = asyncio.create_task(read(generation))
    await life.after(*pieces()[2:], END)
    for events in (await first, await second, await read(generation)):
        assert text_of(events) == "abcdef" and tokens_of(events) == [1, 2, 3, 4, 5, 6, 7, 8]
        assert events[-1] == END
    assert generation.drawn == [1, 2, 3, 4, 5, 6, 7, 8]


async def test_a_slow_reader_gets_merged_text_with_its_tokens() -> None:
    life = Life()
    generation = await life.start()
    reader = generation.follow()
    await life.after(pieces()[0])
    assert await anext(reader) == TextDelta(0, "a", [1])
    await life.after(*pieces()[1:], END)
    assert await anext(reader) == TextDelta(0, "bcdef", [2, 3, 4, 5, 6, 7])
    assert await anext(reader) == END
    with pytest.raises(StopAsyncIteration):
        await anext(reader)


@pytest.mark.parametrize("num_known", range(5))
async def test_following_goes_on_behind_what_is_known(num_known: int) -> None:
    """At the end of each piece of text: exactly the rest, whether it is there or yet to come."""
    life = Life()
    generation = await life.start()
    await life.after(*pieces()[:num_known])
    after = len(generation.drawn)
    reader = asyncio.create_task(read(generation, after))
    await life.after(*pieces()[num_known:], END)
    rest = "".join(text for text, _ in PIECES[num_known:])
    for events in (await reader, await read(generation, after)):
        assert text_of(events) == rest
        assert tokens_of(events) == [1, 2, 3, 4, 5, 6, 7, 8][after:]


async def test_of_progress_only_the_last_of_each_kind_is_told() -> None:
    """In the order of their coming, before the text."""
    life = Life()
    generation = await life.start()
    await life.after(Queued(2), Loading(1, 9), Queued(1), Loading(9, 9), Queued(0))
    await life.after(Prefill(0, 4, 8), Restarted("signal SIGKILL", 0), Prefill(0, 8, 8))
    await life.after(pieces()[0], END)
    *progress, text, end = await read(generation)
    assert progress == [
        Loading(9, 9),
        Queued(0),
        Restarted("signal SIGKILL", 0),
        Prefill(0, 8, 8),
    ]
    assert text == pieces()[0] and end == END


async def test_a_fault_before_the_acceptance_is_raised_by_starting() -> None:
    life = Life()
    life.steps.put_nowait(QueueFull("full", 1))
    with pytest.raises(QueueFull):
        await life.generation.start(life.live())
    assert life.is_over


async def test_a_fault_behind_it_is_told_to_all_readers_after_the_text() -> None:
    life = Life()
    generation = await life.start()
    await life.after(*pieces()[:2], QueueFull("full", 1))
    for _ in range(2):
        reader = generation.follow()
        assert await anext(reader) == TextDelta(0, "abc", [1, 2, 3, 4])
        with pytest.raises(QueueFull):
            await anext(reader)


async def test_who_leaves_while_it_is_not_accepted_ends_it() -> None:
    life = Life()
    starting = asyncio.create_task(life.generation.start(life.live()))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    starting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await starting
    assert life.is_over and len(asyncio.all_tasks()) == 1


@pytest.mark.parametrize("num_pieces", [0, 2, 4])
async def test_cancelling_leaves_no_task_and_tells_the_readers(num_pieces: int) -> None:
    """At any stage; of one that has ended nothing is changed."""
    life = Life()
    async with await life.start() as generation:
        await life.after(*pieces()[:num_pieces], *([END] if num_pieces == 4 else []))
    assert life.is_over and len(asyncio.all_tasks()) == 1
    if num_pieces == 4:
        assert text_of(await read(generation)) == "abcdef"
    else:
        with pytest.raises(Cancelled):
            await read(generation)
    await generation.cancel()


async def test_a_reader_that_leaves_changes_nothing() -> None:
    life = Life()
    generation = await life.start()
    reader = asyncio.create_task(read(generation))
    await life.after(pieces()[0])
    reader.cancel()
    await asyncio.wait({reader})
    await life.after(*pieces()[1:], END)
    assert text_of(await read(generation)) == "abcdef"


async def test_news_that_nobody_reads_are_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    """From the first on that lies there, until somebody has taken all."""
    now = 100.0
    monkeypatch.setattr("runtime.power.awake.now", lambda: now)
    life = Life()
    generation = await life.start()
    now = 150.0
    assert generation.unread_s() == 0
    generation.put(pieces()[0])
    now = 160.0
    generation.put(pieces()[1])
    now = 170.0
    assert generation.unread_s() == 20
    reader = generation.follow()
    await anext(reader)
    waits = asyncio.ensure_future(anext(reader))
    await asyncio.sleep(0)
    now = 500.0
    assert generation.unread_s() == 0
    generation.put(pieces()[2])
    now = 501.0
    assert generation.unread_s() == 1
    await waits
    await generation.cancel()


async def test_it_is_past_a_point_once_it_drew_three_tokens_more() -> None:
    """Once; a further point may be set then."""
    life = Life()
    generation = await life.start()
    passed: list[int] = []
    generation.put(pieces()[0])
    for _ in range(2):
        generation.watch(lambda: passed.append(len(generation.drawn)))
        generation.put(TextDelta(0, "x", [7, 7]))
        before = list(passed)
        generation.put(TextDelta(0, "y", [7]))
        generation.put(TextDelta(0, "z", [7]))
        assert len(passed) == len(before) + 1
    assert passed == [4, 8]
    await generation.cancel()


async def test_the_time_in_all_engines_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """The last one knows its own part only; of a single one what it says itself."""
    now = 100.0
    monkeypatch.setattr("runtime.power.awake.now", lambda: now)
    life = Life()
    generation = await life.start()
    with generation.row():
        now += 1
        generation.put(pieces()[0])
        now += 2
    assert generation.whole(END, 7.0).timings == msgspec.structs.replace(END.timings, queued_s=7.0)
    now += 50
    with generation.row():
        now += 4
        generation.put(pieces()[1])
        now += 8
    assert generation.whole(END, 7.0).timings == Timings(7.0, 5.0, 10.0)
    await generation.cancel()

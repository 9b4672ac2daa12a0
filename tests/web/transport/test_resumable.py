"""Tests of web.transport.resumable: who may come back, and when a stream ends for want of readers.

Times are none here: a grace is either long, or over when the test says so.
"""

import asyncio
from collections.abc import AsyncGenerator

import pytest

from web.errors import ApiError
from web.transport.frame import Frame, Frames
from web.transport.resumable import ResumableStream, ResumableStreams


class Speaker:
    """Frames that come when the test says; `cancel` makes one more the last."""

    def __init__(self) -> None:
        self.frames: asyncio.Queue[bytes | None] = asyncio.Queue()
        self.is_cancelled = False

    def cancel(self) -> None:
        self.is_cancelled = True
        self.frames.put_nowait(b"cancelled")
        self.frames.put_nowait(None)

    async def speak(self) -> AsyncGenerator[Frames, None]:
        while (body := await self.frames.get()) is not None:
            yield [Frame(body)]


def opened(
    streams: ResumableStreams, *, outlives_readers: bool = False
) -> tuple[Speaker, ResumableStream]:
    speaker = Speaker()
    stream = streams.open(speaker.cancel, "kind", "s", name="n", outlives_readers=outlives_readers)
    stream.write(speaker.speak())
    return speaker, stream


async def read(stream: ResumableStream, after: int = -1) -> list[bytes]:
    with stream.read() as journal:
        return [frame.body async for frames in journal.follow(after) for frame in frames]


async def until_idle() -> None:
    """Until nothing more happens by itself."""
    for _ in range(20):
        await asyncio.sleep(0)


async def test_it_goes_on_without_a_reader_and_is_come_back_to() -> None:
    streams = ResumableStreams(1000)
    speaker, stream = opened(streams)
    with stream.read(lambda: True):
        speaker.frames.put_nowait(b"a")
        await until_idle()
    speaker.frames.put_nowait(b"b")
    await until_idle()
    assert not speaker.is_cancelled
    again = streams.find(stream.token, "kind")
    assert again is stream is streams.named("n")
    reading = asyncio.create_task(read(again, 0))
    speaker.frames.put_nowait(b"c")
    speaker.frames.put_nowait(None)
    assert await reading == [b"b", b"c"]
    assert await read(stream) == [b"a", b"b", b"c"]  # while it is kept


async def test_a_client_that_says_it_leaves_ends_it() -> None:
    streams = ResumableStreams(1000)
    speaker, stream = opened(streams)
    with stream.read(lambda: False):
        pass
    assert speaker.is_cancelled
    with pytest.raises(ApiError) as raised:
        streams.find(stream.token, "kind")
    assert raised.value.status == 404 and raised.value.code == "resume_token_not_found"
    await streams.close()


async def test_an_old_connection_may_end_as_it_likes() -> None:
    """The new one is there before the old one's end is seen; and what the new one says counts."""
    speaker, stream = opened(ResumableStreams(1000))
    with stream.read(lambda: False):
        new = stream.read()
        new.__enter__()
    assert not speaker.is_cancelled
    with stream.read():
        pass
    new.__exit__(None, None, None)
    assert not speaker.is_cancelled
    old = stream.read()
    old.__enter__()
    with stream.read(lambda: False):
        pass
    assert speaker.is_cancelled
    old.__exit__(None, None, None)


async def test_a_token_is_of_its_kind() -> None:
    streams = ResumableStreams(1000)
    speaker, stream = opened(streams)
    with pytest.raises(ApiError):
        streams.find(stream.token, "other")
    speaker.cancel()
    await streams.close()


async def test_a_stream_that_nobody_begins_to_read_ends() -> None:
    """Its client was gone before it came."""
    streams = ResumableStreams(0)
    speaker, stream = opened(streams)
    while not stream.journal.is_closed:
        await asyncio.sleep(0)
    assert speaker.is_cancelled and len(streams) == 0


async def test_who_does_not_come_back_in_time_ends_it() -> None:
    streams = ResumableStreams(0)
    speaker, stream = opened(streams)
    with stream.read():
        pass
    while not stream.journal.is_closed:
        await asyncio.sleep(0)
    assert speaker.is_cancelled
    with pytest.raises(ApiError):
        streams.find(stream.token, "kind")


async def test_one_in_the_background_needs_no_reader() -> None:
    """It is kept for a while behind its end, and is gone then."""
    streams = ResumableStreams(0)
    speaker, stream = opened(streams, outlives_readers=True)
    await until_idle()
    with stream.read(lambda: False):
        pass
    await until_idle()
    assert not speaker.is_cancelled and streams.find(stream.token, "kind") is stream
    speaker.frames.put_nowait(None)
    while streams.named("n") is not None:
        await asyncio.sleep(0)
    assert not speaker.is_cancelled


async def test_tokens_are_of_one_stream() -> None:
    streams = ResumableStreams(1000)
    tokens = {opened(streams)[1].token for _ in range(50)}
    assert len(tokens) == 50 and all(len(token) > 30 for token in tokens)
    for token in ("", "rt_", "rt_foreign"):
        with pytest.raises(ApiError):
            streams.find(token, "kind")
    for writer in streams.writers:
        writer.cancel()


async def test_those_that_are_over_make_room() -> None:
    """By their number here; none that is under way, or read, is dropped."""
    streams = ResumableStreams(1000)
    running = [opened(streams) for _ in range(3)]
    over = [opened(streams) for _ in range(1024)]
    held = over[0][1]
    with held.read():
        for speaker, _ in over:
            speaker.frames.put_nowait(None)
        await until_idle()
        new = opened(streams)
    assert len(streams) <= 1024
    for _, stream in [*running, over[0], over[-1], new]:
        assert streams.find(stream.token, "kind") is stream
    for speaker, _ in [*running, new]:
        speaker.cancel()
    await streams.close()

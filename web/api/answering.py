"""A request answered: as a whole, or as a stream of server-sent events.

An API is a shape of body, what it asks of the runtime, and a `Rendering` of what comes; all else
is here and the same for all. `openai.chat_socket` is the way of frames over a socket.
"""

import asyncio
from abc import ABC, abstractmethod
from collections.abc import AsyncGenerator, Iterable, Sequence
from typing import Self

from quart import Response, g

from registry.checkpoint.config import Json
from registry.checkpoint.model import Model
from runtime.errors import Cancelled
from runtime.events import Event, Finished, Restarted
from runtime.generation import Generation
from runtime.pool import ModelPool
from runtime.requests import GenerationRequest
from web.errors import Failure, answer_to
from web.services import Services
from web.transport import sse
from web.transport.frame import Frame
from web.transport.reply import json_reply

from .answer import Answer


class Rendering(ABC):
    """The answers to one request, as an API writes them. Does no I/O."""

    done: bytes = b""  # what ends a stream of events that went well

    def __init__(self, num_answers: int = 1, call_prefix: str = "call_") -> None:
        self.answers = [Answer(call_prefix) for _ in range(num_answers)]

    @property
    def is_whole(self) -> bool:
        """Whether all answers are."""
        return all(answer.finished is not None for answer in self.answers)

    @abstractmethod
    def begin(self, num_prompt_tokens: int) -> Iterable[Frame]:
        """The first frames, before anything is drawn."""

    @abstractmethod
    def frames(self, number: int, event: Event) -> Iterable[Frame]:
        """What an event adds to a stream; `answers[number]` has it already."""

    @abstractmethod
    def end(self) -> Iterable[Frame]:
        """The last frames, when all answers are whole."""

    @abstractmethod
    def failed(self, failure: Failure) -> Frame:
        """The last frame of a stream that breaks."""

    @abstractmethod
    def whole(self) -> dict[str, Json]:
        """The answers to a request that does not stream."""


async def answer(
    services: Services,
    model: Model,
    requests: Sequence[GenerationRequest],
    rendering: Rendering,
    *,
    streams: bool,
) -> Response:
    """What can be refused is refused here, and fast: later the status is 200 in any case."""
    under_way = UnderWay(services.pool, model, requests)
    await under_way.begin()
    if not streams:
        return await _whole(under_way, rendering)
    pieces = _stream(under_way, rendering, g.request_id)
    # Now it is under way: should the client be gone already, dropping it ends the answers.
    await anext(pieces)
    return sse.reply(pieces, services.settings.heartbeat_s)


class UnderWay:
    """The answers to one request, which whoever holds it may cancel at any time.

    As an async context manager it ends them on leaving.
    """

    def __init__(
        self, pool: ModelPool, model: Model, requests: Sequence[GenerationRequest]
    ) -> None:
        self.is_cancelled = False
        self._pool = pool
        self._model = model
        self._requests = requests
        self._generations: list[Generation] = []
        self._beginning: asyncio.Task[None] | None = None
        self._ending: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._end()

    async def begin(self) -> None:
        """All answers, or none: where one is refused, those begun before are ended.

        Raises what `pool.begin_all` does, and Cancelled.
        """
        if self.is_cancelled:
            raise Cancelled()
        self._beginning = asyncio.create_task(self._begin())
        try:
            await self._beginning
        except BaseException as error:
            self._beginning.cancel()
            await asyncio.wait({self._beginning})
            await self._end()
            if self.is_cancelled and isinstance(error, asyncio.CancelledError):
                raise Cancelled() from None
            raise

    async def _begin(self) -> None:
        for request in self._requests:
            self._generations += await self._pool.begin_all(self._model, request)

    @property
    def num_prompt_tokens(self) -> int:
        """Of the first answer."""
        return len(self._generations[0].prompt) if self._generations else 0

    def events(self) -> AsyncGenerator[tuple[int, Event], None]:
        """As they come, with the number of the answer. Raises what the first that fails does."""
        return follow_all(self._generations)

    def cancel(self) -> None:
        """Makes `begin` or `events` raise Cancelled."""
        if self.is_cancelled:
            return
        self.is_cancelled = True
        if self._beginning is not None and not self._beginning.done():
            self._beginning.cancel()
        else:
            self._ending = asyncio.create_task(self._end())

    async def _end(self) -> None:
        for generation in self._generations:
            await generation.cancel()


async def _whole(under_way: UnderWay, rendering: Rendering) -> Response:
    """The same stream, folded. A client that leaves cancels this task, and so the answers."""
    async with under_way:
        async for number, event in under_way.events():
            rendering.answers[number].add(event)
    return json_reply(rendering.whole())


async def _stream(
    under_way: UnderWay, rendering: Rendering, request_id: str
) -> AsyncGenerator[bytes, None]:
    """The events, after a first empty piece."""
    async with under_way:
        yield b""
        try:
            for frame in rendering.begin(under_way.num_prompt_tokens):
                yield sse.event(frame)
            async for number, event in under_way.events():
                rendering.answers[number].add(event)
                is_told = False
                for frame in rendering.frames(number, event):
                    is_told = True
                    yield sse.event(frame)
                if isinstance(event, Restarted) and not is_told:
                    yield sse.RESTARTED
            for frame in rendering.end():
                yield sse.event(frame)
            yield rendering.done
        except Exception as error:
            yield sse.event(rendering.failed(answer_to(error, request_id)))


async def follow_all(
    generations: Sequence[Generation],
) -> AsyncGenerator[tuple[int, Event], None]:
    """The events of several generations as they come, with the number of each.

    A slow reader holds back at most one event of each. Raises what the first that fails raises.
    """
    if len(generations) == 1:
        async for event in generations[0].follow():
            yield 0, event
        return
    events: asyncio.Queue[tuple[int, Event | Exception]] = asyncio.Queue(1)

    async def gather(number: int, generation: Generation) -> None:
        try:
            async for event in generation.follow():
                await events.put((number, event))
        except Exception as error:
            await events.put((number, error))

    tasks = [asyncio.create_task(gather(*numbered)) for numbered in enumerate(generations)]
    try:
        num_running = len(generations)
        while num_running:
            number, come = await events.get()
            if isinstance(come, Exception):
                raise come
            num_running -= isinstance(come, Finished)
            yield number, come
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

"""The answers to one request while they are made: begun together, followed together, cancelled."""

import asyncio
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from typing import Self

from registry.checkpoint.model import Model
from runtime.errors import Cancelled
from runtime.events import Event, Finished
from runtime.generation import Generation
from runtime.pool import ModelPool
from runtime.requests import GenerationRequest


class UnderWay:
    """The answers to one request, which whoever holds it may cancel at any time. Ended by `end`,
    which as an async context manager it does on leaving.
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
        await self.end()

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
            await self.end()
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

    async def events(self) -> AsyncGenerator[tuple[int, Event], None]:
        """As they come, with the number of the answer. Raises what the first that fails does, and
        Cancelled, also where the answers were whole by then and only their reader was behind.
        """
        async with aclosing(follow_all(self._generations)) as events:
            async for number, event in events:
                if self.is_cancelled and isinstance(event, Finished):
                    break
                yield number, event
        if self.is_cancelled:
            raise Cancelled()

    def cancel(self) -> None:
        """Makes `begin` or `events` raise Cancelled."""
        if self.is_cancelled:
            return
        self.is_cancelled = True
        if self._beginning is not None and not self._beginning.done():
            self._beginning.cancel()
        else:
            self._ending = asyncio.create_task(self.end())

    async def end(self) -> None:
        """Wherever they stand."""
        for generation in self._generations:
            await generation.cancel()


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

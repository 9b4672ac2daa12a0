"""What the tests of the pool and of the residency ask for: answers, loads, a kill."""

import itertools
import os
import signal
from collections.abc import AsyncGenerator, AsyncIterable, Iterator
from contextlib import contextmanager
from typing import Any

from registry.checkpoint.model import Model
from runtime.engine_process import EngineProcess
from runtime.events import Event, Finished, TextDelta
from runtime.generation import Generation
from runtime.memory.meter import Reading
from runtime.pool import ModelPool
from runtime.requests import (
    ChatInput,
    ChatMessage,
    GenerationRequest,
    SamplingParams,
    SamplingRequest,
)
from runtime.resident import ResidentModel
from tests import processes


class SetMeter:
    """Tells what it was told: so many bytes are left."""

    def __init__(self, room: int = 1 << 40) -> None:
        self.room = room

    def read(self) -> Reading:
        return Reading(self.room, "system")


numbers = itertools.count(1)  # of rows


def request(text: str = "Hello", keep_alive_s: float | None = None, **sampling: Any) -> Any:
    return GenerationRequest(
        ChatInput((ChatMessage("user", text),)),
        SamplingRequest(**sampling),
        keep_alive_s=keep_alive_s,
    )


async def generate(
    pool: ModelPool, model: Model, request: GenerationRequest
) -> AsyncGenerator[Event, None]:
    """The events of an answer, which ends when its one reader leaves."""
    async with await pool.begin(model, request) as generation:
        async for event in generation.follow():
            yield event


async def draw(
    engine: EngineProcess, tokens: list[int], sampling: SamplingParams
) -> AsyncGenerator[Event, None]:
    """The events of one row of an engine, without a pool."""
    generation = Generation()
    generation.prompt, generation.sampling = tokens, sampling

    async def life() -> Finished:
        generation.accept()
        finished = await engine.generate(next(numbers), generation, "interactive")
        assert isinstance(finished, Finished)
        return finished

    await generation.start(life())
    async with generation:
        async for event in generation.follow():
            yield event


async def ask(pool: ModelPool, model: Model, **sampling: Any) -> list[Event]:
    return [event async for event in generate(pool, model, request(**sampling))]


async def tokens(events: AsyncIterable[Event]) -> list[int]:
    """All that were drawn, of events up to the last."""
    drawn: list[int] = []
    async for event in events:
        if isinstance(event, TextDelta | Finished):
            drawn += event.tokens
    assert isinstance(event, Finished) and event.usage.completion_tokens == len(drawn)
    return drawn


async def load(pool: ModelPool, model: Model, **options: Any) -> ResidentModel:
    *_, last = [step async for step in pool.residency.load(model, **options)]
    assert isinstance(last, ResidentModel)
    return last


def kill(pool: ModelPool, model: Model) -> None:
    """kill -9 of the model's engine."""
    for process in processes.children(str(model.folder)):
        os.kill(process.pid, signal.SIGKILL)


@contextmanager
def stopped(pid: int) -> Iterator[None]:
    """The process does nothing meanwhile."""
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)

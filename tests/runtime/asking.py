"""What the tests of the pool and of the residency ask for: answers, loads, a kill."""

import os
import signal
from typing import Any

from registry.checkpoint.model import Model
from runtime.events import Event
from runtime.pool import ModelPool
from runtime.requests import ChatMessage, GenerationRequest, SamplingRequest
from runtime.residency import ResidentModel
from tests import processes


def request(text: str = "Hello", keep_alive_s: float | None = None, **sampling: Any) -> Any:
    return GenerationRequest(
        (ChatMessage("user", text),), SamplingRequest(**sampling), keep_alive_s=keep_alive_s
    )


async def ask(pool: ModelPool, model: Model, **sampling: Any) -> list[Event]:
    return [event async for event in pool.generate(model, request(**sampling))]


async def load(pool: ModelPool, model: Model, **options: Any) -> ResidentModel:
    *_, last = [step async for step in pool.residency.load(model, **options)]
    assert isinstance(last, ResidentModel)
    return last


def kill(pool: ModelPool, model: Model) -> None:
    """kill -9 of the model's engine."""
    for process in processes.children(str(model.folder)):
        os.kill(process.pid, signal.SIGKILL)

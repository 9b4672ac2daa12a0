"""Tests of runtime.intake: what is refused while the server is paused, and while it drains."""

from collections.abc import AsyncGenerator

import pytest

from registry.checkpoint.model import Model
from runtime.errors import Draining, Paused, Unavailable
from runtime.events import Event, Restarted, TextDelta
from runtime.intake import Intake
from runtime.pool import ModelPool
from tests.runtime.asking import ask, generate, kill, load, request, tokens


def refusals(intake: Intake) -> list[type[Unavailable] | None]:
    """What requests get, and what loads get."""
    refused: list[type[Unavailable] | None] = []
    for refuse in (intake.refuse_requests, intake.refuse_loads):
        try:
            refuse()
        except Unavailable as error:
            refused.append(type(error))
        else:
            refused.append(None)
    return refused


def test_a_pause_refuses_requests_and_no_loads() -> None:
    intake = Intake()
    assert refusals(intake) == [None, None]
    intake.is_paused = True
    assert refusals(intake) == [Paused, None]
    intake.is_paused = False
    assert refusals(intake) == [None, None]


def test_a_drain_refuses_all_and_is_told_before_a_pause() -> None:
    """Nobody can resume a server that shuts down, so nobody is told to."""
    intake = Intake()
    intake.is_paused = intake.is_draining = True
    assert refusals(intake) == [Draining, Draining]
    with pytest.raises(Draining, match="shutting down"):
        intake.refuse_requests()


async def test_what_runs_outlives_its_engine_in_a_pause(pool: ModelPool, model: Model) -> None:
    """A new engine is loaded for it, as ever; who comes new is refused, before and after."""
    asked = request(max_tokens=300, temperature=0, ignore_eos=True)
    whole = await tokens(generate(pool, model, asked))
    restarts = 0

    async def paused() -> AsyncGenerator[Event, None]:
        nonlocal restarts
        async for event in generate(pool, model, asked):
            if isinstance(event, TextDelta) and not pool.residency.intake.is_paused:
                pool.residency.intake.is_paused = True
                kill(pool, model)
            restarts += isinstance(event, Restarted)
            yield event

    assert await tokens(paused()) == whole and restarts == 1
    with pytest.raises(Paused):
        await ask(pool, model)
    await load(pool, model)
    assert pool.outcomes()["tiny"] == {"finished": 2, "refused": 1}
    assert pool.residency.tokens_drawn() == {"tiny": 600}  # none is counted twice

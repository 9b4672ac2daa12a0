"""Tests of runtime.carrier: no death of an engine loses, changes or repeats a token."""

import asyncio
import random
import signal
from collections import Counter
from collections.abc import AsyncGenerator, Sequence

import pytest

from runtime.engine_process import Watch
from runtime.errors import Blamed, EngineDied, EngineStopped
from runtime.events import Restarted
from runtime.generation import Generation
from runtime.pool import ModelPool
from runtime.residency import PoolSettings
from tests import processes
from tests.runtime import deaths
from tests.runtime.asking import kill, request
from tests.runtime.deaths import POISON, Death, Place, Plan
from tests.runtime.known import (
    NUM_ROWS,
    Answer,
    Known,
    make_known,
    make_known_quantised,
    read,
    same,
)

# Short beats, for the one engine that hangs.
SETTINGS = PoolSettings(prefill_chunk_tokens=64, watch=Watch(beat_s=0.1, silent_beats=40))
LONG = request(max_tokens=8000, temperature=0)


@pytest.fixture(scope="module")
def known(tmp_path_factory: pytest.TempPathFactory) -> Known:
    return make_known(tmp_path_factory.mktemp("known") / "tiny")


@pytest.fixture(scope="module")
def quantised(tmp_path_factory: pytest.TempPathFactory) -> Known:
    return make_known_quantised(tmp_path_factory.mktemp("quantised") / "tiny", kv_bits=8)


# --- as planned -----------------------------------------------------------------------------------


@pytest.fixture
async def pool(known: Known, monkeypatch: pytest.MonkeyPatch) -> AsyncGenerator[ModelPool, None]:
    """Whose engines die as planned."""
    deaths.sow(monkeypatch)
    pool = ModelPool(SETTINGS)
    await pool.start()
    yield pool
    await pool.close()
    assert processes.children() == []


async def ask(pool: ModelPool, known: Known, answers: Sequence[Answer], plan: Plan) -> list[str]:
    """Check that all are answered as ever while engines die; returns where they did."""
    plan.write(known.model.folder)
    generations = [await pool.begin(known.model, answer.request) for answer in answers]
    told = await asyncio.gather(*(read(generation) for generation in generations))
    plan = Plan.read(known.model.folder)
    for generation, answer, whole in zip(generations, answers, told, strict=True):
        assert same(generation, whole, answer, known.model.kv_bits), plan
    await nothing_is_left(pool, num_engines=1)
    await pool.residency.unload("tiny")
    return plan.died


async def nothing_is_left(pool: ModelPool, num_engines: int) -> None:
    """No ticket, no row, no process but the engine's own."""
    slot = pool.residency.slots["tiny"]
    async with asyncio.timeout(10):
        while slot.requests.number or slot.users.number:
            await asyncio.sleep(0.01)
        while slot.engine is not None and slot.engine.num_rows:
            await asyncio.sleep(0.01)
    assert not slot.schedule._tickets
    assert slot.engine is None or not slot.engine._rows
    assert len(processes.children("runtime.engine")) == num_engines


def planned(generator: random.Random, num_deaths: int) -> list[Death]:
    """In all places; often two in a row, the second in the next load."""
    first = generator.choice([Death("prefill", generator.randint(1, 3)), _in_decode(generator)])
    plan = [_in_load(generator)] if generator.random() < 0.2 else []
    plan.append(first)
    while len(plan) < num_deaths:
        if plan[-1].place != "load" and generator.random() < 0.2:
            plan.append(_in_load(generator))
        plan.append(_in_decode(generator))
    return plan


def _in_load(generator: random.Random) -> Death:
    return Death("load", generator.randint(1, 3))


def _in_decode(generator: random.Random) -> Death:
    places: list[Place] = ["step", "step", "hand", "last"]
    return Death(generator.choice(places), generator.randint(0, 24))


@pytest.mark.parametrize(
    "seed", [0, *(pytest.param(n, marks=pytest.mark.slow) for n in range(1, 7))]
)
async def test_no_death_of_an_engine_costs_a_token(
    pool: ModelPool, known: Known, seed: int
) -> None:
    """kill -9 in loads, in prefill, between steps, with events in hand, with the last in hand: one
    row and sixteen are answered token for token as if nothing was."""
    generator = random.Random(seed)
    died: Counter[str] = Counter()
    while died.total() < (30 if seed else 20):  # 200 in all
        alone = generator.choice(known.answers)
        plan = Plan(planned(generator, 8), num_rows=1)
        died.update(await ask(pool, known, [alone], plan))
        plan = Plan(planned(generator, 5), NUM_ROWS)
        died.update(await ask(pool, known, known.answers, plan))
    assert died.keys() == {"load", "prefill", "step", "hand", "last"}


@pytest.mark.slow
async def test_a_quantised_cache_is_the_same_after_a_death(
    pool: ModelPool, quantised: Known
) -> None:
    """The next engine is loaded with as many bits, and reads what was drawn to the same numbers."""
    plan = Plan([Death("prefill", 2), Death("step", 9), Death("hand", 5)], len(quantised.answers))
    assert len(await ask(pool, quantised, quantised.answers, plan)) == 3


@pytest.mark.parametrize("place", [0, 7, NUM_ROWS - 1])
async def test_a_poisonous_request_costs_its_neighbours_no_answer(
    pool: ModelPool, known: Known, place: int
) -> None:
    """Wherever it stands in the order of arrival, two engines die of it; then it is to blame."""
    requests = [answer.request for answer in known.answers]
    requests[place] = request(f"{POISON} that kills", temperature=0, max_tokens=200)
    Plan([], NUM_ROWS).write(known.model.folder)
    generations = [await pool.begin(known.model, asked) for asked in requests]
    told = await asyncio.gather(
        *(read(generation) for generation in generations), return_exceptions=True
    )
    blamed = told.pop(place)
    assert isinstance(blamed, Blamed) and blamed.code == "engine_error"
    assert "SIGABRT" in str(blamed)
    answers = [answer for number, answer in enumerate(known.answers) if number != place]
    assert told == [(answer.tokens, answer.text) for answer in answers]
    assert Plan.read(known.model.folder).died == ["poison", "poison"]
    await nothing_is_left(pool, num_engines=1)


async def test_a_model_that_always_dies_while_it_loads_is_given_up(
    pool: ModelPool, known: Known
) -> None:
    """After three loads, and nobody is blamed; the next request is answered."""
    Plan([Death("load")] * 3, num_rows=1).write(known.model.folder)
    with pytest.raises(EngineDied, match="while it loaded"):
        await read(await pool.begin(known.model, known.answers[0].request))
    assert Plan.read(known.model.folder).died == ["load"] * 3
    await nothing_is_left(pool, num_engines=0)
    assert await ask(pool, known, known.answers[:1], Plan([], num_rows=1)) == []


async def test_a_hang_heals_as_a_death_does(pool: ModelPool, known: Known) -> None:
    """SIGSTOP is found by the heartbeat, readers are told, and all answers are as ever."""
    Plan([Death("step", 40, signal.SIGSTOP)], NUM_ROWS).write(known.model.folder)
    generations = [await pool.begin(known.model, answer.request) for answer in known.answers]
    events = [event async for event in generations[0].follow()]
    (restarted,) = (event for event in events if isinstance(event, Restarted))
    assert "did not answer" in restarted.reason
    told = await asyncio.gather(*map(read, generations))
    assert told == [(answer.tokens, answer.text) for answer in known.answers]
    await nothing_is_left(pool, num_engines=1)


# --- from outside ---------------------------------------------------------------------------------


async def until_text(generations: Sequence[Generation]) -> None:
    async with asyncio.timeout(30):
        while not all(generation.drawn for generation in generations):
            await asyncio.sleep(0.001)


async def test_an_unload_ends_what_outlasts_its_grace(known: Known) -> None:
    """Those that run, and those that wait for their turn; no engine is started for them."""
    Plan([], num_rows=1).write(known.model.folder)
    pool = ModelPool(PoolSettings(max_rows=1, unload_grace_s=0.1))
    await pool.start()
    try:
        generations = [await pool.begin(known.model, LONG) for _ in range(3)]
        await until_text(generations[:1])
        await pool.residency.unload("tiny")
        ends = await asyncio.gather(*map(read, generations), return_exceptions=True)
        assert [type(end) for end in ends] == [EngineStopped] * 3
        await nothing_is_left(pool, num_engines=0)
    finally:
        await pool.close()


async def test_a_draining_server_carries_nothing_over(pool: ModelPool, known: Known) -> None:
    """An engine that dies then costs its requests an error: nobody waits for another."""
    Plan([], num_rows=2).write(known.model.folder)
    generations = [await pool.begin(known.model, LONG) for _ in range(2)]
    await until_text(generations)
    drain = asyncio.create_task(pool.drain(30))
    await asyncio.sleep(0)
    kill(pool, known.model)
    for generation in generations:
        with pytest.raises(EngineDied, match="SIGKILL"):
            await read(generation)
    await drain
    await nothing_is_left(pool, num_engines=0)

"""Tests of runtime.residency: loading once, unloading, time to live, room, crashes, drain."""

import asyncio
import math
import shutil
from collections.abc import AsyncGenerator, Callable
from pathlib import Path

import pytest

from registry.checkpoint.model import Model
from runtime.engine_messages import ModelInfo
from runtime.engine_process import EngineProcess
from runtime.errors import (
    CrashLoop,
    Draining,
    EngineStopped,
    InsufficientMemory,
    InvalidRequest,
    LoadFailed,
    LoadRefused,
    ModelNotLoaded,
    ModelRemoved,
)
from runtime.events import Event, Finished, Loading, Queued, Restarted, TextDelta
from runtime.memory import cost
from runtime.memory.meter import Reading
from runtime.pool import ModelPool
from runtime.requests import EmbeddingRequest, SamplingParams
from runtime.residency import PoolSettings
from tests import processes
from tests.models.tiny_models import make_llama
from tests.runtime.asking import SetMeter, ask, draw, generate, kill, load, request, tokens


async def test_fifty_first_requests_load_once(
    model: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All wait for the same engine, and all are answered."""
    starts = 0
    start = EngineProcess.start

    async def counted(engine: EngineProcess, on_loading: Callable[[Loading], None]) -> ModelInfo:
        nonlocal starts
        starts += 1
        return await start(engine, on_loading)

    monkeypatch.setattr(EngineProcess, "start", counted)
    pool = ModelPool(PoolSettings(max_rows=16, max_queue=64))
    await pool.start()
    try:
        answers = await asyncio.gather(*(ask(pool, model, max_tokens=1) for _ in range(50)))
    finally:
        await pool.close()
    assert starts == 1 and all(isinstance(events[-1], Finished) for events in answers)


async def test_one_waiter_leaving_does_not_stop_the_load(pool: ModelPool, model: Model) -> None:
    """The first to ask leaves while it loads; the second gets its answer from the same engine."""
    first = generate(pool, model, request())
    await anext(first)
    second = asyncio.create_task(ask(pool, model, max_tokens=2))
    await asyncio.sleep(0.05)
    await first.aclose()
    assert isinstance((await second)[-1], Finished)
    assert len(processes.children("runtime.engine")) == 1


async def test_a_failed_load_is_told_to_all_and_not_remembered(
    pool: ModelPool, model: Model, tmp_path: Path
) -> None:
    """Every waiter gets the reason; after the folder is mended, the next request works."""
    config = model.folder / "config.json"
    good = config.read_text()
    config.write_text(good.replace('"llama"', '"martian"'))
    results = await asyncio.gather(
        *(ask(pool, Model("tiny", model.folder)) for _ in range(3)), return_exceptions=True
    )
    assert all(isinstance(result, LoadFailed) for result in results)
    config.write_text(good)
    assert isinstance((await ask(pool, model, max_tokens=1))[-1], Finished)


async def test_unload_gives_memory_back_and_waits_for_rows(pool: ModelPool, model: Model) -> None:
    """The running answer ends well, the bytes are those of the process, and it is gone."""
    running = asyncio.create_task(ask(pool, model, max_tokens=300))
    while not pool.residency.loaded() or not pool.residency.loaded()[0].num_rows:
        await asyncio.sleep(0.01)
    unloading = asyncio.create_task(pool.residency.unload("tiny"))
    await asyncio.sleep(0)
    assert pool.residency.loaded()[0].is_unloading
    again = await pool.residency.unload("tiny")  # one unload for both
    unloaded = await unloading
    assert isinstance((await running)[-1], Finished) and again == unloaded
    assert unloaded.freed_bytes == unloaded.resident_before - unloaded.resident_after > 10_000_000
    assert pool.residency.loaded() == []
    with pytest.raises(ModelNotLoaded):
        await pool.residency.unload("tiny")


async def test_other_kv_bits_load_a_model_anew(pool: ModelPool, tmp_path: Path) -> None:
    """After what runs; the last wish stays, also for what is loaded later, and so does a pin."""
    model = Model("tiny", make_llama(tmp_path / "tiny", head_dim=32))
    assert (await load(pool, model, pin=True)).info.kv_bits == 16
    running = asyncio.create_task(ask(pool, model, max_tokens=200))
    while not pool.residency.loaded()[0].num_rows:
        await asyncio.sleep(0.01)
    held = await load(pool, model, kv_bits=8)
    assert isinstance((await running)[-1], Finished)
    assert held.info.kv_bits == 8 and held.pinned
    assert (await load(pool, model, kv_bits=8)).loaded_at == held.loaded_at
    wishes = [asyncio.create_task(load(pool, model, kv_bits=bits)) for bits in (16, 4)]
    assert [(await wish).info.kv_bits for wish in wishes][-1] == 4
    await pool.residency.unload("tiny")
    assert (await load(pool, model)).info.kv_bits == 4
    assert (await load(pool, model, kv_bits=16)).info.kv_bits == 16


async def test_kv_bits_that_a_model_cannot_have_are_refused_once(
    pool: ModelPool, model: Model
) -> None:
    """They are forgotten: the next load is as it would have been."""
    with pytest.raises(LoadRefused, match="heads have 16 numbers") as refused:
        await load(pool, model, kv_bits=4)
    assert refused.value.param == "kv_bits" and refused.value.code == "kv_bits_unsupported"
    assert isinstance((await ask(pool, model, max_tokens=1))[-1], Finished)
    assert pool.residency.loaded()[0].info.kv_bits == 16


async def test_a_forced_unload_ends_what_runs_and_what_waits(
    pool: ModelPool, model: Model, embedder: Model
) -> None:
    """Also where an unload already waits for them; their memory comes back at once."""
    asking = [asyncio.create_task(ask(pool, model, max_tokens=8000)) for _ in range(4)]
    while not pool.residency.loaded() or pool.residency.loaded()[0].num_rows < 2:
        await asyncio.sleep(0.01)
    waiting = asyncio.create_task(pool.residency.unload("tiny"))
    await asyncio.sleep(0)
    assert (await pool.residency.unload("tiny", force=True)).freed_bytes > 0
    assert (await waiting).freed_bytes > 0
    for answer in asking:
        with pytest.raises(EngineStopped, match="unloaded while this request ran"):
            await answer
    await load(pool, embedder)
    heavy = asyncio.create_task(pool.embed(embedder, EmbeddingRequest(((5,) * 128,) * 2000)))
    while not pool.residency.loaded()[0].num_running:
        await asyncio.sleep(0.01)
    await pool.residency.unload("bert", force=True)
    with pytest.raises(EngineStopped):
        await heavy


async def test_unload_while_it_loads_leaves_no_process(pool: ModelPool, model: Model) -> None:
    """The load is cancelled, its waiters are told, nothing stays behind."""
    waiter = asyncio.create_task(ask(pool, model))
    while not processes.children("runtime.engine"):
        await asyncio.sleep(0.01)
    await pool.residency.unload("tiny")
    with pytest.raises(LoadFailed, match="unloaded"):
        await waiter
    assert not processes.children("runtime.engine")


async def test_idle_models_expire_unless_pinned(pool: ModelPool, model: Model) -> None:
    """keep_alive 0 unloads after the answer; a pin holds against it."""
    other = Model("other", shutil.copytree(model.folder, model.folder.parent / "other"))
    await load(pool, other, pin=True, keep_alive_s=0)
    async for _ in generate(pool, model, request(keep_alive_s=0, max_tokens=2)):
        pass
    async with asyncio.timeout(5):
        while len(pool.residency.loaded()) > 1:
            await asyncio.sleep(0.05)
    assert [m.model.id for m in pool.residency.loaded()] == ["other"] and pool.residency.loaded()[
        0
    ].pinned
    loaded = await load(pool, model, keep_alive_s=math.inf)
    assert loaded.model.id == "tiny" and loaded.expires_in_s is None


async def test_a_request_pins_its_model_until_another_says_less(
    metered: ModelPool, meter: SetMeter, model: Model
) -> None:
    """keep_alive for ever holds against other models that need the room, too."""
    pool = metered
    other = Model("other", shutil.copytree(model.folder, model.folder.parent / "other"))
    async for _ in generate(pool, model, request(keep_alive_s=math.inf, max_tokens=1)):
        pass
    assert pool.residency.loaded()[0].pinned
    meter.room = 5
    with pytest.raises(InsufficientMemory):
        await load(pool, other)
    meter.room = 1 << 40
    await load(pool, model, pin=False)
    (loaded,) = pool.residency.loaded()
    assert not loaded.pinned and loaded.expires_in_s == pytest.approx(1800, abs=5)
    async for _ in generate(pool, model, request(keep_alive_s=math.inf, max_tokens=1)):
        pass
    async for _ in generate(pool, model, request(keep_alive_s=60, max_tokens=1)):
        pass
    assert not pool.residency.loaded()[0].pinned


async def test_keep_alive_lasts_until_the_unload(pool: ModelPool, model: Model) -> None:
    """A refused request does not set it, a plain one leaves it, an unload forgets it."""
    assert (await load(pool, model, keep_alive_s=100)).expires_in_s == pytest.approx(100, abs=5)
    with pytest.raises(InvalidRequest):
        await anext(generate(pool, model, request("word " * 9000, keep_alive_s=7)))
    await ask(pool, model, max_tokens=1)
    assert pool.residency.loaded()[0].expires_in_s == pytest.approx(100, abs=5)
    await pool.residency.unload("tiny")
    assert (await load(pool, model)).expires_in_s == pytest.approx(1800, abs=5)


async def test_an_unload_waits_for_those_that_were_let_in(pool: ModelPool, model: Model) -> None:
    """Not yet a row, a request still has its engine; one that comes later gets a new engine, and
    its first event at once."""
    await load(pool, model)
    slot = pool.residency.slot(model)
    async with pool.residency.in_use(slot, None) as early:
        unload = asyncio.create_task(pool.residency.unload("tiny"))
        await asyncio.sleep(0.1)
        late = generate(pool, model, request(max_tokens=3))
        assert isinstance(await anext(late), Queued) and not unload.done()
        engine = await pool.residency.engine(slot, early, lambda _: None)
        *_, last = [event async for event in draw(engine, [5, 6], SamplingParams(max_tokens=3))]
        assert isinstance(last, Finished)
    assert (await unload).freed_bytes > 0
    events = [event async for event in late]
    assert any(isinstance(event, Loading) for event in events)
    assert isinstance(events[-1], Finished) and not engine.num_rows


async def test_an_unload_waits_for_running_embeddings(pool: ModelPool, embedder: Model) -> None:
    await load(pool, embedder)
    running = asyncio.create_task(pool.embed(embedder, EmbeddingRequest(((5,) * 128,) * 200)))
    await asyncio.sleep(0.05)
    assert (await pool.residency.unload("bert")).freed_bytes > 0
    assert len((await running).vectors) == 200 * 32 * 4


async def test_an_unload_goes_on_when_the_last_user_leaves(pool: ModelPool, model: Model) -> None:
    """Not for the first of two; and then it asks no clock: a few turns of the loop are enough."""

    async def turns() -> None:
        for _ in range(5):
            await asyncio.sleep(0)

    await load(pool, model)
    slot = pool.residency.slot(model)
    with slot.users.one_more():
        with slot.users.one_more():
            unload = asyncio.create_task(pool.residency.unload("tiny"))
            await turns()
        await turns()
        assert pool.residency.loaded()
    assert pool.residency.loaded()
    await turns()
    assert not pool.residency.loaded() and not unload.done()  # its process is being ended
    assert (await unload).freed_bytes > 0


async def test_a_model_registered_anew_is_loaded_anew(pool: ModelPool, model: Model) -> None:
    """The same name with another folder: the old engine goes, the new folder answers."""
    await load(pool, model)
    other = Model("tiny", shutil.copytree(model.folder, model.folder.parent / "new"))
    events = await ask(pool, other, max_tokens=2)
    assert any(isinstance(event, Loading) for event in events)
    assert pool.residency.loaded()[0].model.folder == other.folder
    assert len(processes.children("runtime.engine")) == 1


async def test_room_is_made_from_idle_models_and_refused_with_numbers(
    metered: ModelPool, meter: SetMeter, model: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The least recently used idle model goes; without one the refusal says what is missing."""
    pool = metered
    others = [
        Model(name, shutil.copytree(model.folder, model.folder.parent / name)) for name in "ab"
    ]
    for other in others:
        await load(pool, other)
    needed = cost.load_bytes(model)

    class Shared(SetMeter):
        def read(self) -> Reading:
            return Reading(needed if len(pool.residency.loaded()) < 2 else needed - 1, "system")

    pool.residency.budget.meter = Shared()
    await load(pool, model)
    assert sorted(m.model.id for m in pool.residency.loaded()) == ["b", "tiny"]
    pool.residency.budget.meter = SetMeter(5)
    with monkeypatch.context() as patch:
        patch.setattr(cost, "load_bytes", lambda _: 1 << 50)
        with pytest.raises(InsufficientMemory):  # all that are idle would not do: none goes
            await load(pool, others[0])
    assert len(pool.residency.loaded()) == 2
    for loaded in pool.residency.loaded():
        await load(pool, loaded.model, pin=True)
    with pytest.raises(InsufficientMemory) as caught:
        await load(pool, others[0])
    assert caught.value.needed_bytes == needed and caught.value.available_bytes == 5
    held = caught.value.held
    assert [(other.model_id, other.state) for other in held] == [
        ("b", "pinned"),
        ("tiny", "pinned"),
    ]
    assert all(f"'{other.model_id}' (" in str(caught.value) for other in held)
    assert all(other.memory_bytes > 10_000_000 for other in held)


async def test_a_death_is_a_pause_and_noticed_in_idleness_too(
    pool: ModelPool, model: Model
) -> None:
    """Killed in mid-stream the answer goes on in a new engine; killed idle the engine is gone."""
    asked = request(max_tokens=500, temperature=0)
    whole = await tokens(generate(pool, model, asked))
    restarts = []

    async def disturbed() -> AsyncGenerator[Event, None]:
        num_drawn = 0
        async for event in generate(pool, model, asked):
            if isinstance(event, TextDelta):
                if num_drawn < 100 <= num_drawn + len(event.tokens):
                    kill(pool, model)
                num_drawn += len(event.tokens)
            elif isinstance(event, Restarted):
                restarts.append(event.reason)
            yield event

    assert await tokens(disturbed()) == whole and restarts == ["signal SIGKILL"]
    kill(pool, model)
    async with asyncio.timeout(3):
        while pool.residency.loaded():
            await asyncio.sleep(0.01)


async def test_an_engine_that_dies_at_once_is_not_restarted_for_ever(
    pool: ModelPool, model: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Five deaths within a minute, with growing pauses; then 503 with a wait, and not ready."""
    monkeypatch.setattr("runtime.slot._FIRST_BACKOFF_S", 0.01)
    for _ in range(5):
        await load(pool, model)
        kill(pool, model)
        while pool.residency.loaded():
            await asyncio.sleep(0.01)
    with pytest.raises(CrashLoop) as caught:
        await ask(pool, model)
    assert 0 < caught.value.retry_after_s <= 60
    assert not pool.can_serve(model.id)


async def test_a_drain_ends_a_load_as_a_drain(pool: ModelPool, model: Model) -> None:
    """Who waits for a load when the server shuts down may try again elsewhere."""
    waiting = asyncio.create_task(ask(pool, model))
    while not processes.children("runtime.engine"):
        await asyncio.sleep(0.01)
    await pool.drain(0)
    with pytest.raises(Draining):
        await waiting


async def test_drain_refuses_lets_finish_and_then_fails(pool: ModelPool, model: Model) -> None:
    """Short answers end well during a drain, endless ones are told, new ones are refused."""
    await load(pool, model)
    short = asyncio.create_task(ask(pool, model, max_tokens=50))
    long = asyncio.create_task(ask(pool, model, temperature=0))
    await asyncio.sleep(0.1)
    drain = asyncio.create_task(pool.drain(1.0))
    await asyncio.sleep(0)
    with pytest.raises(Draining):
        await ask(pool, model)
    assert not pool.can_serve(model.id)
    assert isinstance((await short)[-1], Finished)
    with pytest.raises(Draining, match="shutting down"):
        await long
    await drain


async def test_what_is_removed_leaves_the_memory(model: Model) -> None:
    """At once, whatever it does: running and later requests are told; its process is gone."""
    removed: set[str] = set()
    pool = ModelPool(PoolSettings(max_rows=1), is_removed=lambda model: model.id in removed)
    await pool.start()
    try:
        asking = [asyncio.create_task(ask(pool, model, max_tokens=8000)) for _ in range(3)]
        while pool.residency.info("tiny") is None:
            await asyncio.sleep(0.01)
        removed.add("tiny")
        async with asyncio.timeout(20):
            results = await asyncio.gather(*asking, return_exceptions=True)
        assert all(isinstance(result, ModelRemoved) for result in results), results
        await pool.residency.remove("tiny")
        assert processes.children("runtime.engine") == [] and not pool.residency.loaded()
        with pytest.raises(ModelRemoved, match="'tiny' was removed"):
            await ask(pool, model)
        with pytest.raises(ModelRemoved):
            await load(pool, model)
        removed.clear()  # another of the same name
        assert isinstance((await ask(pool, model, max_tokens=1))[-1], Finished)
    finally:
        await pool.close()


async def test_what_is_removed_is_not_loaded_to_the_end(model: Model) -> None:
    """Whoever waited for the load is told."""
    removed: set[str] = set()
    pool = ModelPool(PoolSettings(), is_removed=lambda model: model.id in removed)
    await pool.start()
    try:
        loading = pool.residency.load(model)
        await anext(loading)
        removed.add("tiny")
        await pool.residency.remove("tiny")
        with pytest.raises(ModelRemoved):
            async for _ in loading:
                pass
        assert processes.children("runtime.engine") == []
    finally:
        await pool.close()

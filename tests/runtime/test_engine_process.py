"""Tests of runtime.engine_process: a real engine child, killed, stopped, left and stalled."""

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncGenerator
from contextlib import aclosing
from pathlib import Path

import psutil
import pytest

from registry.checkpoint.model import Model
from runtime.engine_messages import EngineSettings
from runtime.engine_process import EngineProcess, Watch
from runtime.errors import EngineDied, EngineFailed, LoadFailed, Stalled
from runtime.events import Finished, Loading, Prefill, TextDelta
from runtime.requests import SamplingParams
from tests.models.tiny_encoders import make_bert
from tests.models.tiny_models import make_llama
from tests.runtime.asking import draw, numbers

LONG = SamplingParams(temperature=0, max_tokens=8000)


@pytest.fixture
async def engine(tmp_path: Path) -> AsyncGenerator[EngineProcess, None]:
    watch = Watch(beat_s=0.1, silent_beats=30, stall_limit_s=2)
    process = EngineProcess(Model("tiny", make_llama(tmp_path)), EngineSettings(), watch)
    await process.start(lambda progress: None)
    yield process
    await process.stop()
    assert process.pid is not None and not psutil.pid_exists(process.pid)


async def text_of(engine: EngineProcess, sampling: SamplingParams) -> str:
    events = draw(engine, [5, 6, 7], sampling)
    return "".join([event.text async for event in events if isinstance(event, TextDelta)])


async def until_empty(engine: EngineProcess) -> None:
    async with asyncio.timeout(5):
        while engine.num_rows:
            await asyncio.sleep(0.01)


async def test_load_tells_its_progress_in_bytes(tmp_path: Path) -> None:
    """Loading reports run from nothing to everything, and the info describes the model."""
    progress: list[Loading] = []
    engine = EngineProcess(Model("tiny", make_llama(tmp_path)), EngineSettings(), Watch())
    try:
        info = await engine.start(progress.append)
        assert progress[0].loaded_bytes == 0
        assert progress[-1].loaded_bytes == progress[-1].total_bytes == info.weight_bytes
        assert (
            info.model_type == "llama"
            and info.probed.exactness.batching == "full"
            and info.num_params > 0
        )
        assert engine.footprint_bytes() > info.weight_bytes
    finally:
        await engine.stop()


async def test_events_of_a_row_end_with_finished(engine: EngineProcess) -> None:
    """Prefill, text, then Finished with counts that add up."""
    sampling = SamplingParams(temperature=0, max_tokens=9)
    events = [event async for event in draw(engine, list(range(5, 45)), sampling)]
    assert isinstance(events[0], Prefill) and events[0].total == 40
    finished = events[-1]
    assert isinstance(finished, Finished) and finished.reason in ("length", "stop")
    assert finished.usage.prompt_tokens == 40 and finished.usage.completion_tokens == 9
    assert 0 < sum(len(event.tokens) for event in events if isinstance(event, TextDelta)) <= 9
    prefills = [event for event in events if isinstance(event, Prefill)]
    assert prefills[-1].done == prefills[-1].total


async def test_a_stop_sequence_in_the_last_token_is_a_stop(engine: EngineProcess) -> None:
    """What the detokenizer holds to the end is looked at too, and tells the finish reason."""
    free = await text_of(engine, SamplingParams(temperature=0, max_tokens=12))
    stop = next(free[-n:] for n in range(1, 20) if free.find(free[-n:]) == len(free) - n)
    sampling = SamplingParams(temperature=0, max_tokens=12, stop=(stop,))
    *deltas, finished = [event async for event in draw(engine, [5, 6, 7], sampling)]
    assert isinstance(finished, Finished) and finished.reason == "stop"
    assert "".join(e.text for e in deltas if isinstance(e, TextDelta)) == free[: -len(stop)]


async def test_a_token_that_does_not_exist_costs_its_request_only(engine: EngineProcess) -> None:
    """MLX does not check indices: such a token would read foreign memory or end the process."""
    other = asyncio.create_task(text_of(engine, SamplingParams(temperature=0, max_tokens=300)))
    for tokens in ([5, 10**8], [5, 453, 6]):
        with pytest.raises(EngineFailed, match="embeddings"):
            async for _ in draw(engine, tokens, LONG):
                pass
    assert await other


async def test_a_load_that_stands_still_is_ended(tmp_path: Path) -> None:
    """An engine that is stopped while it loads does not leave its waiters for ever."""
    watch = Watch(load_silence_s=1.0)
    engine = EngineProcess(Model("tiny", make_llama(tmp_path)), EngineSettings(), watch)
    load = asyncio.create_task(engine.start(lambda progress: None))
    while engine.pid is None:
        await asyncio.sleep(0.01)
    os.kill(engine.pid, signal.SIGSTOP)
    with pytest.raises(EngineDied, match="came no further"):
        await load
    assert not psutil.pid_exists(engine.pid)


async def test_an_engine_that_talks_nonsense_is_ended(
    engine: EngineProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A frame that cannot be read fails the waiters; nothing waits for ever."""
    child = engine._child
    assert child is not None

    async def nonsense() -> bytes:
        return b"\xc1"

    events = draw(engine, [5, 6], LONG)
    await anext(events)
    monkeypatch.setattr(child, "receive", nonsense)
    with pytest.raises(EngineDied):
        async for _ in events:
            pass
    assert engine.has_ended.is_set()


async def test_requests_at_once_equal_requests_alone(engine: EngineProcess) -> None:
    """Ten seeded requests through one engine give what each gives by itself."""
    samplings = [SamplingParams(temperature=1, seed=n, max_tokens=20 + n) for n in range(10)]
    alone = [await text_of(engine, sampling) for sampling in samplings]
    together = await asyncio.gather(*(text_of(engine, sampling) for sampling in samplings))
    assert together == alone


async def test_leaving_the_iterator_cancels_the_row(engine: EngineProcess) -> None:
    """A reader that breaks off leaves no row in the engine."""
    async with aclosing(draw(engine, [5, 6], LONG)) as events:
        async for event in events:
            if isinstance(event, TextDelta):
                break
    await until_empty(engine)
    assert await text_of(engine, SamplingParams(temperature=0, max_tokens=4))


async def test_kill_fails_the_running_request_at_once(engine: EngineProcess) -> None:
    """kill -9 in mid-stream raises EngineDied in under two seconds, and tells the signal."""
    assert engine.pid is not None
    with pytest.raises(EngineDied, match="SIGKILL"):
        async for event in draw(engine, [5, 6], LONG):
            if isinstance(event, TextDelta) and engine.pid:
                os.kill(engine.pid, signal.SIGKILL)
                killed_at = time.monotonic()
    assert time.monotonic() - killed_at < 2
    assert engine.has_ended.is_set()
    with pytest.raises(EngineDied):
        await text_of(engine, LONG)


async def test_a_hung_engine_is_noticed_by_its_heartbeat(engine: EngineProcess) -> None:
    """A stopped process answers no ping: it is killed and its request fails."""
    assert engine.pid is not None
    with pytest.raises(EngineDied, match="did not answer"):
        async with asyncio.timeout(10):
            async for event in draw(engine, [5, 6], LONG):
                if isinstance(event, TextDelta):
                    os.kill(engine.pid, signal.SIGSTOP)


async def test_an_idle_engine_keeps_its_heartbeat(engine: EngineProcess) -> None:
    """Silence of the requests is not silence of the engine."""
    await asyncio.sleep(4)
    assert not engine.has_ended.is_set()


async def test_a_reader_that_stalls_is_cancelled(engine: EngineProcess) -> None:
    """Events left unread for the stall limit end the row; others go on."""
    events = draw(engine, [5, 6], LONG)
    await anext(events)
    await asyncio.sleep(3.0)
    with pytest.raises(Stalled):
        async for _ in events:
            pass
    await until_empty(engine)


async def test_fail_all_ends_every_stream_with_the_given_error(engine: EngineProcess) -> None:
    """Drain's last resort reaches a reader that waits."""
    events = draw(engine, [5, 6], LONG)
    await anext(events)
    engine.fail_all(EngineFailed("going down"))
    with pytest.raises(EngineFailed, match="going down"):
        async for _ in events:
            pass


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        ("config", "not supported"),
        ("code", "never runs"),
        ("weights", "could not be loaded"),
        ("missing", "could not be loaded"),
        ("package", "need the Python package 'hf_olmo'"),
    ],
)
async def test_a_broken_folder_fails_the_load_and_leaves_no_process(
    tmp_path: Path, damage: str, message: str
) -> None:
    """Whatever is wrong with the folder, the load ends in LoadFailed that says so."""
    folder = make_llama(tmp_path)
    config, weights = folder / "config.json", folder / "model.safetensors"
    match damage:
        case "config":
            config.write_text(config.read_text().replace('"llama"', '"martian"'))
        case "code":
            config.write_text(config.read_text().replace("{", '{"model_file": "x.py", ', 1))
        case "weights":
            weights.write_bytes(weights.read_bytes()[:-1000])
        case "missing":
            weights.unlink()
        case "package":  # mlx-lm's module would end the process
            config.write_text(config.read_text().replace('"llama"', '"olmo"'))
    engine = EngineProcess(Model("tiny", folder), EngineSettings(), Watch())
    with pytest.raises(LoadFailed, match=message):
        await engine.start(lambda progress: None)
    assert engine.pid is not None and not psutil.pid_exists(engine.pid)


@pytest.mark.parametrize(
    "is_stopped",
    [False, pytest.param(True, marks=pytest.mark.skipif(sys.platform != "linux", reason="prctl"))],
)
def test_an_engine_ends_when_its_parent_is_killed(tmp_path: Path, is_stopped: bool) -> None:
    """kill -9 of the parent leaves no engine behind, not even while a row runs or it is stopped."""
    make_llama(tmp_path)
    parent = subprocess.Popen(
        [sys.executable, "-c", _PARENT, str(tmp_path)], stdout=subprocess.PIPE, text=True
    )
    with parent:
        assert parent.stdout is not None
        pid = int(parent.stdout.readline())
        assert psutil.pid_exists(pid)
        if is_stopped:
            os.kill(pid, signal.SIGSTOP)
        parent.kill()
    psutil.wait_procs([psutil.Process(pid)] if psutil.pid_exists(pid) else [], timeout=5)
    assert not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE


# --- embedding models -----------------------------------------------------------------------------


@pytest.fixture
async def embedder(tmp_path: Path) -> AsyncGenerator[EngineProcess, None]:
    watch = Watch(beat_s=0.1, silent_beats=30)
    process = EngineProcess(Model("bert", make_bert(tmp_path)), EngineSettings(), watch)
    await process.start(lambda progress: None)
    yield process
    await process.stop()


async def test_an_embedding_model_answers_many_at_once(embedder: EngineProcess) -> None:
    """Ten requests through one engine give what each gives by itself."""
    work = [[[5 + n] * (n + 2 * m + 1) for m in range(3)] for n in range(10)]
    alone = [await embedder.encode(next(numbers), inputs) for inputs in work]
    together = await asyncio.gather(*(embedder.encode(next(numbers), inputs) for inputs in work))
    for one, other in zip(alone, together, strict=True):
        assert one.num_dimensions == other.num_dimensions == 32
        first, second = (memoryview(event.vectors).cast("f").tolist() for event in (one, other))
        assert len(first) == 96 and first == pytest.approx(second, abs=1e-5)


async def test_a_faulty_embedding_costs_its_request_only(embedder: EngineProcess) -> None:
    """Foreign tokens are an error; so are chats with it, and embeddings of a chat model."""
    other = asyncio.create_task(embedder.encode(next(numbers), [[5] * 100] * 50))
    with pytest.raises(EngineFailed, match="embeddings"):
        await embedder.encode(next(numbers), [[5, 10**8]])
    with pytest.raises(EngineFailed, match="does not generate"):
        await text_of(embedder, LONG)
    assert len((await other).vectors) == 50 * 32 * 4


async def test_a_language_model_does_not_embed(engine: EngineProcess) -> None:
    with pytest.raises(EngineFailed, match="does not embed"):
        await engine.encode(next(numbers), [[5]])


async def test_cancelling_an_embedding_empties_the_engine(embedder: EngineProcess) -> None:
    """What is left of its inputs is dropped, and the next request is answered."""
    task = asyncio.create_task(embedder.encode(next(numbers), [[5] * 128] * 20_000))
    await asyncio.sleep(0.3)
    assert not task.done()
    task.cancel()
    await asyncio.wait({task})
    async with asyncio.timeout(5):
        assert await embedder.encode(next(numbers), [[5]])
    await until_empty(embedder)


async def test_kill_fails_the_running_embedding(embedder: EngineProcess) -> None:
    assert embedder.pid is not None
    task = asyncio.create_task(embedder.encode(next(numbers), [[5] * 128] * 20_000))
    await asyncio.sleep(0.1)
    os.kill(embedder.pid, signal.SIGKILL)
    with pytest.raises(EngineDied, match="SIGKILL"):
        await task
    with pytest.raises(EngineDied):
        await embedder.encode(next(numbers), [[5]])


_PARENT = """
import asyncio, sys
from pathlib import Path
from registry.checkpoint.model import Model
from runtime.engine_messages import EngineSettings
from runtime.engine_process import EngineProcess, Watch
from runtime.requests import SamplingParams
from tests.runtime.asking import draw

async def main():
    engine = EngineProcess(Model("tiny", Path(sys.argv[1])), EngineSettings(), Watch())
    await engine.start(lambda progress: None)
    async for _ in draw(engine, [5, 6], SamplingParams(temperature=0, max_tokens=8000)):
        print(engine.pid, flush=True)
asyncio.run(main())
"""

"""Tests of runtime.pool: events, admission, refusals, priorities, embedding and ranking."""

import asyncio
import json
import math
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, aclosing
from pathlib import Path
from typing import Any

import msgspec
import pytest

from registry.checkpoint.model import Model
from runtime.errors import (
    ContextLengthExceeded,
    InputTooLong,
    InvalidRequest,
    LoadFailed,
    QueueFull,
    TooSlow,
)
from runtime.events import Finished, Loading, Prefill, PromptScores, Queued, TextDelta
from runtime.pool import ModelPool
from runtime.requests import (
    EmbeddingRequest,
    Embeddings,
    RerankRequest,
    SamplingRequest,
    TextInput,
)
from runtime.residency import PoolSettings
from tests import processes
from tests.models.tiny_encoders import make_bert, make_nomic_bert
from tests.models.tiny_models import make_llama
from tests.runtime.asking import ask, generate, kill, load, request, stopped, tokens


async def test_the_order_of_events(pool: ModelPool, model: Model) -> None:
    """Queued first, then loading if it loads, then text, then Finished."""
    events = await ask(pool, model, max_tokens=3)
    assert isinstance(events[0], Queued) and events[0].position == 0
    assert isinstance(events[1], Loading) and isinstance(events[-1], Finished)
    assert not any(isinstance(event, Loading) for event in await ask(pool, model, max_tokens=3))


async def test_who_leaves_with_the_whole_answer_was_answered(pool: ModelPool, model: Model) -> None:
    """Counted as finished; who leaves at the first text is counted as cancelled."""
    for last, max_tokens in ((Finished, 2), (TextDelta, 2000)):
        asked = request(max_tokens=max_tokens, temperature=0)
        async with aclosing(generate(pool, model, asked)) as events:
            async for event in events:
                if isinstance(event, last):
                    break
    assert pool.outcomes() == {"tiny": {"finished": 1, "cancelled": 1}}


async def test_a_queue_is_bounded_and_tells_positions(pool: ModelPool, model: Model) -> None:
    """Two rows and three waiting are admitted; the sixth is refused; then there is room again."""
    await load(pool, model)
    streams = [generate(pool, model, request(max_tokens=2000, temperature=0)) for _ in range(5)]
    positions = [event.position for s in streams if isinstance(event := await anext(s), Queued)]
    assert positions == [0, 0, 1, 2, 3]
    with pytest.raises(QueueFull) as caught:
        await anext(generate(pool, model, request()))
    assert caught.value.retry_after_s >= 1
    for stream in streams:
        await stream.aclose()
    assert (await ask(pool, model, max_tokens=1))[-1]
    assert pool.outcomes() == {"tiny": {"refused": 1, "cancelled": 5, "finished": 1}}


async def test_bad_requests_do_not_load_the_model(pool: ModelPool, model: Model) -> None:
    """What the prompt alone decides is refused before any engine is started."""
    short = Model("short", make_llama(model.folder.parent / "s", max_position_embeddings=16))
    with pytest.raises(ContextLengthExceeded) as caught:
        await ask(pool, short, text="word " * 50)
    assert caught.value.context_length == 16 and caught.value.prompt_tokens > 16
    (model.folder / "chat_template.jinja").write_text("{# empty #}")
    with pytest.raises(InvalidRequest, match="no tokens at all"):
        await ask(pool, model)
    assert pool.residency.loaded() == []


async def test_a_full_queue_does_not_refuse_a_load(pool: ModelPool, model: Model) -> None:
    """It is no row: a busy model can still be pinned, and unpinned."""
    await load(pool, model)
    streams = [generate(pool, model, request(max_tokens=2000, temperature=0)) for _ in range(5)]
    for stream in streams:
        await anext(stream)
    assert (await load(pool, model, pin=True)).pinned
    assert (await load(pool, model)).pinned
    assert not (await load(pool, model, pin=False)).pinned
    for stream in streams:
        await stream.aclose()


async def test_what_can_never_fit_is_refused_unread(pool: ModelPool, model: Model) -> None:
    """Megabytes for a small context cost nobody the time to tokenize them."""
    with pytest.raises(ContextLengthExceeded, match="at least"):
        await anext(generate(pool, model, request("x" * 10_000_000)))


async def test_a_damaged_config_fails_its_own_model(pool: ModelPool, model: Model) -> None:
    """A folder that cannot be read is a load that failed, not a fault of the server."""
    (model.folder / "config.json").write_text("{")
    with pytest.raises(LoadFailed, match="cannot be used"):
        await ask(pool, model)


async def test_leaving_in_every_phase_counts_out(pool: ModelPool, model: Model) -> None:
    """Abandoned while it loads, in the queue, in prefill and in decode: nothing stays counted."""
    for wanted in (Loading, Queued, Prefill, TextDelta):
        asked = request("word " * 500, max_tokens=900)
        async with aclosing(generate(pool, model, asked)) as events:
            async for event in events:
                if isinstance(event, wanted):
                    break
            else:
                pytest.fail(f"no {wanted.__name__} came")
        await load(pool, model)
    running = [generate(pool, model, request(max_tokens=900, temperature=0)) for _ in range(2)]
    for stream in running:
        while not isinstance(await anext(stream), TextDelta):
            pass
    queued = generate(pool, model, request(max_tokens=900, temperature=0))
    await anext(queued)
    waits = asyncio.create_task(anext(queued))  # in the engine's queue
    await asyncio.sleep(0.05)
    waits.cancel()
    await asyncio.wait({waits})
    for stream in running:
        await stream.aclose()
    async with asyncio.timeout(5):
        while any(m.num_rows or m.num_running or m.num_waiting for m in pool.residency.loaded()):
            await asyncio.sleep(0.01)


async def test_a_prompt_is_scored_without_an_answer(pool: ModelPool, model: Model) -> None:
    """Up to the last token of the context; told once, before anything else."""
    short = Model("short", make_llama(model.folder.parent / "s", max_position_embeddings=40))
    full = msgspec.structs.replace(
        request(max_tokens=0, prompt_logprobs=2), input=TextInput(tuple(range(5, 45)))
    )
    generation = await pool.begin(short, full)
    events = [event async for event in generation.follow()]
    (told,) = (event for event in events if isinstance(event, PromptScores))
    assert [len(score.alternatives) for score in told.scores] == [2] * 39
    assert not any(isinstance(event, TextDelta) for event in events)
    assert isinstance(events[-1], Finished) and events[-1].usage.completion_tokens == 0
    with pytest.raises(ContextLengthExceeded):
        await pool.begin(short, msgspec.structs.replace(full, sampling=SamplingRequest()))
    assert [type(event) for event in await ask(pool, model, max_tokens=0)][-1] is Finished


# --- priorities and deadlines ---------------------------------------------------------------------


@pytest.fixture
async def narrow() -> AsyncGenerator[ModelPool, None]:
    """Computes one row at a time."""
    pool = ModelPool(PoolSettings(max_rows=1, max_queue=2))
    await pool.start()
    yield pool
    await pool.close()
    assert processes.children() == []


async def test_a_background_row_makes_room_and_goes_on(narrow: ModelPool, model: Model) -> None:
    """Both answers are as each alone; how often that was is counted."""
    asked = request(max_tokens=600, temperature=0)
    urgent = request("Who are you?", max_tokens=20, temperature=0)
    expected = [await tokens(generate(narrow, model, each)) for each in (asked, urgent)]
    engine = narrow.residency.slot(model).engine
    assert engine is not None and engine.pid is not None
    background = msgspec.structs.replace(asked, priority="background")
    async with await narrow.begin(model, background) as generation:
        reader = generation.follow()
        while not isinstance(await anext(reader), TextDelta):
            pass
        with stopped(engine.pid):  # so that it cannot be whole before the other comes
            other = await narrow.begin(model, urgent)
            (loaded,) = narrow.residency.loaded()
            assert loaded.num_running == loaded.num_waiting == loaded.num_aside == 1
        async with other:
            assert await tokens(other.follow()) == expected[1]
        assert await tokens(generation.follow()) == expected[0]
    assert narrow.interruptions() == narrow.continuations() == {"tiny": {"priority": 1}}
    assert narrow.residency.loaded()[0].num_continued == 1


async def test_each_priority_has_a_queue_of_its_own(narrow: ModelPool, model: Model) -> None:
    """Background requests that wait refuse no interactive one."""
    endless = request(max_tokens=8000, temperature=0)
    background = msgspec.structs.replace(endless, priority="background")
    async with AsyncExitStack() as running:
        for asked in (background, background, background, endless):
            await running.enter_async_context(await narrow.begin(model, asked))
        with pytest.raises(QueueFull, match="2 background"):
            await narrow.begin(model, background)
        for _ in range(2):
            await running.enter_async_context(await narrow.begin(model, endless))
        with pytest.raises(QueueFull, match="2 interactive"):
            await narrow.begin(model, endless)
    assert narrow.outcomes()["tiny"]["refused"] == 2
    assert not narrow.residency.slot(model).schedule._tickets


async def test_a_hopeless_deadline_is_refused_at_once(narrow: ModelPool, model: Model) -> None:
    """By what was measured: nothing is known of a first request. Nobody makes room for it."""
    asked = request("word " * 200, max_tokens=2)
    impatient = msgspec.structs.replace(asked, max_ttft_s=1e-6)
    assert await tokens(generate(narrow, model, impatient))
    with pytest.raises(TooSlow) as caught:
        await narrow.begin(model, impatient)
    assert caught.value.expected_s > 1e-6 and caught.value.retry_after_s >= 1
    patient = msgspec.structs.replace(asked, max_ttft_s=60)
    assert await tokens(generate(narrow, model, patient))
    assert not any(narrow.interruptions()["tiny"].values())


async def test_who_leaves_before_it_is_accepted_leaves_no_ticket(
    narrow: ModelPool, model: Model
) -> None:
    beginning = asyncio.create_task(narrow.begin(model, request()))
    while not narrow.residency.slot(model).schedule._tickets:
        await asyncio.sleep(0)
    beginning.cancel()
    with pytest.raises(asyncio.CancelledError):
        await beginning
    assert not narrow.residency.slot(model).schedule._tickets
    assert narrow.outcomes() == {"tiny": {"cancelled": 1}}


# --- embedding and ranking ------------------------------------------------------------------------


@pytest.fixture
def reranker(tmp_path: Path) -> Model:
    return Model("ranks", make_bert(tmp_path / "ranks", num_labels=1))


def vectors(embeddings: Embeddings) -> list[list[float]]:
    flat: list[float] = list(memoryview(embeddings.vectors).cast("f"))
    size = embeddings.num_dimensions
    return [flat[start : start + size] for start in range(0, len(flat), size)]


async def test_texts_become_vectors(pool: ModelPool, embedder: Model) -> None:
    """In their order, normalised, alone as in company; the tokens are counted, special ones too."""
    texts = ("a quick fox", "which models read text, and what do they answer", "a")
    answer = await pool.embed(embedder, EmbeddingRequest(texts))
    rows = vectors(answer)
    assert len(rows) == 3 and answer.num_dimensions == 32
    tokens = 0
    for text, row in zip(texts, rows, strict=True):
        alone = await pool.embed(embedder, EmbeddingRequest((text,)))
        assert vectors(alone)[0] == pytest.approx(row, abs=1e-5)
        assert math.hypot(*row) == pytest.approx(1, abs=1e-5)
        tokens += alone.prompt_tokens
    assert answer.prompt_tokens == tokens
    assert pool.outcomes() == {"bert": {"finished": 4}}
    (loaded,) = pool.residency.loaded()
    assert loaded.info.kind == "embed" and loaded.num_requests == 4 and not loaded.num_running


async def test_tokens_stand_as_they_are(pool: ModelPool, embedder: Model) -> None:
    """Beside texts, in one request; and the same tokens give the same vector."""
    answer = await pool.embed(embedder, EmbeddingRequest(((2, 9, 3), "a", (7,))))
    alone = await pool.embed(embedder, EmbeddingRequest(((2, 9, 3),)))
    assert vectors(alone)[0] == pytest.approx(vectors(answer)[0], abs=1e-5)
    assert alone.prompt_tokens == 3


async def test_prompts_are_set_before_texts(pool: ModelPool, embedder: Model) -> None:
    """By name, as they are, or the model's default."""

    async def of(text: str, prompt: str | None = None) -> list[float]:
        return vectors(await pool.embed(embedder, EmbeddingRequest((text,), prompt)))[0]

    plain = await of("which text: a fox")
    assert await of("a fox", "which text: ") == pytest.approx(plain)
    settings = {"prompts": {"query": "which text: "}, "default_prompt_name": None}
    path = embedder.folder / "config_sentence_transformers.json"
    path.write_text(json.dumps(settings))
    assert await of("a fox", "query") == pytest.approx(plain)
    assert await of("a fox") != pytest.approx(plain)
    path.write_text(json.dumps(settings | {"default_prompt_name": "query"}))
    assert await of("a fox") == pytest.approx(plain)
    assert await of("which text: a fox", "") == pytest.approx(plain)


async def test_vectors_are_cut_where_the_model_was_trained_for_it(
    pool: ModelPool, embedder: Model, tmp_path: Path
) -> None:
    """The beginning of the vector, normalised anew; other models and sizes are refused."""
    nomic = Model("nomic", make_nomic_bert(tmp_path / "nomic"))
    whole = vectors(await pool.embed(nomic, EmbeddingRequest(("a fox",))))[0]
    cut = vectors(await pool.embed(nomic, EmbeddingRequest(("a fox",), dimensions=8)))[0]
    assert cut == pytest.approx([x / math.hypot(*whole[:8]) for x in whole[:8]], abs=1e-5)
    assert await pool.embed(embedder, EmbeddingRequest(("a",), dimensions=32))
    for model, wrong in ((nomic, 0), (nomic, 33), (embedder, 8)):
        with pytest.raises(InvalidRequest) as caught:
            await pool.embed(model, EmbeddingRequest(("a fox",), dimensions=wrong))
        assert caught.value.param == "dimensions"


@pytest.mark.parametrize(
    ("inputs", "fault", "param"),
    [
        ((), InvalidRequest, "input"),
        (("a", ""), InvalidRequest, "input"),
        (((),), InvalidRequest, "input"),
        (((5, 10**6),), InvalidRequest, "input"),
        (((-1,),), InvalidRequest, "input"),
        (("a", "fox " * 127), InputTooLong, "input"),
        (((5,) * 129,), InputTooLong, "input"),
        (("a" * 1_000_000,), InputTooLong, "input"),
    ],
)
async def test_what_cannot_be_embedded_is_refused_unloaded(
    pool: ModelPool, embedder: Model, inputs: Any, fault: type[InvalidRequest], param: str
) -> None:
    """By the parameter's name, with both numbers, before anything is loaded."""
    with pytest.raises(fault) as caught:
        await pool.embed(embedder, EmbeddingRequest(inputs))
    assert caught.value.param == param
    if isinstance(caught.value, InputTooLong):
        assert "128" in str(caught.value) and caught.value.prompt_tokens > 128
    assert not pool.residency.loaded() and pool.outcomes() == {"bert": {"refused": 1}}


async def test_long_texts_are_cut_when_asked(pool: ModelPool, embedder: Model) -> None:
    """To the model's limit, special tokens included, however long they are."""
    texts = ("fox " * 127, "fox " * 200_000, (5,) * 500)
    answer = await pool.embed(embedder, EmbeddingRequest(texts, truncate=True))
    assert answer.prompt_tokens == 3 * 128
    first, second, _ = vectors(answer)
    assert first == pytest.approx(second, abs=1e-5)


async def test_documents_are_ranked(pool: ModelPool, reranker: Model) -> None:
    """One score each, in their order, between 0 and 1, whatever stands beside."""
    documents = ("the lazy dog", "which models read text? " * 4, "a")
    answer = await pool.rerank(reranker, RerankRequest("a quick fox", documents))
    assert len(answer.scores) == 3 and all(0 < score < 1 for score in answer.scores)
    for document, score in zip(documents, answer.scores, strict=True):
        alone = await pool.rerank(reranker, RerankRequest("a quick fox", (document,)))
        assert alone.scores[0] == pytest.approx(score, abs=1e-5)
    with pytest.raises(InputTooLong) as caught:
        await pool.rerank(reranker, RerankRequest("a", ("b", "fox " * 150)))
    assert caught.value.param == "documents"
    cut = await pool.rerank(reranker, RerankRequest("a", ("fox " * 150,), truncate=True))
    assert cut.prompt_tokens == 128
    long = "fox " * 150
    for query, truncate in (("", False), (long, False), (long, True)):
        with pytest.raises(InvalidRequest) as refused:
            await pool.rerank(reranker, RerankRequest(query, ("a",), truncate))
        assert refused.value.param == "query"
    with pytest.raises(InvalidRequest) as refused:
        await pool.rerank(reranker, RerankRequest("a", ()))
    assert refused.value.param == "documents"


async def test_models_are_asked_for_what_they_do(
    pool: ModelPool, model: Model, embedder: Model, reranker: Model
) -> None:
    """A chat model does not embed, and so on: said before anything is loaded."""
    with pytest.raises(InvalidRequest, match="generates text"):
        await pool.embed(model, EmbeddingRequest(("a",)))
    with pytest.raises(InvalidRequest, match="makes embeddings"):
        await ask(pool, embedder)
    with pytest.raises(InvalidRequest, match="ranks documents"):
        await pool.embed(reranker, EmbeddingRequest(("a",)))
    with pytest.raises(InvalidRequest, match="makes embeddings"):
        await pool.rerank(embedder, RerankRequest("a", ("b",)))
    assert not pool.residency.loaded()


async def test_embeddings_share_the_queue_the_load_and_the_crash_rules(
    pool: ModelPool, embedder: Model
) -> None:
    """The sixth is refused; one load serves all; a kill costs time and no answer."""
    heavy = EmbeddingRequest(((5,) * 128,) * 400, keep_alive_s=0.6)
    tasks = [asyncio.create_task(pool.embed(embedder, heavy)) for _ in range(5)]
    await asyncio.sleep(0.01)
    with pytest.raises(QueueFull):
        await pool.embed(embedder, heavy)
    while not pool.residency.loaded():
        await asyncio.sleep(0.02)
    assert len(processes.children("runtime.engine")) == 1
    await asyncio.sleep(0.1)
    kill(pool, embedder)
    results = await asyncio.gather(*tasks)
    (alone,) = vectors(await pool.embed(embedder, EmbeddingRequest(((5,) * 128,))))
    for result in results:
        assert len(result.vectors) == 400 * 32 * 4
        assert list(memoryview(result.vectors).cast("f")[-32:]) == pytest.approx(alone, abs=1e-5)
    async with asyncio.timeout(5):  # its time to live is the request's
        while pool.residency.loaded():
            await asyncio.sleep(0.05)


async def test_a_damaged_embedding_model_fails_its_load(pool: ModelPool, embedder: Model) -> None:
    """Pooling that cannot be computed is told, not guessed."""
    (embedder.folder / "1_Pooling/config.json").write_text("{}")
    with pytest.raises(LoadFailed, match="pools"):
        await pool.embed(embedder, EmbeddingRequest(("a",)))

"""Which models are loaded: admission, single-flight load, time to live, unload, drain.

The web layer's only door to the runtime: `generate` is one stream of events per request.
"""

import asyncio
import contextlib
import math
import time
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass, field
from functools import partial

from registry.checkpoint.model import Model

from .context import context_length_of, fit, refuse_hopeless
from .encoding import Encoding, check_kind, embedding, reranking
from .engine_messages import EngineSettings, ModelInfo
from .engine_process import EngineProcess, Watch
from .errors import (
    Draining,
    EngineDied,
    EngineFailed,
    LoadFailed,
    ModelNotLoaded,
    QueueFull,
)
from .events import Embedded, Event, Finished, Loading, Queued
from .eviction import Room
from .requests import EmbeddingRequest, Embeddings, GenerationRequest, RerankRequest, Scores
from .slot import Load, Outcome, Slot
from .text_workers import TextWorkers

_TICK_S = 0.5  # how often idle models are looked at


@dataclass(frozen=True, slots=True)
class PoolSettings:
    """Bounds of the pool. Times in seconds."""

    max_rows: int = 16  # requests of one model computed at once
    max_queue: int = 64  # requests of one model that may wait beside them
    keep_alive_s: float = 1800.0  # an idle model is unloaded after this; inf: never
    unload_grace_s: float = 30.0  # how long an unload waits for running requests
    prefill_chunk_tokens: int = 512
    watch: Watch = field(default_factory=Watch)


@dataclass(frozen=True, slots=True)
class LoadedModel:
    """A model in memory, as lists show it."""

    model: Model
    info: ModelInfo
    loaded_at: float  # unix time
    last_used: float  # unix time
    num_requests: int  # finished since the model is known
    tokens_per_second: float | None  # decode speed of the last request
    avg_tokens_per_second: float | None
    memory_bytes: int
    pinned: bool
    expires_in_s: float | None
    num_running: int
    num_waiting: int
    num_rows: int  # rows the engine itself says it holds


@dataclass(frozen=True, slots=True)
class Unloaded:
    """What an unload gave back, measured on the process that ended."""

    id: str
    freed_bytes: int


class ModelPool:
    """All methods run on one event loop."""

    def __init__(
        self, settings: PoolSettings, on_load: Callable[[Model, float, int], None] | None = None
    ) -> None:
        """`on_load` is told of every load: the model, its seconds, and the engine's memory."""
        self._settings = settings
        self._on_load = on_load
        self._slots: dict[str, Slot] = {}
        self._text = TextWorkers()
        self._room = Room(self._slots, self._unload)
        self._clock: asyncio.Task[None] | None = None
        self._watchers: set[asyncio.Task[None]] = set()
        self._is_draining = False

    # --- generating ---------------------------------------------------------------------------

    async def generate(
        self, model: Model, request: GenerationRequest
    ) -> AsyncGenerator[Event, None]:
        """Answer one request. The first event is `Queued`; what can be refused is raised before.

        Before `Queued`: Draining, QueueFull, InvalidRequest, LoadFailed, CrashLoop,
        InsufficientMemory. After it: EngineFailed, Draining, and for a request that came while its
        model was being unloaded, the last two. Leaving the iterator cancels the request.
        """
        slot = self._slot(model)
        with slot.record.count():
            async with aclosing(self._generate(slot, model, request)) as events:
                async for event in events:
                    yield event

    async def _generate(
        self, slot: Slot, model: Model, request: GenerationRequest
    ) -> AsyncGenerator[Event, None]:
        async with self._admitted(slot) as position:
            check_kind(model, "llm")
            context_length = context_length_of(model)
            refuse_hopeless(request, context_length)
            tokens = await self._text.encode_chat(
                model.folder, request.messages, request.template_options
            )
            sampling = fit(context_length, tokens, request.sampling)
            is_leaving = slot.unloading is not None
            if is_leaving:  # an unload may wait long for other requests: let the headers out
                yield Queued(0, position)
            async with self._in_use(slot, request.keep_alive_s) as load:
                if not is_leaving:
                    yield Queued(0, position)
                if load is not None:
                    async for progress in load.watch():
                        yield progress
                engine = await self._engine(slot, load)
                started = time.monotonic()
                async with aclosing(engine.generate(tokens, sampling)) as events:
                    async for event in events:
                        if isinstance(event, Finished):
                            slot.record.add(event, time.monotonic() - started)
                        yield event

    async def embed(self, model: Model, request: EmbeddingRequest) -> Embeddings:
        """The vectors of texts, by an embedding model. Cancelling it cancels the request.

        Raises InvalidRequest, InputTooLong, and what `generate` raises.
        """
        encoding, embedded = await self._encode(model, request, partial(embedding, request))
        return Embeddings(embedded.vectors, embedded.num_dimensions, encoding.num_tokens)

    async def rerank(self, model: Model, request: RerankRequest) -> Scores:
        """How well each document answers the query, by a cross-encoder. Raises as `embed` does."""
        encoding, embedded = await self._encode(model, request, partial(reranking, request))
        scores = memoryview(embedded.vectors).cast("f")
        return Scores(tuple(scores), encoding.num_tokens)

    async def _encode(
        self,
        model: Model,
        request: EmbeddingRequest | RerankRequest,
        prepare: Callable[[Model, TextWorkers], Awaitable[Encoding]],
    ) -> tuple[Encoding, Embedded]:
        slot = self._slot(model)
        with slot.record.count():
            async with self._admitted(slot):
                encoding = await prepare(model, self._text)
                async with self._in_use(slot, request.keep_alive_s) as load:
                    engine = await self._engine(slot, load)
                    started = time.monotonic()
                    embedded = await engine.encode(
                        encoding.inputs, encoding.first_lengths, encoding.dimensions
                    )
                    slot.record.add_request(time.monotonic() - started)
                    return encoding, embedded

    @asynccontextmanager
    async def _in_use(self, slot: Slot, keep_alive_s: float | None) -> AsyncIterator[Load | None]:
        """Held by a request while it uses the engine, or the load to wait for that it is given."""
        load = await self._ensure_loading(slot)
        with slot.in_use():
            if keep_alive_s is not None:
                slot.keep_alive_s = keep_alive_s
            yield load

    async def _engine(self, slot: Slot, load: Load | None) -> EngineProcess:
        """The engine of a slot in use. Raises what its load raised, or EngineFailed."""
        return _engine_of(slot) if load is None else await self._outcome(load)

    @asynccontextmanager
    async def _admitted(self, slot: Slot, *, is_row: bool = True) -> AsyncIterator[int]:
        """Count a request in; yields how many of its model wait in front of it.

        One that will be no row of the batch (a load) is never too many.
        """
        self._refuse_when_draining()
        settings = self._settings
        if is_row and slot.num_requests >= settings.max_rows + settings.max_queue:
            wait_s = slot.record.request_s * settings.max_queue / settings.max_rows
            raise QueueFull(
                f"{settings.max_queue} requests already wait for '{slot.model.id}'; "
                "send fewer at once, or try again later.",
                retry_after_s=min(60, max(1, math.ceil(wait_s))),
            )
        slot.num_requests += 1
        try:
            yield max(0, slot.num_requests - settings.max_rows)
        finally:
            slot.num_requests -= 1
            slot.idle_since = time.monotonic()
            slot.last_used = time.time()

    # --- loading and unloading ----------------------------------------------------------------

    async def load(
        self, model: Model, *, keep_alive_s: float | None = None, pin: bool | None = None
    ) -> AsyncGenerator[Loading | LoadedModel, None]:
        """Bring a model into memory, with progress; the last item is the loaded model.

        `pin` keeps it there, or no longer; None changes nothing. Before the first item: Draining,
        CrashLoop, InsufficientMemory. After it: LoadFailed.
        """
        slot = self._slot(model)
        async with self._admitted(slot, is_row=False):
            load = await self._ensure_loading(slot)
            if load is not None:
                async for progress in load.watch():
                    yield progress
                await self._outcome(load)
            if pin is not None:
                slot.is_pinned = pin
            if keep_alive_s is not None:
                slot.keep_alive_s = keep_alive_s
        yield self._describe(slot)

    async def unload(self, model_id: str) -> Unloaded:
        """End a model's engine, after its running requests or the grace. The files stay.

        Raises ModelNotLoaded. A load in flight is cancelled.
        """
        slot = self._slots.get(model_id)
        if slot is None or (slot.engine is None and slot.load is None):
            raise ModelNotLoaded(model_id)
        if slot.unloading is None:
            slot.unloading = asyncio.create_task(self._unload(slot))
        return Unloaded(model_id, await asyncio.shield(slot.unloading))

    def loaded(self) -> list[LoadedModel]:
        """The models in memory, in the order they were first asked for."""
        return [self._describe(slot) for slot in self._slots.values() if slot.engine is not None]

    def outcomes(self) -> dict[str, dict[Outcome, int]]:
        """How the requests of each model ended, since the start of the pool."""
        return {name: dict(slot.record.outcomes) for name, slot in self._slots.items()}

    def info(self, model_id: str) -> ModelInfo | None:
        """What loading taught about a model that is in memory."""
        slot = self._slots.get(model_id)
        return slot.info if slot is not None and slot.engine is not None else None

    def _slot(self, model: Model) -> Slot:
        slot = self._slots.get(model.id)
        if slot is None:
            slot = self._slots[model.id] = Slot(model, self._settings.keep_alive_s)
        elif slot.model.folder != model.folder:  # registered anew under the same name
            slot.model = model
            if (slot.engine or slot.load) and slot.unloading is None:
                slot.unloading = asyncio.create_task(self._unload(slot))
        return slot

    async def _ensure_loading(self, slot: Slot) -> Load | None:
        """The load to wait for, started if there is none; None when the engine is there."""
        while True:
            if slot.unloading is not None:
                await asyncio.shield(slot.unloading)
            elif slot.engine is not None:
                return None
            elif slot.load is not None:
                return slot.load
            else:
                async with self._room.lock:
                    # Another request may have started it while this one waited.
                    if slot.engine is None and slot.load is None:
                        slot.crashes.check(slot.model.id)
                        needed = await self._room.make(slot.model)
                        load = slot.load = Load(slot.model.weight_bytes, needed)
                        load.task = asyncio.create_task(self._load(slot, load))

    async def _outcome(self, load: Load) -> EngineProcess:
        """The engine that a load made. Raises what the load raised, for every waiter alike."""
        assert load.task is not None
        try:
            return await asyncio.shield(load.task)
        except asyncio.CancelledError:
            if not load.task.cancelled():
                raise  # the waiter itself was
            self._refuse_when_draining()
            raise LoadFailed("The model was unloaded while it loaded.") from None

    async def _load(self, slot: Slot, load: Load) -> EngineProcess:
        settings = self._settings
        engine = EngineProcess(
            slot.model,
            EngineSettings(settings.max_rows, settings.prefill_chunk_tokens),
            settings.watch,
        )
        try:
            await asyncio.sleep(slot.crashes.backoff_s())
            started = time.monotonic()
            slot.info = await engine.start(load.report)
        except EngineDied:
            slot.crashes.add()
            raise
        else:
            slot.engine = engine
            slot.loaded_at = slot.last_used = time.time()
            if self._on_load is not None:
                self._on_load(slot.model, time.monotonic() - started, engine.footprint_bytes())
            watcher = asyncio.create_task(self._watch_end(slot, engine))
            self._watchers.add(watcher)
            watcher.add_done_callback(self._watchers.discard)
            return engine
        finally:
            slot.load = None

    async def _watch_end(self, slot: Slot, engine: EngineProcess) -> None:
        """Forget an engine when it ends, whoever ended it: the next request starts a new one."""
        await engine.has_ended.wait()
        if slot.engine is engine:
            slot.engine = None
        if not engine.is_stopping:
            slot.crashes.add()

    async def _unload(self, slot: Slot) -> int:
        try:
            if slot.load is not None and slot.load.task is not None:
                slot.load.task.cancel()
                await asyncio.wait({slot.load.task})
            engine = slot.engine
            if engine is None:
                return 0
            # New requests wait in `_ensure_loading`; those that have passed it may finish.
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._settings.unload_grace_s):
                    while slot.num_users:
                        await asyncio.sleep(0.02)
            slot.engine = None
            slot.is_pinned = False
            slot.keep_alive_s = self._settings.keep_alive_s
            freed = engine.footprint_bytes()
            await engine.stop()
            return freed - engine.footprint_bytes()
        finally:
            slot.unloading = None

    def _describe(self, slot: Slot) -> LoadedModel:
        if slot.engine is None or slot.info is None:
            raise LoadFailed(f"Model '{slot.model.id}' was unloaded while it loaded.")
        record, running = slot.record, min(slot.num_requests, self._settings.max_rows)
        return LoadedModel(
            slot.model,
            slot.info,
            loaded_at=slot.loaded_at,
            last_used=slot.last_used,
            num_requests=record.num_requests,
            tokens_per_second=record.tokens_per_second,
            avg_tokens_per_second=record.avg_tokens_per_second,
            memory_bytes=slot.engine.footprint_bytes(),
            pinned=slot.is_pinned,
            expires_in_s=slot.expires_in_s,
            num_running=running,
            num_waiting=slot.num_requests - running,
            num_rows=slot.engine.num_rows,
        )

    # --- life -----------------------------------------------------------------------------------

    @property
    def is_draining(self) -> bool:
        return self._is_draining

    def can_serve(self, model_id: str) -> bool:
        """False while draining, and while the model's engine died too often to be started again."""
        slot = self._slots.get(model_id)
        is_looping = slot is not None and slot.crashes.is_looping
        return not self._is_draining and self._text.is_alive and not is_looping

    async def start(self) -> None:
        """Start the text workers and the clock that unloads idle models."""
        await self._text.start()
        self._clock = asyncio.create_task(self._unload_expired())

    async def drain(self, timeout_s: float) -> None:
        """Refuse new work, let running requests end, and fail those that take too long."""
        self._is_draining = True
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(timeout_s):
                while any(slot.num_requests for slot in self._slots.values()):
                    await asyncio.sleep(0.02)
        for slot in self._slots.values():
            if slot.load is not None and slot.load.task is not None:
                slot.load.task.cancel()
            if slot.engine is not None:
                slot.engine.fail_all(Draining())

    async def close(self) -> None:
        """End every child. The pool is of no more use."""
        self._is_draining = True
        if self._clock is not None:
            self._clock.cancel()
        loads = [slot.load.task for slot in self._slots.values() if slot.load and slot.load.task]
        for task in loads:
            task.cancel()
        engines = [slot.engine for slot in self._slots.values() if slot.engine is not None]
        await asyncio.gather(*loads, return_exceptions=True)
        await asyncio.gather(*(engine.stop() for engine in engines), self._text.close())

    def _refuse_when_draining(self) -> None:
        if self._is_draining:
            raise Draining

    async def _unload_expired(self) -> None:
        while True:
            await asyncio.sleep(_TICK_S)
            for slot in list(self._slots.values()):
                if slot.is_idle and slot.expires_in_s == 0:
                    with contextlib.suppress(ModelNotLoaded):
                        await self.unload(slot.model.id)


def _engine_of(slot: Slot) -> EngineProcess:
    if slot.engine is None:
        raise EngineFailed(f"The engine of '{slot.model.id}' ended just now. Try again.")
    return slot.engine

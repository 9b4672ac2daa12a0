"""Which models are in memory: load, time to live, unload, drain.

A slot is given to every model that was asked for; an engine to those that are loaded.
"""

import asyncio
import contextlib
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TypeAlias

from registry.checkpoint.chat_format import ChatFormat
from registry.checkpoint.model import Model

from .engine_messages import EngineSettings, ModelInfo
from .engine_process import EngineProcess, Watch
from .errors import (
    Draining,
    LoadFailed,
    ModelNotLoaded,
    ModelRemoved,
)
from .events import Loading
from .eviction import Eviction
from .loads import AskTemplate, Loads, OnLoad
from .schedule import Schedule
from .slot import Load, Slot

# Asked often, so it has to be quick: whether a model was removed, by whichever process.
IsRemoved: TypeAlias = Callable[[Model], bool]

_TICK_S = 0.5  # how often models in memory are looked at: whether they are idle, or removed


@dataclass(frozen=True, slots=True)
class PoolSettings:
    """Bounds of the pool and of what it holds in memory. Times in seconds."""

    max_rows: int = 16  # requests of one model computed at once
    max_queue: int = 64  # requests of one model that may wait beside them
    keep_alive_s: float = 1800.0  # an idle model is unloaded after this; inf: never
    unload_grace_s: float = 30.0  # how long an unload waits for running requests
    prefill_chunk_tokens: int = 512
    watch: Watch = field(default_factory=Watch)


@dataclass(frozen=True, slots=True)
class ResidentModel:
    """A model in memory, as lists show it."""

    model: Model
    info: ModelInfo
    chat_format: ChatFormat | None
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
    num_aside: int  # of those that wait: rows that were set aside
    num_continued: int  # since the model is known: rows that left early and went on


@dataclass(frozen=True, slots=True)
class Unloaded:
    """What an unload gave back, measured on the process that ended."""

    id: str
    freed_bytes: int


class Residency:
    """All methods run on one event loop."""

    def __init__(
        self,
        settings: PoolSettings,
        on_load: OnLoad | None = None,
        is_removed: IsRemoved = lambda _: False,
        ask_template: AskTemplate | None = None,
    ) -> None:
        """`on_load` is told of every load; what `is_removed` leaves the memory soon."""
        self.slots: dict[str, Slot] = {}  # in the order they were first asked for
        self.is_draining = False
        self._settings = settings
        self._is_removed = is_removed
        eviction = Eviction(self.slots, self._unload)
        engine = EngineSettings(prefill_chunk_tokens=settings.prefill_chunk_tokens)
        self._loads = Loads(engine, settings.watch, eviction, self._refuse, on_load, ask_template)
        self._clock: asyncio.Task[None] | None = None

    # --- for requests -------------------------------------------------------------------------

    def slot(self, model: Model) -> Slot:
        """The model's slot. A model whose folder is another now is loaded anew."""
        slot = self.slots.get(model.id)
        if slot is None:
            settings = self._settings
            schedule = Schedule(settings.max_rows, settings.max_queue)
            slot = self.slots[model.id] = Slot(model, settings.keep_alive_s, schedule)
        elif slot.model.folder != model.folder:  # registered anew under the same name
            slot.model = model
            if (slot.engine or slot.load) and slot.unloading is None:
                slot.unloading = asyncio.create_task(self._unload(slot))
        return slot

    @asynccontextmanager
    async def in_use(self, slot: Slot, keep_alive_s: float | None) -> AsyncIterator[Load | None]:
        """Held by a request while it uses the engine, or the load to wait for that it is given.

        Raises Draining, CrashLoop, InsufficientMemory and LoadFailed when no load can be started.
        """
        load = await self._loads.ensure(slot)
        with slot.users.one_more():
            if keep_alive_s is not None:
                slot.keep_alive_s = keep_alive_s
            yield load

    async def engine(
        self, slot: Slot, load: Load | None, tell: Callable[[Loading], None]
    ) -> EngineProcess:
        """See `Loads.engine`; of a slot in use."""
        return await self._loads.engine(slot, load, tell)

    # --- loading and unloading ----------------------------------------------------------------

    async def load(
        self, model: Model, *, keep_alive_s: float | None = None, pin: bool | None = None
    ) -> AsyncGenerator[Loading | ResidentModel, None]:
        """Bring a model into memory, with progress; the last item is the loaded model.

        `pin` keeps it there, or no longer; None changes nothing. Before the first item: Draining,
        CrashLoop, InsufficientMemory. After it: LoadFailed.
        """
        slot = self.slot(model)
        self.refuse_when_draining()
        with slot.admitted():  # it will be no row of the batch, so it is never too many
            load = await self._loads.ensure(slot)
            if load is not None:
                async for progress in load.watch():
                    yield progress
                await self._loads.outcome(slot, load)
            if pin is not None:
                slot.is_pinned = pin
            if keep_alive_s is not None:
                slot.keep_alive_s = keep_alive_s
        yield self._describe(slot)

    async def unload(self, model_id: str) -> Unloaded:
        """End a model's engine, after its running requests or the grace. The files stay.

        Raises ModelNotLoaded. A load in flight is cancelled.
        """
        slot = self.slots.get(model_id)
        if slot is None or (slot.engine is None and slot.load is None):
            raise ModelNotLoaded(model_id)
        if slot.unloading is None:
            slot.unloading = asyncio.create_task(self._unload(slot))
        return Unloaded(model_id, await asyncio.shield(slot.unloading))

    async def remove(self, model_id: str) -> None:
        """End a model's engine at once, for its files are gone: what runs gets ModelRemoved."""
        if (slot := self.slots.get(model_id)) is None:
            return
        if slot.engine is not None:
            slot.engine.fail_all(ModelRemoved(model_id))
        slot.schedule.fail(ModelRemoved(model_id))
        if slot.unloading is None and (slot.engine or slot.load):
            slot.unloading = asyncio.create_task(self._unload(slot, grace_s=0))
        if slot.unloading is not None:
            await asyncio.shield(slot.unloading)

    def loaded(self) -> list[ResidentModel]:
        """The models in memory, in the order they were first asked for."""
        return [self._describe(slot) for slot in self.slots.values() if slot.engine is not None]

    def info(self, model_id: str) -> ModelInfo | None:
        """What loading taught about a model that is in memory."""
        slot = self.slots.get(model_id)
        return slot.info if slot is not None and slot.engine is not None else None

    async def _unload(self, slot: Slot, grace_s: float | None = None) -> int:
        try:
            if slot.load is not None and slot.load.task is not None:
                slot.load.task.cancel()
                await asyncio.wait({slot.load.task})
            engine = slot.engine
            if engine is None:
                return 0
            # New requests wait in `_ensure_loading`; those that have passed it may finish.
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(
                    self._settings.unload_grace_s if grace_s is None else grace_s
                ):
                    await slot.users.nobody()
            slot.engine = None
            slot.is_pinned = False
            slot.keep_alive_s = self._settings.keep_alive_s
            freed = engine.footprint_bytes()
            await engine.stop()
            slot.schedule.fail(engine.death())
            return freed - engine.footprint_bytes()
        finally:
            slot.unloading = None

    def _describe(self, slot: Slot) -> ResidentModel:
        if slot.engine is None or slot.info is None:
            raise LoadFailed(f"Model '{slot.model.id}' was unloaded while it loaded.")
        stats, running = slot.stats, slot.schedule.num_running
        return ResidentModel(
            slot.model,
            slot.info,
            slot.chat_format,
            loaded_at=slot.loaded_at,
            last_used=slot.last_used,
            num_requests=stats.num_requests,
            tokens_per_second=stats.tokens_per_second,
            avg_tokens_per_second=stats.avg_tokens_per_second,
            memory_bytes=slot.engine.footprint_bytes(),
            pinned=slot.is_pinned,
            expires_in_s=slot.expires_in_s,
            num_running=running,
            num_waiting=slot.requests.number - running,
            num_rows=slot.engine.num_rows,
            num_aside=slot.schedule.num_aside,
            num_continued=slot.schedule.continuations.total(),
        )

    # --- life -----------------------------------------------------------------------------------

    def can_serve(self, model_id: str) -> bool:
        """False while draining, and while the model's engine died too often to be started again."""
        slot = self.slots.get(model_id)
        is_looping = slot is not None and slot.crashes.is_looping
        return not self.is_draining and not is_looping

    def refuse_when_draining(self) -> None:
        """Raises Draining from the beginning of a drain on."""
        if self.is_draining:
            raise Draining

    def _refuse(self, slot: Slot) -> None:
        """Raises what speaks against loading a model now."""
        self.refuse_when_draining()
        if self._is_removed(slot.model):
            raise ModelRemoved(slot.model.id)

    def start(self) -> None:
        """Start the clock that unloads models that are idle, or were removed."""
        self._clock = asyncio.create_task(self._look_after())

    async def drain(self, timeout_s: float) -> None:
        """Refuse new work, let running requests end, and fail those that take too long."""
        self.is_draining = True
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(timeout_s):
                for slot in list(self.slots.values()):  # a new one gets no requests
                    await slot.requests.nobody()
        for slot in self.slots.values():
            if slot.load is not None and slot.load.task is not None:
                slot.load.task.cancel()
            if slot.engine is not None:
                slot.engine.fail_all(Draining())
            slot.schedule.fail(Draining())

    async def close(self) -> None:
        """End every engine. The residency is of no more use."""
        self.is_draining = True
        if self._clock is not None:
            self._clock.cancel()
        loads = [slot.load.task for slot in self.slots.values() if slot.load and slot.load.task]
        for task in loads:
            task.cancel()
        engines = [slot.engine for slot in self.slots.values() if slot.engine is not None]
        for slot in self.slots.values():
            slot.schedule.fail(Draining())
        unloads = [slot.unloading for slot in self.slots.values() if slot.unloading is not None]
        await asyncio.gather(*loads, return_exceptions=True)
        await asyncio.gather(*(engine.stop() for engine in engines), *unloads)

    async def _look_after(self) -> None:
        while True:
            await asyncio.sleep(_TICK_S)
            for slot in list(self.slots.values()):
                slot.schedule.dispatch()
                if (slot.engine or slot.load) and self._is_removed(slot.model):
                    await self.remove(slot.model.id)
                elif slot.is_idle and slot.expires_in_s == 0:
                    with contextlib.suppress(ModelNotLoaded):
                        await self.unload(slot.model.id)

"""Which models are in memory: load, time to live, unload, drain.

A slot is given to every model that was asked for; an engine to those that are loaded.
"""

import asyncio
import contextlib
import logging
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from typing import TypeAlias

from registry.checkpoint.kv_bits import NOT_QUANTISED, KvBits
from registry.checkpoint.model import Model

from .budget import Budget, RowMemory
from .engine_messages import DiskCache, EngineSettings, ModelInfo
from .engine_process import EngineProcess, Watch
from .errors import Draining, LoadRefused, ModelNotLoaded, ModelRemoved
from .events import Loading
from .eviction import Eviction
from .intake import Intake
from .loads import AskTemplate, Loads, OnLoad
from .memory import machine
from .memory.cost import memory_of
from .memory.meter import LiveMeter, Meter
from .resident import ResidentModel
from .schedule import Schedule
from .slot import Load, Slot, Unloaded
from .unloads import Unloads

logger = logging.getLogger(__name__)

# Asked often, so it has to be quick: whether a model was removed, by whichever process.
IsRemoved: TypeAlias = Callable[[Model], bool]

_PREFIX_SHARE = 1 / 8  # of the memory that models may use
_TICK_S = 0.5  # how often models in memory are looked at: whether they are idle, or removed


@dataclass(frozen=True, slots=True)
class PoolSettings:
    """Bounds of the pool and of what it holds in memory. Times in seconds."""

    max_rows: int = 16  # requests of one model computed at once
    max_queue: int = 64  # requests of one model that may wait beside them
    keep_alive_s: float = 1800.0  # an idle model is unloaded after this; inf: never
    unload_grace_s: float = 30.0  # how long an unload waits for running requests
    prefill_chunk_tokens: int = 512
    prefix_cache_bytes: int | None = None  # of each engine; None: by the machine's memory
    kv_bits: KvBits = NOT_QUANTISED  # where a model can have them, and nobody said others for it
    disk_cache: DiskCache | None = None  # None: nothing is kept on disk
    watch: Watch = field(default_factory=Watch)

    def for_engines(self) -> EngineSettings:
        """What each of them is told."""
        kept = self.prefix_cache_bytes
        if kept is None:
            whole = machine.working_set_bytes() or machine.physical_bytes()
            kept = int(_PREFIX_SHARE * whole)
        return EngineSettings(
            self.prefill_chunk_tokens,
            prefix_cache_bytes=kept,
            disk_cache=self.disk_cache,
            default_kv_bits=self.kv_bits,
        )


class Residency:
    """All methods run on one event loop."""

    def __init__(
        self,
        settings: PoolSettings,
        on_load: OnLoad | None = None,
        is_removed: IsRemoved = lambda _: False,
        ask_template: AskTemplate | None = None,
        meter: Meter | None = None,
    ) -> None:
        """`on_load` is told of every load; what `is_removed` leaves the memory soon."""
        self.slots: dict[str, Slot] = {}  # in the order they were first asked for
        self.intake = Intake()
        self._is_drained = False  # what was admitted before may begin no more either
        self._settings = settings
        self._is_removed = is_removed
        self._unloads = Unloads(settings.unload_grace_s, settings.keep_alive_s)
        self.budget = Budget(self.slots, meter or LiveMeter(self._working_set, self._pids))
        self._eviction = Eviction(self.slots, self.budget, self._unloads.begin)
        self._loads = Loads(
            settings.for_engines(),
            settings.watch,
            self._eviction,
            self._refuse,
            on_load,
            ask_template,
        )
        self._clock: asyncio.Task[None] | None = None

    # --- for requests -------------------------------------------------------------------------

    def slot(self, model: Model) -> Slot:
        """The model's slot. A model whose folder is another now is loaded anew."""
        slot = self.slots.get(model.id)
        if slot is None:
            settings = self._settings
            memory = RowMemory(self.budget, model.id)
            schedule = Schedule(settings.max_rows, settings.max_queue, memory=memory)
            slot = self.slots[model.id] = Slot(model, settings.keep_alive_s, schedule)
        elif slot.model.folder != model.folder:  # registered anew under the same name
            slot.model, slot.memory = model, None
            if slot.engine or slot.load:
                self._unloads.begin(slot)
        return slot

    async def measure(self, slot: Slot) -> None:
        """Find out what the model takes, by its files if it was never in memory. A damaged one is
        let be: its load tells."""
        if slot.memory is None:
            with contextlib.suppress(OSError, ValueError):
                slot.memory = await asyncio.to_thread(memory_of, slot.model)

    @asynccontextmanager
    async def in_use(self, slot: Slot, keep_alive_s: float | None) -> AsyncIterator[Load | None]:
        """Held by a request while it uses the engine, or the load to wait for that it is given.

        Raises Draining, CrashLoop, InsufficientMemory and LoadFailed when no load can be started.
        """
        load = await self._loads.ensure(slot)
        if self._is_drained:
            raise Draining
        with slot.users.one_more():
            if keep_alive_s is not None:
                slot.keep(keep_alive_s)
            yield load

    async def engine(
        self, slot: Slot, load: Load | None, tell: Callable[[Loading], None]
    ) -> EngineProcess:
        """See `Loads.engine`; of a slot in use."""
        return await self._loads.engine(slot, load, tell)

    # --- loading and unloading ----------------------------------------------------------------

    async def load(
        self,
        model: Model,
        *,
        keep_alive_s: float | None = None,
        pin: bool | None = None,
        kv_bits: KvBits | None = None,
    ) -> AsyncGenerator[Loading | ResidentModel, None]:
        """Bring a model into memory, with progress; the last item is the loaded model.

        `pin` keeps it there, or no longer; for other `kv_bits` than it has it is loaded anew, after
        its running requests. None changes nothing. Before the first item: Draining, CrashLoop,
        InsufficientMemory. After it: LoadFailed, LoadRefused.
        """
        slot = self.slot(model)
        self.intake.refuse_loads()
        with slot.admitted():  # it will be no row of the batch, so it is never too many
            async for progress in self._load(slot, kv_bits):
                yield progress
            if pin is not None:
                slot.is_pinned = pin
            if keep_alive_s is not None:
                slot.keep(keep_alive_s)
            elif pin is False and slot.is_kept:
                slot.keep(self._settings.keep_alive_s)
                slot.is_kept = False
        yield ResidentModel.of(slot)

    async def _load(self, slot: Slot, kv_bits: KvBits | None) -> AsyncGenerator[Loading, None]:
        before, was_pinned = slot.model, slot.is_pinned
        if kv_bits is not None:
            slot.model = replace(slot.model, kv_bits=kv_bits)
        try:
            while True:
                if slot.engine is not None and not slot.is_as_wished:
                    self._unloads.begin(slot)
                load = await self._loads.ensure(slot)
                if load is not None:
                    async for progress in load.watch():
                        yield progress
                    await self._loads.outcome(slot, load)
                if slot.engine is None or slot.is_as_wished:
                    break  # else that load was under way before
        except LoadRefused:
            slot.model = before
            raise
        slot.is_pinned = slot.is_pinned or was_pinned

    async def unload(self, model_id: str, *, force: bool = False) -> Unloaded:
        """End a model's engine, after its running requests or the grace. The files stay.

        `force` waits for nobody: running requests get EngineStopped. A load in flight is cancelled.
        Raises ModelNotLoaded.
        """
        slot = self.slots.get(model_id)
        if slot is None or model_id not in self.present():
            raise ModelNotLoaded(model_id)
        begin = self._unloads.force if force else self._unloads.begin
        return await asyncio.shield(begin(slot))

    async def remove(self, model_id: str) -> None:
        """End a model's engine at once, for its files are gone: what runs gets ModelRemoved."""
        if (slot := self.slots.get(model_id)) is not None:
            await asyncio.shield(self._unloads.force(slot, ModelRemoved(model_id)))

    def loaded(self) -> list[ResidentModel]:
        """The models in memory, in the order they were first asked for."""
        return [ResidentModel.of(slot) for slot in self.slots.values() if slot.engine is not None]

    def loading(self) -> dict[str, Loading]:
        """How the loads in flight come on, by model."""
        return {id: slot.load.progress for id, slot in self.slots.items() if slot.load is not None}

    def present(self) -> list[str]:
        """The models in memory or on their way there."""
        return [id for id, slot in self.slots.items() if slot.engine or slot.load or slot.unloading]

    def tokens_drawn(self) -> dict[str, int]:
        """For all requests of each model, since the start."""
        return {id: slot.tally.total for id, slot in self.slots.items()}

    def info(self, model_id: str) -> ModelInfo | None:
        """What loading taught about a model that is in memory."""
        slot = self.slots.get(model_id)
        return slot.info if slot is not None and slot.engine is not None else None

    # --- life -----------------------------------------------------------------------------------

    def can_serve(self, model_id: str) -> bool:
        """False while draining, and while the model's engine died too often to be started again."""
        slot = self.slots.get(model_id)
        is_looping = slot is not None and slot.crashes.is_looping
        return not self.intake.is_draining and not is_looping

    def _refuse(self, slot: Slot) -> None:
        """Raises what speaks against loading a model now."""
        self.intake.refuse_loads()
        if self._is_removed(slot.model):
            raise ModelRemoved(slot.model.id)

    def start(self) -> None:
        """Start the clock that unloads models that are idle, or were removed."""
        self._clock = asyncio.create_task(self._look_after())

    async def drain(self, timeout_s: float) -> None:
        """Refuse new work, let running requests end, and fail those that take too long."""
        self.intake.is_draining = True
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(timeout_s):
                for slot in list(self.slots.values()):  # a new one gets no requests
                    await slot.requests.nobody()
        self._is_drained = True
        for slot in self.slots.values():
            if slot.load is not None and slot.load.task is not None:
                slot.load.task.cancel()
            if slot.engine is not None:
                slot.engine.fail_all(Draining())
            slot.schedule.fail(Draining())

    async def close(self) -> None:
        """End every engine. The residency is of no more use."""
        self.intake.is_draining = self._is_drained = True
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
        ends = (*(engine.stop() for engine in engines), *unloads)
        for fault in await asyncio.gather(*ends, return_exceptions=True):
            if isinstance(fault, Exception):  # one that fails to end keeps no other
                logger.error("an engine did not end well", exc_info=fault)

    async def _look_after(self) -> None:
        while True:
            await asyncio.sleep(_TICK_S)
            for slot in list(self.slots.values()):  # an unload may take long: none is waited for
                slot.schedule.dispatch()
                slot.tally.look()
                if (slot.engine or slot.load) and self._is_removed(slot.model):
                    self._unloads.force(slot, ModelRemoved(slot.model.id))
                elif slot.is_idle and slot.expires_in_s == 0:
                    self._unloads.begin(slot)
                elif waiting := slot.schedule.short():
                    self._eviction.relieve(slot, waiting)

    def _working_set(self) -> int | None:
        """As an engine was told by Metal, once there was one; else what can be known without it."""
        told = (slot.info.working_set_bytes for slot in self.slots.values() if slot.info)
        return next((size for size in told if size), None) or machine.working_set_bytes()

    def _pids(self) -> list[int]:
        """Of all engines, those that load included."""
        slots = self.slots.values()
        engines = [s.engine or (s.load.engine if s.load else None) for s in slots]
        return [engine.pid for engine in engines if engine is not None and engine.pid is not None]

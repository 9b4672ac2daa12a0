"""Models on their way into memory: each is loaded once for all who wait for it."""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from functools import partial
from typing import TypeAlias

import msgspec

from registry.checkpoint.chat_format import ChatFormat
from registry.checkpoint.exactness import Probed
from registry.checkpoint.model import Model
from registry.checkpoint.model_memory import ModelMemory

from .engine_messages import ChunkPass, EngineSettings
from .engine_process import EngineProcess, Watch
from .errors import EngineDied, EngineStopped, LoadFailed, RuntimeFault
from .events import Loading
from .eviction import Eviction
from .memory.calibration import with_measured
from .memory.cost import memory_of
from .power import awake
from .slot import Load, Slot

# Told of every load: the model, its seconds, the engine's memory, what its probe found out, what
# its chat template takes, if it has one, and what it was found to take in memory.
OnLoad: TypeAlias = Callable[[Model, float, int, Probed, ChatFormat | None, ModelMemory], None]
# Asked at every load: what the chat template takes.
AskTemplate: TypeAlias = Callable[[Model], Awaitable[ChatFormat | None]]

logger = logging.getLogger(__name__)

_TEMPLATE_S = 5.0  # how long a model that is loaded waits for what is known of its template


class Loads:
    """Owned by the residency; all methods run on its event loop."""

    def __init__(
        self,
        settings: EngineSettings,
        watch: Watch,
        eviction: Eviction,
        refuse: Callable[[Slot], None],
        on_load: OnLoad | None = None,
        ask_template: AskTemplate | None = None,
    ) -> None:
        """`refuse` raises what speaks against loading a slot's model now."""
        self._settings = settings
        self._watch = watch
        self._eviction = eviction
        self._refuse = refuse
        self._on_load = on_load
        self._ask_template = ask_template

    async def engine(
        self, slot: Slot, load: Load | None, tell: Callable[[Loading], None]
    ) -> EngineProcess:
        """The engine of a slot in use: the one that this load makes, or that is there, or a new one
        where the last has died. `tell` is told how its load comes on.

        Raises what its load raises, EngineStopped while the model is being unloaded, and what
        `in_use` raises.
        """
        while True:
            if load is not None:
                async for progress in load.watch():
                    tell(progress)
                return await self.outcome(slot, load)
            if slot.engine is not None:
                return slot.engine
            if slot.unloading is not None:
                raise EngineStopped(f"Model '{slot.model.id}' was unloaded while this request ran.")
            load = await self.ensure(slot)

    async def ensure(self, slot: Slot) -> Load | None:
        """The load to wait for, started if there is none; None when the engine is there."""
        while True:
            if slot.unloading is not None:
                await asyncio.shield(slot.unloading)
            elif slot.engine is not None:
                return None
            elif slot.load is not None:
                return slot.load
            else:
                async with self._eviction.lock:
                    # Another request may have started it while this one waited.
                    if slot.engine is None and slot.load is None:
                        self._refuse(slot)
                        slot.crashes.check(slot.model.id)
                        needed = await self._eviction.make_room(slot.model)
                        load = slot.load = Load(slot.model.weight_bytes, needed)
                        load.task = asyncio.create_task(self._load(slot, load))
                        load.task.add_done_callback(partial(_log_unheard, slot))

    async def outcome(self, slot: Slot, load: Load) -> EngineProcess:
        """The engine that a load made. Raises what the load raised, for every waiter alike."""
        assert load.task is not None
        try:
            return await asyncio.shield(load.task)
        except asyncio.CancelledError:
            if not load.task.cancelled():
                raise  # the waiter itself was
            self._refuse(slot)
            raise LoadFailed("The model was unloaded while it loaded.") from None

    async def _load(self, slot: Slot, load: Load) -> EngineProcess:
        probed = slot.info.probed if slot.info is not None else slot.model.probed
        kv_bits = slot.model.kv_bits
        settings = msgspec.structs.replace(self._settings, probed=probed, kv_bits=kv_bits)
        engine = EngineProcess(
            slot.model,
            settings,
            self._watch,
            lambda engine: _forget(slot, engine),
            lambda measured: self._note_pass(slot, measured),
        )
        load.engine = engine
        asking = asyncio.create_task(self._chat_format(slot.model))
        try:
            await asyncio.sleep(slot.crashes.backoff_s())
            started = awake.now()
            try:
                slot.info = await engine.start(load.report)
            except EngineDied:
                slot.crashes.add()
                raise
            slot.load_s = awake.now() - started
            await asyncio.wait({asking}, timeout=_TEMPLATE_S)
            slot.chat_format = asking.result() if asking.done() else None
            if engine.has_ended.is_set():
                raise engine.death()
            slot.memory = await asyncio.to_thread(memory_of, slot.model, slot.info, slot.memory)
            slot.engine = engine
            slot.loaded_at = slot.last_used = time.time()
            self._note(slot, engine)
            return engine
        except BaseException:
            await engine.stop()
            raise
        finally:
            asking.cancel()
            slot.load = None

    def _note(self, slot: Slot, engine: EngineProcess) -> None:
        if self._on_load is not None and slot.info is not None and slot.memory is not None:
            held, probed, seconds = engine.footprint_bytes(), slot.info.probed, slot.load_s or 0.0
            self._on_load(slot.model, seconds, held, probed, slot.chat_format, slot.memory)

    def _note_pass(self, slot: Slot, measured: ChunkPass) -> None:
        """What passes really take is known from now on, and after the next start too."""
        if slot.memory is not None and slot.engine is not None:
            known, slot.memory = slot.memory, with_measured(slot.memory, measured)
            if slot.memory != known:
                self._note(slot, slot.engine)

    async def _chat_format(self, model: Model) -> ChatFormat | None:
        return await self._ask_template(model) if self._ask_template is not None else None


def _log_unheard(slot: Slot, task: asyncio.Task[EngineProcess]) -> None:
    """A load's failure is told to all who wait for it. Where they have all left, the log has it."""
    if task.cancelled() or (error := task.exception()) is None or slot.requests.number:
        return
    unexpected = None if isinstance(error, RuntimeFault) else error
    logger.warning("the load of %s failed: %s", slot.model.id, error, exc_info=unexpected)


def _forget(slot: Slot, engine: EngineProcess) -> None:
    """An engine has ended, whoever ended it: who needs one starts another."""
    if slot.engine is engine:
        slot.engine = None
    if not engine.is_stopping:
        logger.warning("%s", engine.death())
        slot.crashes.add()
